package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
	"lxd/internal/network"
	"lxd/internal/undo"
)

// nameTries is how often another random interface name is tried when one is taken.
const nameTries = 5

// Connect implements network.Driver. A Net without Dir is a bridge of the host's own: it gets no names and no static addresses.
func (d *Driver) Connect(ctx context.Context, n network.Net, p network.Port) (l network.Link, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("connect %s of %s to network %s: %w", p.Device, p.Instance, n.Name, err)
		}
	}()
	var u undo.Stack
	defer u.Unwind(ctx, &err)

	br, ok, err := netlink.Find(n.Name)
	if err != nil {
		return l, err
	}
	if !ok || br.Type != "bridge" {
		return l, errs.Newf(errs.Unavailable, "the host has no bridge %s: is the network down?", n.Name)
	}
	mtu := p.MTU
	if mtu == 0 {
		mtu = br.MTU
	}
	l, err = pair(p, netlink.Veth{MTU: mtu, Master: br.Index, PeerHwaddr: p.Hwaddr, PeerNetns: p.Inside.Netns, PeerUp: p.Inside.Up, TxQueue: p.TxQueue, Owner: p.Owner()})
	if err != nil {
		return l, err
	}
	u.Add("remove "+l.HostName, func(context.Context) error { return netlink.Delete(l.HostName) })
	if f := d.filter(n, p, l.HostName); f != nil {
		if err = d.o.Firewall.Filter(ctx, *f); err != nil {
			return l, err
		}
		u.Add("remove the filter", func(ctx context.Context) error { return d.o.Firewall.Unfilter(ctx, l.HostName) })
	}
	if err = settle(l.HostName, p.Isolate); err != nil {
		return l, err
	}
	if n.Dir == "" {
		return l, nil
	}
	if err = d.server(n.Name).addHost(n, p); err != nil {
		return l, err
	}
	return l, evict(n, p)
}

// Disconnect implements network.Driver.
func (d *Driver) Disconnect(ctx context.Context, n network.Net, p network.Port, hostName string) error {
	var err error
	if hostName != "" {
		var l netlink.Link
		var there bool
		if l, there, err = netlink.Find(hostName); there && !l.Of(p.Owner()) {
			hostName = "" // the name that was asked for is that of somebody else's interface
		}
	}
	if err == nil && hostName != "" {
		err = netlink.DeleteVeth(hostName, p.Owner())
	}
	if hostName != "" && (p.FilterMAC || p.FilterIPv4 || p.FilterIPv6) {
		err = errors.Join(err, d.o.Firewall.Unfilter(ctx, hostName))
	}
	if n.Dir != "" { // its name and addresses stay: a stopped machine has them when it starts again
		d.server(n.Name).roster.leave(hostFile(n, p))
	}
	if err != nil {
		return fmt.Errorf("disconnect %s of %s from network %s: %w", p.Device, p.Instance, n.Name, err)
	}
	return nil
}

// Register implements network.Registrar.
func (d *Driver) Register(_ context.Context, n network.Net) error {
	return d.server(n.Name).register(n)
}

// pair makes the veth pair under the wanted names, or under random ones.
func pair(p network.Port, v netlink.Veth) (network.Link, error) {
	for range nameTries {
		v.Host, v.Peer = cmp.Or(p.HostName, randomName()), cmp.Or(p.Inside.Name, randomName())
		err := netlink.AddVeth(v)
		if err == nil {
			return network.Link{HostName: v.Host, MTU: v.MTU}, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return network.Link{}, err
		}
		if _, taken, _ := netlink.Find(p.HostName); taken {
			return network.Link{}, errs.Newf(errs.Conflict, "the host has an interface %s already: choose another host_name", p.HostName)
		}
	}
	if p.Inside.Name != "" {
		return network.Link{}, errs.Newf(errs.Invalid, "there is an interface %q inside already: give the device another name", p.Inside.Name)
	}
	return network.Link{}, errs.Newf(errs.Conflict, "found no free interface name in %d tries", nameTries)
}

// settle sets what a bridge port needs beyond its creation.
func settle(hostName string, isolate bool) error {
	l, ok, err := netlink.Find(hostName)
	if err != nil || !ok {
		return errors.Join(err, errs.Newf(errs.Unavailable, "interface %s went away", hostName))
	}
	if err := netlink.SetHairpin(l.Index, true); err != nil {
		return err
	}
	if isolate {
		if err := netlink.SetIsolated(l.Index, true); err != nil {
			return err
		}
	}
	if automatic6() == "none" {
		return nil
	}
	return netlink.Sysctl{"ipv6", "conf", hostName, "disable_ipv6"}.Set("1") // the host speaks by the bridge, not by its ports
}

// filter is what the firewall must hold p to, nil for nothing.
func (d *Driver) filter(n network.Net, p network.Port, hostName string) *network.Filter {
	if !p.FilterMAC && !p.FilterIPv4 && !p.FilterIPv6 {
		return nil
	}
	f := &network.Filter{HostName: hostName, Hwaddr: p.Hwaddr, FilterIPv4: p.FilterIPv4, FilterIPv6: p.FilterIPv6}
	if p.IPv4.IsValid() {
		f.AllowedIPv4 = []netip.Prefix{netip.PrefixFrom(p.IPv4, 32)}
	}
	own := p.IPv6
	if !own.IsValid() && !d.keys.Bool(n.Config, "ipv6.dhcp.stateful") {
		own, _ = eui64(subnetOf(n.Config, "ipv6"), p.Hwaddr)
	}
	if own.IsValid() {
		f.AllowedIPv6 = []netip.Prefix{netip.PrefixFrom(own, 128)}
	}
	return f
}
