// Package fake has interfaces that exist in memory only, for tests of what is above them.
package fake

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/device/nic"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
)

// Links is a nic.Links. Its zero value has no interfaces but those called host0 and host1.
type Links struct {
	// Fail makes the next effects of these names fail.
	Fail map[string]error

	mu     sync.Mutex
	state  map[string]string
	owners map[string]string // of pairs, by the name of the host side
}

var _ nic.Links = (*Links)(nil)

// State lists what was made and not removed, in order.
func (l *Links) State() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range l.state {
		all = append(all, k+v)
	}
	slices.Sort(all)
	return all
}

func (l *Links) do(name string, fn func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Fail[name]; err != nil {
		return err
	}
	if l.state == nil {
		l.state, l.owners = map[string]string{}, map[string]string{}
	}
	fn()
	return nil
}

// Find implements nic.Links.
func (l *Links) Find(name string) (link netlink.Link, ok bool, err error) {
	err = l.do("find", func() {
		_, lent := l.state["lent "+name]
		_, paired := l.state["pair "+name]
		ok, link.Alias = (name == "host0" || name == "host1") && !lent || paired, l.owners[name]
	})
	return netlink.Link{Name: name, Alias: link.Alias, Hwaddr: "00:16:3e:00:00:99", MTU: 1500}, ok, err
}

// Pair implements nic.Links.
func (l *Links) Pair(v netlink.Veth) error {
	taken := false
	err := l.do("pair", func() {
		if _, taken = l.state["pair "+v.Host]; !taken {
			l.state["pair "+v.Host], l.owners[v.Host] = " "+v.Peer, v.Owner
		}
	})
	if taken {
		return fmt.Errorf("create %s: %w", v.Host, unix.EEXIST)
	}
	return err
}

// Unpair implements nic.Links.
func (l *Links) Unpair(name, owner string) error {
	return l.do("unpair", func() {
		if l.owners[name] == owner {
			delete(l.state, "pair "+name)
		}
	})
}

// Macvlan implements nic.Links.
func (l *Links) Macvlan(parent string, g netlink.Guest) error {
	return l.do("macvlan", func() { l.state["macvlan "+g.Name] = " on " + parent })
}

// Unmacvlan implements nic.Links.
func (l *Links) Unmacvlan(g netlink.Guest) error {
	return l.do("unmacvlan", func() { delete(l.state, "macvlan "+g.Name) })
}

// Lend implements nic.Links.
func (l *Links) Lend(name string, g netlink.Guest) error {
	return l.do("lend", func() { l.state["lent "+name] = " as " + g.Name })
}

// Return implements nic.Links.
func (l *Links) Return(name string, _ netlink.Guest) error {
	return l.do("return", func() { delete(l.state, "lent "+name) })
}

// Shape implements nic.Links.
func (l *Links) Shape(name string, s netlink.Shape) error {
	return l.do("shape", func() {
		if l.state["shape "+name] = fmt.Sprintf(" %d %d", s.Sent, s.Received); s == (netlink.Shape{}) {
			delete(l.state, "shape "+name)
		}
	})
}

// Unshape implements nic.Links.
func (l *Links) Unshape(name string) error {
	return l.do("unshape", func() { delete(l.state, "shape "+name) })
}

// Route implements nic.Links.
func (l *Links) Route(via string, add, remove []netip.Prefix) error {
	if via == "" {
		return errs.Newf(errs.Internal, "a route needs a way")
	}
	return l.do("route", func() {
		for _, p := range remove {
			delete(l.state, "route "+p.String())
		}
		for _, p := range add {
			l.state["route "+p.String()] = " by " + via
		}
	})
}
