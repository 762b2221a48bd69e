package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addr is one address of a link.
type Addr struct {
	Prefix netip.Prefix
	// Scope is "global", "link" or "local".
	Scope string
}

// Addrs lists the addresses of a link.
func Addrs(index int) ([]Addr, error) {
	all, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(byIndex(index), netlink.FAMILY_ALL) })
	if err != nil {
		return nil, wrap("list addresses of", index, err)
	}
	out := make([]Addr, 0, len(all))
	for _, a := range all {
		if p, ok := prefixOf(a.IPNet); ok {
			out = append(out, Addr{p, scopeOf(a.Scope)})
		}
	}
	return out, nil
}

// AddAddr adds an address, usable at once (no duplicate address detection); one that is there is no error.
func AddAddr(index int, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	err := netlink.AddrAdd(byIndex(index), a)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return wrap("add address "+p.String()+" to", index, err)
}

// DeleteAddr removes an address; a missing one is no error.
func DeleteAddr(index int, p netip.Prefix) error {
	err := netlink.AddrDel(byIndex(index), &netlink.Addr{IPNet: ipNet(p)})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return wrap("remove address "+p.String()+" from", index, err)
}

// Route is one route of the main table.
type Route struct {
	Dst netip.Prefix
	// Index is the outgoing link.
	Index int
	// Static routes were added by a program, not by the kernel for an address.
	Static bool
}

// Routes lists the routes of the main table, default routes left out.
func Routes() ([]Route, error) {
	all, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []Route
	for _, r := range all {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			out = append(out, Route{p, r.LinkIndex, r.Protocol != unix.RTPROT_KERNEL && r.Protocol != unix.RTPROT_RA})
		}
	}
	return out, nil
}

// AddRoute sends what goes to dst out of the link; a route that is there is no error.
func AddRoute(index int, dst netip.Prefix) error {
	r := route(index, dst)
	return wrap("add route to "+dst.String()+" by", index, netlink.RouteReplace(&r))
}

// DeleteRoute removes a route that AddRoute made; a missing one is no error.
func DeleteRoute(index int, dst netip.Prefix) error {
	r := route(index, dst)
	err := netlink.RouteDel(&r)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return wrap("remove route to "+dst.String()+" by", index, err)
}

func route(index int, dst netip.Prefix) netlink.Route {
	r := netlink.Route{LinkIndex: index, Dst: ipNet(dst.Masked()), Protocol: unix.RTPROT_STATIC}
	if dst.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if v4 := a.Unmap(); v4 != a && bits > 32 {
		bits -= 96
	}
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

func scopeOf(s int) string {
	switch netlink.Scope(s) {
	case netlink.SCOPE_HOST:
		return "local"
	case netlink.SCOPE_LINK:
		return "link"
	}
	return "global"
}
