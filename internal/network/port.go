package network

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"lxd/internal/errs"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// id names a port among all.
func (p Port) id() string { return p.Project + "/" + p.Instance + "/" + p.Device }

// Net is the complete network of that name as the project sees it, without its ports.
func (s *Service) Net(ctx context.Context, proj, name string) (Net, error) {
	r, _, err := s.find(ctx, proj, name)
	return Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)}, err
}

// Connect plugs p into a managed network, bringing that up first if it could not come up before.
func (s *Service) Connect(ctx context.Context, proj, name string, p Port) (Link, error) {
	r, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return Link{}, err
	}
	if err := r.complete(); err != nil {
		return Link{}, err
	}
	if s.blamed(name) != nil {
		if err := s.start(ctx, r); err != nil {
			return Link{}, errs.As(errs.Unavailable, err)
		}
		s.look(ctx, r)
	}
	s.arrive(r.Name, p.Hwaddr)
	return driver.Connect(ctx, Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)}, p)
}

// Disconnect unplugs p, also from a network that is gone.
func (s *Service) Disconnect(ctx context.Context, proj, name string, p Port, hostName string) error {
	r, driver, err := s.find(ctx, proj, name)
	if errs.Is(err, errs.NotFound) {
		return s.DisconnectHost(ctx, name, p, hostName)
	}
	if err != nil {
		return err
	}
	if _, ok := driver.(Releaser); ok && p.Hwaddr != "" {
		s.depart(r, p.Hwaddr)
	}
	return driver.Disconnect(ctx, Net{Project: r.Project, Name: r.Name, Config: r.Config, Dir: s.dir(r.Name)}, p, hostName)
}

// ConnectHost plugs p into a bridge of the host that is no network of ours.
func (s *Service) ConnectHost(ctx context.Context, bridge string, p Port) (Link, error) {
	driver, err := s.driver("bridge")
	if err != nil {
		return Link{}, err
	}
	return driver.Connect(ctx, Net{Name: bridge}, p)
}

// DisconnectHost undoes ConnectHost; what is missing is no error.
func (s *Service) DisconnectHost(ctx context.Context, bridge string, p Port, hostName string) error {
	driver, err := s.driver("bridge")
	if err != nil {
		return err
	}
	return driver.Disconnect(ctx, Net{Name: bridge}, p, hostName)
}

// CheckPort fails with Invalid when the network cannot give p what it wants: addresses outside of its subnet, or of another port.
func (s *Service) CheckPort(ctx context.Context, proj, name string, p Port) error {
	r, driver, err := s.find(ctx, proj, name)
	if errs.Is(err, errs.NotFound) {
		return errs.As(errs.Invalid, err)
	}
	if err != nil {
		return err
	}
	keys := driver.Keys()
	if err := errors.Join(r.checkAddress(keys, "ipv4", p.IPv4), r.checkAddress(keys, "ipv6", p.IPv6)); err != nil {
		return errs.As(errs.Invalid, err)
	}
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		if !p.IPv4.IsValid() && !p.IPv6.IsValid() {
			return nil // nothing that another could have
		}
		all, err := s.ports(tx, r)
		if err != nil {
			return err
		}
		for _, q := range all {
			switch {
			case q.id() == p.id():
			case p.IPv4.IsValid() && q.IPv4 == p.IPv4, p.IPv6.IsValid() && q.IPv6 == p.IPv6:
				return errs.Newf(errs.Invalid, "the address is that of %s of instance %q already: choose another", q.Device, q.Instance)
			}
		}
		return nil
	})
}

// checkAddress fails when a port cannot have a static address on the network.
func (r Record) checkAddress(keys *schema.Schema, family string, a netip.Addr) error {
	if !a.IsValid() {
		return nil
	}
	subnet, err := netip.ParsePrefix(keys.Get(r.Config, family+".address"))
	switch {
	case err != nil:
		return errs.Newf(errs.Invalid, "%s.address %s: network %q has no %s addresses", family, a, r.Name, family)
	case !subnet.Contains(a):
		return errs.Newf(errs.Invalid, "%s.address %s is not within the subnet %s of network %q", family, a, subnet.Masked(), r.Name)
	case subnet.Addr() == a:
		return errs.Newf(errs.Invalid, "%s.address %s is the address of network %q itself", family, a, r.Name)
	case r.off(keys, family+".dhcp"):
		return errs.Newf(errs.Invalid, "%s.address needs %s.dhcp on network %q", family, family, r.Name)
	case family == "ipv6" && r.off(keys, "ipv6.dhcp.stateful"):
		return errs.Newf(errs.Invalid, "ipv6.address needs ipv6.dhcp.stateful on network %q: else machines choose their own addresses", r.Name)
	}
	return nil
}

// off tells whether the kind of network has a switch of that name and it is off.
func (r Record) off(keys *schema.Schema, name string) bool {
	_, has := keys.Lookup(name)
	return has && !keys.Bool(r.Config, name)
}

// Refresh tells a network of its ports anew, and takes back the addresses of those that are gone: instances call it when NICs were
// added, changed or removed for good.
func (s *Service) Refresh(ctx context.Context, proj, name string) error {
	err := s.register(ctx, proj, name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Release(ctx, proj, name)
}

func (s *Service) register(ctx context.Context, proj, name string) error {
	defer s.hold(name)()
	r, driver, err := s.find(ctx, proj, name)
	if err != nil || r.Stage != Made {
		return err
	}
	n, err := s.net(ctx, r)
	if err != nil {
		return err
	}
	if light, ok := driver.(Registrar); ok && s.blamed(name) == nil {
		return light.Register(ctx, n)
	}
	return driver.Up(ctx, n)
}

// sweep removes what is left of networks that do not exist, such as the new name of one whose renaming was cut short.
func (s *Service) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(s.d.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, r := range records {
		known[r.Name] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			err = errors.Join(err, s.remove(ctx, e.Name()))
		}
	}
	return err
}

// remove takes down a network of which nothing but its folder is known.
func (s *Service) remove(ctx context.Context, name string) error {
	if CheckName(name) != nil {
		return os.RemoveAll(s.dir(name))
	}
	for _, d := range s.d.Drivers {
		if err := d.Down(ctx, Net{Name: name, Dir: s.dir(name), Config: map[string]string{}}); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.dir(name))
}
