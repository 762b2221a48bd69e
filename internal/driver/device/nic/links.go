package nic

import (
	"errors"
	"net/netip"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
)

// Links is what NICs need of the host's interfaces.
type Links interface {
	Find(name string) (netlink.Link, bool, error)
	// Pair makes a veth pair, and fails with unix.EEXIST when one of the names is taken. Unpair is idempotent, and leaves interfaces of
	// other kinds and owners alone.
	Pair(v netlink.Veth) error
	Unpair(name, owner string) error
	// Macvlan makes an interface inside on one of the host; Unmacvlan is idempotent.
	Macvlan(parent string, g netlink.Guest) error
	Unmacvlan(g netlink.Guest) error
	// Lend moves an interface of the host inside, Return takes it back; one that is not lent is no error.
	Lend(name string, g netlink.Guest) error
	Return(name string, g netlink.Guest) error
	// Shape limits what passes an interface, Unshape removes what that has made; the interface may be gone.
	Shape(name string, s netlink.Shape) error
	Unshape(name string) error
	// Route adds and removes routes by an interface; one that is gone has none.
	Route(via string, add, remove []netip.Prefix) error
}

// foreign tells whether the interface of that name is there and not the port's: one that it asked for, and did not get.
func foreign(l Links, name string, p network.Port) (bool, error) {
	if name == "" {
		return false, nil
	}
	at, there, err := l.Find(name)
	return there && !at.Of(p.Owner()), err
}

// Host is the Links of the real host.
type Host struct{}

var _ Links = Host{}

// Find implements Links.
func (Host) Find(name string) (netlink.Link, bool, error) { return netlink.Find(name) }

// Pair implements Links.
func (Host) Pair(v netlink.Veth) error { return netlink.AddVeth(v) }

// Unpair implements Links.
func (Host) Unpair(name, owner string) error { return netlink.DeleteVeth(name, owner) }

// Macvlan implements Links.
func (Host) Macvlan(parent string, g netlink.Guest) error { return netlink.AddMacvlan(parent, g) }

// Unmacvlan implements Links.
func (Host) Unmacvlan(g netlink.Guest) error { return netlink.DeleteGuest("macvlan", g) }

// Lend implements Links.
func (Host) Lend(name string, g netlink.Guest) error { return netlink.Lend(name, g) }

// Return implements Links.
func (Host) Return(name string, g netlink.Guest) error { return netlink.Return(name, g) }

// Shape implements Links.
func (Host) Shape(name string, s netlink.Shape) error { return netlink.SetShape(name, s) }

// Unshape implements Links.
func (Host) Unshape(name string) error { return netlink.DropShape(name) }

// Route implements Links.
func (Host) Route(via string, add, remove []netip.Prefix) error {
	l, ok, err := netlink.Find(via)
	switch {
	case err != nil:
		return err
	case !ok && len(add) > 0:
		return errs.Newf(errs.Unavailable, "interface %s is gone", via)
	case !ok:
		return nil
	}
	for _, p := range remove {
		err = errors.Join(err, netlink.DeleteRoute(l.Index, p))
	}
	for _, p := range add {
		err = errors.Join(err, netlink.AddRoute(l.Index, p))
	}
	return err
}
