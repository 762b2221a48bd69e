package network

import (
	"context"
	"net/netip"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/forward"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// Kinds of allocations (wire names).
const (
	toNetwork  = "network"
	toForward  = "network-forward"
	toInstance = "instance"
)

// Allocation is one address in use, and whose it is.
type Allocation struct {
	api.NetworkAllocations
	// Entity, Project and URL are the thing that has the address, or that it is a part of.
	Entity, Project, URL string
}

// Allocations lists the addresses in use on the networks that the project sees, or on all: those of networks, forwards and instances.
func (s *Service) Allocations(ctx context.Context, proj string, all bool) (out []Allocation, err error) {
	records, err := s.seen(ctx, proj, all)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		list, err := s.allocations(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if all || a.Entity != toInstance || a.Project == proj {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// seen are the networks that the project sees, or all.
func (s *Service) seen(ctx context.Context, proj string, all bool) (out []Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		prefix := ""
		if !all {
			owner, err := project.Owner(tx, proj, project.Networks)
			if err != nil {
				return err
			}
			prefix = owner + "/"
		}
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

func (s *Service) allocations(ctx context.Context, r Record) (out []Allocation, err error) {
	add := func(entity, owner, url, hwaddr string, p netip.Prefix) {
		key := "ipv4.nat"
		if p.Addr().Is6() {
			key = "ipv6.nat"
		}
		kind, usedBy := entity, url
		if entity == toForward {
			entity, url = toNetwork, URL(r.Name)
		}
		out = append(out, Allocation{
			NetworkAllocations: api.NetworkAllocations{
				Address: p.String(), UsedBy: usedBy, Type: kind, NAT: kind != toForward && schema.IsTrue(r.Config[key]), Hwaddr: hwaddr, Network: r.Name,
			},
			Entity: entity, Project: owner, URL: url,
		})
	}
	for _, p := range r.subnets() {
		add(toNetwork, r.Project, URL(r.Name), "", p)
	}
	n, err := s.net(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, f := range n.Forwards {
		add(toForward, r.Project, forward.URL(r.Name, f.Listen.String()), "", netip.PrefixFrom(f.Listen, f.Listen.BitLen()))
	}
	driver, err := s.driver(r.Type)
	if err != nil {
		return nil, err
	}
	leaser, ok := driver.(Leaser)
	if !ok {
		return out, nil
	}
	leases, err := leaser.Leases(ctx, n)
	for _, l := range leases {
		if a, err := netip.ParseAddr(l.Address); err == nil && l.Project != "" { // one that is lent to nobody known is no instance's
			add(toInstance, l.Project, project.URL(l.Project, "instances", l.Hostname), l.Hwaddr, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out, err
}

// Lacks fails with what to do without: the kind of network has no such things ("load-balancers", "peers").
func (s *Service) Lacks(ctx context.Context, proj, name, what string) error {
	r, _, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	instead := map[string]string{"load-balancers": "network forwards send ports to machines, one each", "peers": "networks of this type reach each other by routing"}
	return errs.Newf(errs.Invalid, "Network driver %q does not support network %s: %s", r.Type, what, instead[what])
}
