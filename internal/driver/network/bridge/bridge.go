// Package bridge makes networks of a Linux bridge, with a dnsmasq of its own for addresses and names.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/host/run"
	"lxd/internal/network"
	"lxd/internal/schema"
)

// Driver implements network.Driver, and all that it may besides.
type Driver struct {
	o      Options
	keys   *schema.Schema
	base   context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	servers map[string]*server
	report  func(network.Trouble)
}

// Options is what a Driver needs.
type Options struct {
	// Firewall guards networks and ports.
	Firewall network.Firewall
	// Dnsmasq is the program's file; "" looks for it.
	Dnsmasq string
}

// New makes a driver. Close it when the daemon ends.
func New(o Options) *Driver {
	d := &Driver{o: o, keys: keys(), servers: map[string]*server{}, report: func(network.Trouble) {}}
	d.base, d.cancel = context.WithCancel(context.Background())
	return d
}

// Close ends the watch over the dnsmasq processes, which go on running.
func (d *Driver) Close() { d.cancel() }

// Report implements network.Reporter: it tells of a dnsmasq that ended by another's doing.
func (d *Driver) Report(to func(network.Trouble)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report = to
}

func (d *Driver) tell(t network.Trouble) {
	d.mu.Lock()
	to := d.report
	d.mu.Unlock()
	to(t)
}

// Inspect implements network.Inspector.
func (d *Driver) Inspect(ctx context.Context, n network.Net) (problems []string, err error) {
	l, ok, err := netlink.Find(n.Name)
	switch {
	case err != nil:
		return nil, err
	case !ok || l.Type != "bridge":
		return []string{fmt.Sprintf("the host's bridge %s is gone: change a key of the network, or restart the daemon, to have it made again", n.Name)}, nil
	case !l.Up:
		problems = append(problems, fmt.Sprintf("the host's bridge %s is down: run: ip link set %s up", n.Name, n.Name))
	}
	blocked, err := d.o.Firewall.Obstacles(ctx, d.guard(n))
	return append(problems, blocked...), err
}

// Guard implements network.Guarder.
func (d *Driver) Guard(ctx context.Context, n network.Net) error {
	s := d.server(n.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.o.Firewall.Guard(ctx, d.guard(n))
}

// Logged implements network.Logger.
func (d *Driver) Logged(ctx context.Context, to func(label string, packet []byte)) error {
	return d.o.Firewall.Logged(ctx, to)
}

// Name implements network.Driver.
func (d *Driver) Name() string { return "bridge" }

// Keys implements network.Driver.
func (d *Driver) Keys() *schema.Schema { return d.keys }

// Up implements network.Driver.
func (d *Driver) Up(ctx context.Context, n network.Net) error {
	s := d.server(n.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := d.link(n)
	if err != nil {
		return err
	}
	for _, do := range []func() error{
		func() error { return d.settings(n) },
		func() error { return d.o.Firewall.Guard(ctx, d.guard(n)) },
		func() error { return netlink.SetUp(l.Index) },
		func() error { return d.addresses(n, l) },
		func() error { return d.routes(n, l) },
		func() error { return d.external(n, l) },
		func() error { return s.up(ctx, n) },
	} {
		if err := do(); err != nil {
			return fmt.Errorf("bring up network %s: %w", n.Name, err)
		}
	}
	return nil
}

// Down implements network.Driver.
func (d *Driver) Down(ctx context.Context, n network.Net) error {
	s := d.server(n.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.Join(s.down(ctx, n), d.o.Firewall.Unguard(ctx, n.Name))
	if e := os.Remove(externalFile(n)); n.Dir != "" && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e) // the kernel lets go of the interfaces
	}
	l, ok, e := netlink.Find(n.Name)
	if e == nil && ok && l.Type == "bridge" { // never remove what merely has the name
		e = netlink.Delete(n.Name)
	}
	if err = errors.Join(err, e); err != nil {
		return fmt.Errorf("take down network %s: %w", n.Name, err)
	}
	return nil
}

// Status implements network.Driver.
func (d *Driver) Status(_ context.Context, n network.Net) (network.State, error) {
	l, ok, err := netlink.Find(n.Name)
	if err != nil || !ok {
		return network.State{}, err
	}
	st := network.State{
		Up: l.Up, Hwaddr: l.Hwaddr, MTU: l.MTU,
		BytesIn: l.Stats.BytesIn, BytesOut: l.Stats.BytesOut, PktsIn: l.Stats.PktsIn, PktsOut: l.Stats.PktsOut,
	}
	addrs, err := netlink.Addrs(l.Index)
	if err != nil {
		return st, err
	}
	for _, a := range addrs {
		st.Addresses = append(st.Addresses, a.Prefix)
	}
	links, err := netlink.List()
	for _, m := range links {
		if m.Master == l.Index {
			st.Members = append(st.Members, m.Name)
		}
	}
	return st, err
}

// link finds or makes the bridge, with its MAC address and MTU.
func (d *Driver) link(n network.Net) (netlink.Link, error) {
	hwaddr := n.Config["bridge.hwaddr"]
	if hwaddr == "" {
		hwaddr = n.Config["volatile.bridge.hwaddr"]
	}
	mtu, err := strconv.Atoi(d.keys.Get(n.Config, "bridge.mtu"))
	if err != nil {
		return netlink.Link{}, err
	}
	l, ok, err := netlink.Find(n.Name)
	if err != nil {
		return l, err
	}
	if !ok {
		if err := netlink.AddBridge(n.Name, hwaddr, mtu); err != nil {
			return l, err
		}
		if l, _, err = netlink.Find(n.Name); err != nil {
			return l, err
		}
	}
	if l.Type != "bridge" {
		return l, errs.Newf(errs.Conflict, "network %s cannot come up: the host has a %s interface of that name: rename one of them", n.Name, l.Type)
	}
	if hwaddr != "" && hwaddr != l.Hwaddr {
		if err := netlink.SetHwaddr(l.Index, hwaddr); err != nil {
			return l, err
		}
	}
	// Always set: a bridge whose MTU was never set follows its ports.
	return l, netlink.SetMTU(l.Index, mtu)
}

// settings are those of the kernel, of the bridge and of routing.
func (d *Driver) settings(n network.Net) error {
	has4, has6 := subnetOf(n.Config, "ipv4").IsValid(), subnetOf(n.Config, "ipv6").IsValid()
	var list []setting
	if automatic6() == "auto" {
		list = append(list, setting{netlink.Sysctl{"ipv6", "conf", n.Name, "disable_ipv6"}, zeroIf(has6)})
	}
	if has6 {
		for _, key := range []string{"accept_ra", "accept_dad", "autoconf"} {
			list = append(list, setting{netlink.Sysctl{"ipv6", "conf", n.Name, key}, "0"})
		}
	}
	if has4 { // machines learn at once when the bridge's hardware address changes
		list = append(list, setting{netlink.Sysctl{"ipv4", "conf", n.Name, "arp_notify"}, "1"})
	}
	if has4 && d.keys.Bool(n.Config, "ipv4.routing") {
		list = append(list, setting{netlink.Sysctl{"ipv4", "ip_forward"}, "1"})
	}
	for _, s := range list {
		if err := s.name.Set(s.value); err != nil {
			return err
		}
	}
	if has6 && d.keys.Bool(n.Config, "ipv6.routing") {
		return forward6()
	}
	return nil
}

type setting struct {
	name  netlink.Sysctl
	value string
}

// forward6 turns routing of IPv6 on, and keeps interfaces that learn their addresses from a router doing so: routing alone would
// make the kernel stop listening.
func forward6() error {
	all := netlink.Sysctl{"ipv6", "conf", "all", "forwarding"}
	if v, err := all.Get(); err != nil || v == "1" {
		return err
	}
	ifaces, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return err
	}
	for _, i := range ifaces {
		ra := netlink.Sysctl{"ipv6", "conf", i.Name(), "accept_ra"}
		if v, err := ra.Get(); err != nil || v != "1" || i.Name() == "all" {
			continue // an interface that went away meanwhile needs nothing
		}
		if err := ra.Set("2"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return all.Set("1")
}

// addresses makes the bridge's addresses the wanted ones; those that the kernel gives by itself stay.
func (d *Driver) addresses(n network.Net, l netlink.Link) error {
	var want []netip.Prefix
	for _, f := range []string{"ipv4", "ipv6"} {
		if p := subnetOf(n.Config, f); p.IsValid() {
			want = append(want, p)
		}
	}
	have, err := netlink.Addrs(l.Index)
	if err != nil {
		return err
	}
	for _, a := range have {
		if a.Scope == "global" && !slices.Contains(want, a.Prefix) {
			if err := netlink.DeleteAddr(l.Index, a.Prefix); err != nil {
				return err
			}
		}
	}
	for _, p := range want {
		if err := netlink.AddAddr(l.Index, p); err != nil {
			return err
		}
	}
	return nil
}

// routes makes the routes by the bridge the wanted ones.
func (d *Driver) routes(n network.Net, l netlink.Link) error {
	var want []netip.Prefix
	for _, f := range []string{"ipv4", "ipv6"} {
		for r := range split(n.Config[f+".routes"]) {
			p, err := netip.ParsePrefix(r)
			if err != nil {
				return err
			}
			want = append(want, p.Masked())
		}
	}
	have, err := netlink.Routes()
	if err != nil {
		return err
	}
	keep := slices.Clone(want)
	for _, p := range n.Ports { // theirs come and go with them
		keep = append(keep, p.Routes...)
	}
	for _, r := range have {
		if r.Index == l.Index && r.Static && !slices.Contains(keep, r.Dst) {
			if err := netlink.DeleteRoute(l.Index, r.Dst); err != nil {
				return err
			}
		}
	}
	for _, p := range want {
		if err := netlink.AddRoute(l.Index, p); err != nil {
			return err
		}
	}
	return nil
}

// guard is what the firewall must do for n.
func (d *Driver) guard(n network.Net) network.Guard {
	family := func(f string) network.Family {
		nat, _ := netip.ParseAddr(n.Config[f+".nat.address"])
		return network.Family{
			Subnet:  subnetOf(n.Config, f),
			Open:    d.keys.Bool(n.Config, f+".firewall"),
			Routing: d.keys.Bool(n.Config, f+".routing"),
			NAT:     d.keys.Bool(n.Config, f+".nat"), NATAddress: nat, NATAfter: n.Config[f+".nat.order"] == "after",
		}
	}
	g := network.Guard{Network: n.Name, IPv4: family("ipv4"), IPv6: family("ipv6"), DNS: true, Forwards: n.Forwards, Policy: n.Policy}
	g.DHCPv4 = g.IPv4.Subnet.IsValid() && d.keys.Bool(n.Config, "ipv4.dhcp")
	g.DHCPv6 = g.IPv6.Subnet.IsValid() && d.keys.Bool(n.Config, "ipv6.dhcp")
	return g
}

// server is the dnsmasq of a network, whether it runs or not.
func (d *Driver) server(name string) *server {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.servers[name]
	if s == nil {
		s = &server{driver: d}
		d.servers[name] = s
	}
	return s
}

// program finds dnsmasq.
func (d *Driver) program() (string, error) {
	if d.o.Dnsmasq != "" {
		return d.o.Dnsmasq, nil
	}
	if found, ok := run.Look("dnsmasq"); ok {
		return found, nil
	}
	return "", errs.Newf(errs.Unavailable, "dnsmasq is not installed, and a bridge with addresses needs it: install the package dnsmasq-base")
}

func zeroIf(b bool) string {
	if b {
		return "0"
	}
	return "1"
}
