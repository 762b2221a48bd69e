package netlink

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Guest is a link in another network namespace.
type Guest struct {
	Netns *os.File
	Name  string
	// Hwaddr is "" for what it has, MTU 0 likewise.
	Hwaddr string
	MTU    int
	// Up says to bring it up.
	Up bool
}

// AddMacvlan makes a link in another namespace that has a MAC address of its own on a link of this one.
func AddMacvlan(parent string, g Guest) error {
	on, err := netlink.LinkByName(parent)
	if err != nil {
		return fmt.Errorf("interface %s: %w", parent, err)
	}
	attrs, err := attrsOf(g.Name, g.Hwaddr, g.MTU)
	if err != nil {
		return err
	}
	attrs.ParentIndex, attrs.Namespace = on.Attrs().Index, netlink.NsFd(g.Netns.Fd())
	if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return fmt.Errorf("make interface %s on %s: %w", g.Name, parent, err)
	}
	if !g.Up {
		return nil
	}
	return g.at(func(h *netlink.Handle) error {
		l, err := h.LinkByName(g.Name)
		if err == nil {
			err = h.LinkSetUp(l)
		}
		return err
	})
}

// DeleteGuest removes a link of that type from another namespace, by its name or else its MAC address; a missing one is no error.
func DeleteGuest(kind string, g Guest) error {
	return g.at(func(h *netlink.Handle) error {
		l, err := g.find(h, kind, "")
		if l == nil || err != nil {
			return err
		}
		return h.LinkDel(l)
	})
}

// Lend moves a link of this namespace into another one. It is marked there, so that Return finds it whatever it is called by then.
func Lend(name string, g Guest) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := errors.Join(netlink.LinkSetDown(l), netlink.LinkSetAlias(l, mark(name))); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := netlink.LinkSetNsFd(l, int(g.Netns.Fd())); err != nil {
		return errors.Join(fmt.Errorf("move interface %s: %w", name, err), unmark(netlink.LinkSetAlias(l, ""), l))
	}
	return g.at(func(h *netlink.Handle) error {
		l, err := g.find(h, "", mark(name))
		if err != nil || l == nil {
			return errors.Join(err, fmt.Errorf("interface %s went away", name))
		}
		return g.set(h, l)
	})
}

func unmark(err error, l netlink.Link) error { return errors.Join(err, netlink.LinkSetUp(l)) }

// Return takes a link back that was lent, and gives it its name and what g says of it. One that is not there is no error.
func Return(name string, g Guest) error {
	here, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	found := false
	// A name that no other link of this namespace has: the one that it bears there may be taken here.
	passing := "lxd" + mirror(name)[3:]
	err = g.at(func(h *netlink.Handle) error {
		l, err := g.find(h, "", mark(name))
		if l == nil || err != nil {
			return err
		}
		found = true
		if err := errors.Join(h.LinkSetDown(l), h.LinkSetName(l, passing)); err != nil {
			return err
		}
		return h.LinkSetNsFd(l, int(here.Fd()))
	})
	if err != nil {
		return fmt.Errorf("take back interface %s: %w", name, err)
	}
	return settleBack(name, passing, g, found)
}

// settleBack makes a link that was taken back what it was. It also finishes what was cut short.
func settleBack(name, passing string, g Guest, found bool) error {
	l, err := netlink.LinkByName(passing)
	if missing(err) && !found {
		return nil
	}
	if err == nil {
		err = netlink.LinkSetAlias(l, "")
	}
	if err == nil {
		g.Name, g.Up = name, true
		err = g.set(&netlink.Handle{}, l)
	}
	if err != nil {
		return fmt.Errorf("take back interface %s: %w", name, err)
	}
	return nil
}

// mark is the alias of a link that was lent.
func mark(name string) string { return "lent by the host as " + name }

// at calls fn with the namespace.
func (g Guest) at(fn func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(g.Netns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the network namespace of interface %s: %w", g.Name, err)
	}
	defer h.Close()
	if err := fn(h); err != nil {
		return fmt.Errorf("interface %s: %w", g.Name, err)
	}
	return nil
}

// find looks for the link: by its alias if there is one, else by name or MAC address among those of a type.
func (g Guest) find(h *netlink.Handle, kind, alias string) (netlink.Link, error) {
	all, err := dump(h.LinkList)
	if err != nil {
		return nil, err
	}
	var byHwaddr netlink.Link
	for _, l := range all {
		a := l.Attrs()
		switch {
		case alias != "":
			if a.Alias == alias {
				return l, nil
			}
		case l.Type() != kind:
		case a.Name == g.Name:
			return l, nil
		case a.HardwareAddr.String() == g.Hwaddr:
			byHwaddr = l
		}
	}
	return byHwaddr, nil
}

// set gives a link that is down its properties.
func (g Guest) set(h *netlink.Handle, l netlink.Link) error {
	var err error
	if g.Hwaddr != "" {
		attrs, e := attrsOf("", g.Hwaddr, 0)
		if err = e; err == nil {
			err = h.LinkSetHardwareAddr(l, attrs.HardwareAddr)
		}
	}
	if err == nil && g.MTU > 0 {
		err = h.LinkSetMTU(l, g.MTU)
	}
	if err == nil && g.Name != l.Attrs().Name {
		err = h.LinkSetName(l, g.Name)
	}
	if err == nil && g.Up {
		err = h.LinkSetUp(l)
	}
	return err
}
