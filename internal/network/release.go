package network

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"lxd/internal/errs"
)

// settle is how long after a disconnect the leases of what is gone are looked for: an instance is deleted right after it stopped,
// or starts again and keeps its address.
const settle = 2 * time.Second

// departed are the hardware addresses that were disconnected from a network and may have a lease still.
type departed struct {
	hwaddrs map[string]bool
	pending bool
}

// arrive notes that a hardware address is in use.
func (s *Service) arrive(name, hwaddr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.left[name]; d != nil {
		delete(d.hwaddrs, hwaddr)
	}
}

// depart notes that a hardware address was disconnected, and has its lease released soon if its instance is gone by then. Without
// this, instances that live for seconds would use up the addresses of a network for as long as leases last.
func (s *Service) depart(r Record, hwaddr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.left[r.Name]
	if d == nil {
		d = &departed{hwaddrs: map[string]bool{}}
		s.left[r.Name] = d
	}
	d.hwaddrs[hwaddr] = true
	if d.pending {
		return
	}
	d.pending = true
	time.AfterFunc(settle, func() {
		err := s.Release(context.Background(), r.Project, r.Name)
		if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Unavailable) {
			slog.Warn("Addresses could not be taken back", "network", r.Name, "err", err)
		}
	})
}

// Gone is told of a NIC whose instance was deleted, perhaps long after it was disconnected and by an earlier daemon: its lease is
// released soon.
func (s *Service) Gone(ctx context.Context, proj string, nic NIC) error {
	r, driver, err := s.find(ctx, proj, cmp.Or(nic.Config["network"], nic.Config["parent"]))
	if errs.Is(err, errs.NotFound) {
		return nil // a bridge of the host
	}
	if err != nil {
		return err
	}
	if _, ok := driver.(Releaser); ok && nic.Port().Hwaddr != "" {
		s.depart(r, nic.Port().Hwaddr)
	}
	return nil
}

// Release takes back the addresses of NICs that were disconnected and belong to no instance any more. Addresses of NICs of
// stopped instances stay theirs.
func (s *Service) Release(ctx context.Context, proj, name string) error {
	gone := s.departures(name)
	if len(gone) == 0 || s.d.Instances == nil { // without knowing the instances nobody is known to be gone
		return nil
	}
	defer s.hold(name)()
	r, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	releaser, ok := driver.(Releaser)
	if !ok || r.Stage != Made {
		return nil
	}
	n, err := s.net(ctx, r)
	if err != nil {
		return err
	}
	gone = slices.DeleteFunc(gone, func(hwaddr string) bool {
		return slices.ContainsFunc(n.Ports, func(p Port) bool { return p.Hwaddr == hwaddr })
	})
	if len(gone) == 0 {
		return nil
	}
	if err := releaser.Release(ctx, n, gone); err != nil {
		return err
	}
	for _, hwaddr := range gone {
		s.arrive(name, hwaddr)
	}
	return nil
}

// departures are the hardware addresses noted for a network; the next depart sets the clock anew.
func (s *Service) departures(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.left[name]
	if d == nil {
		return nil
	}
	d.pending = false
	return slices.Sorted(maps.Keys(d.hwaddrs))
}
