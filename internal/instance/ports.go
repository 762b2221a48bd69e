package instance

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"lxd/internal/network"
	"lxd/internal/store"
)

// Networks is what instances need of networks besides their NICs.
type Networks interface {
	// Refresh tells a network of its ports anew.
	Refresh(ctx context.Context, project, network string) error
	// Gone is told of a NIC whose instance was deleted.
	Gone(ctx context.Context, project string, nic network.NIC) error
}

// NetworkPorts lists the NICs of all instances that are on the managed network of that project and name, running or not.
func (s *Service) NetworkPorts(tx store.Tx, proj, name string) (ports []network.Port, err error) {
	known := profiles{tx: tx, byKey: map[string]found{}}
	for e, r := range Collection.AllRev(tx, "") {
		if r.NetworkProject != proj {
			continue
		}
		v, err := known.view(r, e)
		if err != nil {
			return nil, err
		}
		v.expand()
		ports = append(ports, v.ports(name)...)
	}
	return ports, nil
}

// ports are the NICs of an instance that are on the network.
func (v view) ports(name string) (ports []network.Port) {
	for _, n := range v.nics() {
		if n.On(name) {
			ports = append(ports, n.Port())
		}
	}
	return ports
}

// nics are the NICs of an instance, in order of name.
func (v view) nics() (all []network.NIC) {
	for _, name := range slices.Sorted(maps.Keys(v.devices)) {
		if cfg := v.devices[name]; cfg["type"] == "nic" {
			all = append(all, network.NIC{Project: v.Project, Instance: v.Name, Device: name, Config: cfg, InstanceConfig: v.config})
		}
	}
	return all
}

// stale is the networks whose ports changed and that were not told yet.
type stale struct {
	mu    sync.Mutex
	names map[[2]string]bool
}

// tellPause is how long a network is left unaware of changes of its ports, so that many of them are told at once. A NIC that is
// attached does not wait for this.
const tellPause = 200 * time.Millisecond

// portsChanged sees to it that the networks of these NICs learn of a change.
func (s *Service) portsChanged(proj string, nics []network.NIC) {
	if s.d.Networks == nil {
		return
	}
	s.stale.mu.Lock()
	defer s.stale.mu.Unlock()
	first := len(s.stale.names) == 0
	if first {
		s.stale.names = map[[2]string]bool{}
	}
	for _, n := range nics {
		if name := cmp.Or(n.Config["network"], n.Config["parent"]); name != "" { // a parent may be the bridge of a network
			s.stale.names[[2]string{proj, name}] = true
		}
	}
	if first && len(s.stale.names) > 0 {
		s.wait.Go(s.tellNetworks)
	}
}

// nicsGone tells networks that the NICs of a deleted instance will not come back.
func (s *Service) nicsGone(ctx context.Context, v view) {
	if s.d.Networks == nil {
		return
	}
	for _, n := range v.nics() {
		if err := s.d.Networks.Gone(ctx, v.NetworkProject, n); err != nil {
			slog.Warn("The addresses of a deleted instance stay taken until their leases end", "instance", v.key(), "device", n.Device, "err", err)
		}
	}
}

// tellNetworks waits a little and then tells the networks that are unaware.
func (s *Service) tellNetworks() {
	select {
	case <-time.After(tellPause):
	case <-s.base.Done():
		return // a starting daemon tells all networks
	}
	s.stale.mu.Lock()
	names := s.stale.names
	s.stale.names = nil
	s.stale.mu.Unlock()
	for n := range names {
		if err := s.d.Networks.Refresh(s.base, n[0], n[1]); err != nil && s.base.Err() == nil {
			slog.Error("Could not tell a network of its ports: it is told at the next change", "project", n[0], "network", n[1], "err", err)
		}
	}
}
