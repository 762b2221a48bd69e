package network

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Statuses of networks (wire names).
const (
	statusCreated     = "Created"
	statusPending     = "Pending"
	statusUnavailable = "Unavailable"
)

// Get loads one network, managed or an interface of the host, and what If-Match guards of it.
func (s *Service) Get(ctx context.Context, proj, name string) (n api.Network, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, name)
		if err == nil {
			n, etag = s.show(tx, proj, r), r.ETag()
		}
		return err
	})
	if !errs.Is(err, errs.NotFound) {
		return n, etag, err
	}
	l, ok, e := netlink.Find(name)
	if e != nil {
		return n, nil, e
	}
	if !ok || hidden(l) {
		return n, nil, err
	}
	n = unmanaged(l, proj)
	return n, []any{n.Name, n.Managed, n.Type, n.Description, n.Config}, nil
}

// List loads the networks that the project sees, or those of all projects, and the interfaces of the host.
func (s *Service) List(ctx context.Context, proj string, all bool) (out []api.Network, err error) {
	managed := map[string]bool{}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		owner, err := project.Owner(tx, proj, project.Networks)
		if err != nil {
			return err
		}
		prefix := owner + "/"
		if all {
			prefix = ""
		}
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			as := proj
			if all {
				as = r.Project
			}
			out = append(out, s.show(tx, as, r))
			managed[r.Name] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	links, err := netlink.List()
	for _, l := range links {
		if !managed[l.Name] && !hidden(l) {
			out = append(out, unmanaged(l, proj))
		}
	}
	slices.SortStableFunc(out, func(a, b api.Network) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

func (s *Service) show(tx store.Tx, proj string, r Record) api.Network {
	status := statusCreated
	switch {
	case r.Stage != Made:
		status = statusPending
	case s.blamed(r.Name) != nil:
		status = statusUnavailable
	}
	users, err := s.users(tx, r)
	if err != nil {
		users = project.UsedBy(Collection.UsedBy(tx, Key(r.Project, r.Name))) // what names the network is known in any case
	}
	return r.show(status, proj, users)
}

// users are the addresses of what uses a network: what names it, what has a NIC on its bridge, and the instances that have one by
// a profile.
func (s *Service) users(tx store.Tx, r Record) ([]string, error) {
	urls := project.UsedBy(Collection.UsedBy(tx, Key(r.Project, r.Name)))
	ports, err := s.ports(tx, r)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		urls = append(urls, project.URL(p.Project, "instances", p.Instance))
	}
	for p, err := range profile.Collection.All(tx, "") {
		if err != nil {
			return nil, err
		}
		for _, cfg := range p.Devices {
			if p.NetworkProject == r.Project && (NIC{Config: cfg}).On(r.Name) {
				urls = append(urls, p.URL())
			}
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls), nil
}

// unused fails with Invalid while something uses the network.
func (s *Service) unused(tx store.Tx, r Record) error {
	users, err := s.users(tx, r)
	if err == nil && len(users) > 0 {
		return errs.Newf(errs.Invalid, "network %q is in use by %s: remove it from there first", r.Name, strings.Join(users, ", "))
	}
	return err
}

// hidden are the host's sides of the NICs of instances.
func hidden(l netlink.Link) bool { return strings.HasPrefix(l.Name, "veth") }

func unmanaged(l netlink.Link, proj string) api.Network {
	return api.Network{Name: l.Name, Type: kind(l), Config: map[string]string{}, UsedBy: []string{}, Locations: []string{}, Project: proj}
}

// kind is the wire name of an interface's kind.
func kind(l netlink.Link) string {
	switch {
	case l.Loopback:
		return "loopback"
	case l.Type == "bridge", l.Type == "bond", l.Type == "vlan":
		return l.Type
	case l.Type == "device":
		return "physical"
	}
	return "unknown"
}

// State looks at the interface of a network, managed or not.
func (s *Service) State(ctx context.Context, proj, name string) (api.NetworkState, error) {
	_, _, notFound := s.Get(ctx, proj, name)
	if notFound != nil {
		return api.NetworkState{}, notFound
	}
	l, ok, err := netlink.Find(name)
	if err != nil {
		return api.NetworkState{}, err
	}
	if !ok {
		return api.NetworkState{}, errs.Newf(errs.NotFound, "network %q is down: the host has no interface of that name", name)
	}
	st := api.NetworkState{
		Addresses: []api.NetworkStateAddress{}, Hwaddr: l.Hwaddr, Mtu: int64(l.MTU), State: "down", Type: "broadcast",
		Counters: api.NetworkStateCounters{
			BytesReceived: l.Stats.BytesIn, BytesSent: l.Stats.BytesOut, PacketsReceived: l.Stats.PktsIn, PacketsSent: l.Stats.PktsOut,
		},
	}
	if l.Up {
		st.State = "up"
	}
	if l.Loopback {
		st.Type = "loopback"
	}
	addrs, err := netlink.Addrs(l.Index)
	for _, a := range addrs {
		family := "inet"
		if a.Prefix.Addr().Is6() {
			family = "inet6"
		}
		st.Addresses = append(st.Addresses, api.NetworkStateAddress{
			Family: family, Address: a.Prefix.Addr().String(), Netmask: strconv.Itoa(a.Prefix.Bits()), Scope: a.Scope,
		})
	}
	if err == nil && l.Type == "bridge" {
		st.Bridge, err = bridgeState(l)
	}
	return st, err
}

// bridgeState is what only bridges have.
func bridgeState(l netlink.Link) (*api.NetworkStateBridge, error) {
	b, err := netlink.BridgeOf(l.Index)
	if err != nil {
		return nil, err
	}
	st := &api.NetworkStateBridge{
		ID: b.ID, STP: b.STP, ForwardDelay: b.ForwardDelay, VLANDefault: b.VLANDefault, VLANFiltering: b.VLANFiltering, UpperDevices: []string{},
	}
	links, err := netlink.List()
	for _, m := range links {
		if m.Master == l.Index {
			st.UpperDevices = append(st.UpperDevices, m.Name)
		}
	}
	return st, err
}

// Leases lists the addresses in use on a managed network, as far as the project may know.
func (s *Service) Leases(ctx context.Context, proj, name string) ([]api.NetworkLease, error) {
	r, driver, err := s.find(ctx, proj, name)
	if err != nil {
		return nil, err
	}
	leaser, ok := driver.(Leaser)
	if !ok {
		return nil, errs.Newf(errs.Invalid, "a network of type %s hands out no addresses", r.Type)
	}
	n, err := s.net(ctx, r)
	if err != nil {
		return nil, err
	}
	list, err := leaser.Leases(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("leases of network %s: %w", name, err)
	}
	out := []api.NetworkLease{}
	for _, l := range list {
		owner := l.Project
		if owner == "" {
			owner = r.Project
		}
		if l.Type == "gateway" || owner == proj {
			out = append(out, api.NetworkLease{
				Hostname: l.Hostname, Hwaddr: l.Hwaddr, Address: l.Address, Type: l.Type, Location: standalone, Project: owner,
			})
		}
	}
	return out, nil
}
