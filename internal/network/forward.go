package network

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/forward"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// Forwards lists the forwards of a network.
func (s *Service) Forwards(ctx context.Context, proj, name string) (out []api.NetworkForward, err error) {
	out = []api.NetworkForward{}
	return out, s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, name)
		if err != nil {
			return err
		}
		list, err := forwards(tx, r)
		for _, f := range list {
			out = append(out, f.Show(standalone))
		}
		return err
	})
}

// Forward loads one forward, and what If-Match guards of it.
func (s *Service) Forward(ctx context.Context, proj, name, listen string) (f api.NetworkForward, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, name)
		if err != nil {
			return err
		}
		one, err := findForward(tx, r, listen)
		f, etag = one.Show(standalone), one.ETag()
		return err
	})
	return f, etag, err
}

// CreateForward adds a forward and returns its listen address as it is written from now on.
func (s *Service) CreateForward(ctx context.Context, proj, name string, post api.NetworkForwardsPost) (listen string, err error) {
	a, err := forward.ParseListen(post.ListenAddress)
	if err != nil {
		return "", err
	}
	return a.String(), s.reforward(ctx, proj, name, func(tx store.Tx, r Record) (func(store.Tx) error, []forward.Record, error) {
		list, err := forwards(tx, r)
		if err != nil {
			return nil, nil, err
		}
		f := forward.Record{Project: r.Project, Network: r.Name, Listen: a.String()}.With(post.NetworkForwardPut)
		if err := free(tx, r, a); err != nil {
			return nil, nil, err
		}
		return func(tx store.Tx) error {
			if err := free(tx, r, a); err != nil { // another network may have been given it meanwhile
				return err
			}
			tx.Announce(f.Change(api.LifecycleNetworkForwardCreated))
			return forward.Collection.Insert(tx, f)
		}, append(list, f), nil
	})
}

// UpdateForward replaces what clients may write of a forward.
func (s *Service) UpdateForward(ctx context.Context, proj, name, listen string, put api.NetworkForwardPut) error {
	return s.reforward(ctx, proj, name, func(tx store.Tx, r Record) (func(store.Tx) error, []forward.Record, error) {
		list, i, err := others(tx, r, listen)
		if err != nil {
			return nil, nil, err
		}
		f := list[i].With(put)
		list[i] = f
		return func(tx store.Tx) error {
			tx.Announce(f.Change(api.LifecycleNetworkForwardUpdated))
			return forward.Collection.Modify(tx, forward.Collection.Key(f), func(p *forward.Record) error { *p = f; return nil })
		}, list, nil
	})
}

// DeleteForward removes a forward.
func (s *Service) DeleteForward(ctx context.Context, proj, name, listen string) error {
	return s.reforward(ctx, proj, name, func(tx store.Tx, r Record) (func(store.Tx) error, []forward.Record, error) {
		list, i, err := others(tx, r, listen)
		if err != nil {
			return nil, nil, err
		}
		f := list[i]
		return func(tx store.Tx) error {
			tx.Announce(f.Change(api.LifecycleNetworkForwardDeleted))
			return forward.Collection.Delete(tx, forward.Collection.Key(f))
		}, slices.Delete(list, i, i+1), nil
	})
}

// planForwards decides in a view what the forwards of a network are to be, and how that is written.
type planForwards func(store.Tx, Record) (write func(store.Tx) error, want []forward.Record, err error)

// reforward changes the forwards of a network, on the host first. On failure the host is as before; whatever a crash cuts short, StartAll
// makes the host match what is stored.
func (s *Service) reforward(ctx context.Context, proj, name string, plan planForwards) (err error) {
	defer s.hold(name)()
	before, driver, err := s.wanted(ctx, proj, name, nil)
	if err != nil {
		return err
	}
	r, _, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	if err := r.complete(); err != nil {
		return err
	}
	after := before
	var write func(store.Tx) error
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		w, want, err := plan(tx, r)
		if err != nil {
			return err
		}
		write = w
		after.Forwards, err = rules(r, want)
		return err
	})
	if err != nil {
		return err
	}
	var u undo.Stack
	defer u.Unwind(ctx, &err)
	u.Add("bring back the forwards of network "+name, func(ctx context.Context) error { return driver.Guard(ctx, before) })
	if err := s.step("network-forward", "host", func() error { return driver.Guard(ctx, after) }); err != nil {
		return err
	}
	return s.commit("network-forward", func() error { return s.d.Store.Update(ctx, write) })
}

// others are all forwards of a network, and the place of one among them.
func others(tx store.Tx, r Record, listen string) (list []forward.Record, i int, err error) {
	f, err := findForward(tx, r, listen)
	if err != nil {
		return nil, 0, err
	}
	list, err = forwards(tx, r)
	return list, slices.IndexFunc(list, func(o forward.Record) bool { return o.Listen == f.Listen }), err
}

func findForward(tx store.Tx, r Record, listen string) (forward.Record, error) {
	if a, err := netip.ParseAddr(listen); err == nil {
		listen = a.String()
	}
	f, err := forward.Collection.Get(tx, forward.Key(r.Project, r.Name, listen))
	if errs.Is(err, errs.NotFound) {
		return f, errs.Newf(errs.NotFound, "network %q has no forward for %s", r.Name, listen)
	}
	return f, err
}

func forwards(tx store.Tx, r Record) (list []forward.Record, err error) {
	for f, err := range forward.Collection.All(tx, forward.Key(r.Project, r.Name, "")) {
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// rules are what forwards ask of the firewall.
func rules(r Record, list []forward.Record) (out []forward.Rule, err error) {
	subnets := r.subnets()
	for _, f := range list {
		rule, err := f.Rule(subnets...)
		if err != nil {
			return nil, err
		}
		out = append(out, rule)
	}
	return out, nil
}

// subnets are the network's own, with the addresses of its bridge.
func (r Record) subnets() (list []netip.Prefix) {
	for _, key := range []string{"ipv4.address", "ipv6.address"} {
		if p, err := netip.ParsePrefix(r.Config[key]); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// free fails when an address is that of another forward, or belongs to the machines of a network.
func free(tx store.Tx, r Record, listen netip.Addr) error {
	for f, err := range forward.Collection.All(tx, "") {
		if err != nil {
			return err
		}
		if f.Listen == listen.String() {
			return errs.Newf(errs.Conflict, "network %q has a forward for %s already: edit that one, or remove it first", f.Network, listen)
		}
	}
	for n, err := range Collection.All(tx, "") {
		if err != nil {
			return err
		}
		for _, p := range n.subnets() {
			if p.Contains(listen) && (n.Name != r.Name || p.Addr() != listen) {
				return errs.Newf(errs.Invalid, "listen_address %s is within the subnet %s of network %q: give an address outside of it", listen, p.Masked(), n.Name)
			}
		}
	}
	return nil
}

// moveForwards gives the forwards of a network to another name, within tx; an empty one removes them.
func moveForwards(tx store.Tx, r Record, to string) (moved []forward.Record, err error) {
	list, err := forwards(tx, r)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if err := forward.Collection.Delete(tx, forward.Collection.Key(f)); err != nil {
			return nil, err
		}
		f.Network = to
		moved = append(moved, f)
	}
	return moved, nil
}

// keepsForwards fails when a changed configuration leaves forwards without their targets.
func (s *Service) keepsForwards(ctx context.Context, r Record) error {
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		list, err := forwards(tx, r)
		if err != nil {
			return err
		}
		if _, err := rules(r, list); err != nil {
			return errs.Newf(errs.Invalid, "the change would break a forward: change or remove that first: %s", strings.TrimSpace(err.Error()))
		}
		return nil
	})
}
