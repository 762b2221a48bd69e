package bridge

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lxd/internal/network"
)

// Types of leases.
const (
	gatewayLease = "gateway"
	staticLease  = "static"
	dynamicLease = "dynamic"
)

// Leases implements network.Leaser: the bridge's own addresses, the static ones of ports, those that were handed out, and those
// that machines give themselves by their hardware address. An address is listed once.
func (d *Driver) Leases(_ context.Context, n network.Net) ([]network.Lease, error) {
	leased, err := handedOut(n)
	if err != nil {
		return nil, fmt.Errorf("leases of network %s: %w", n.Name, err)
	}
	all := append(gateways(n), fixed(n)...)
	all = append(append(all, leased...), d.chosen(n)...)
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(l network.Lease) bool {
		again := seen[l.Address]
		seen[l.Address] = true
		return again
	}), nil
}

func gateways(n network.Net) (list []network.Lease) {
	hwaddr := n.Config["bridge.hwaddr"]
	if hwaddr == "" {
		hwaddr = n.Config["volatile.bridge.hwaddr"]
	}
	for _, f := range []string{"ipv4", "ipv6"} {
		if p := subnetOf(n.Config, f); p.IsValid() {
			list = append(list, network.Lease{Hostname: n.Name + ".gw", Hwaddr: hwaddr, Address: p.Addr().String(), Type: gatewayLease})
		}
	}
	return list
}

func fixed(n network.Net) (list []network.Lease) {
	for _, p := range n.Ports {
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() {
				list = append(list, leaseOf(p, a, staticLease))
			}
		}
	}
	return list
}

func (d *Driver) chosen(n network.Net) (list []network.Lease) {
	subnet := subnetOf(n.Config, "ipv6")
	if !subnet.IsValid() || d.keys.Bool(n.Config, "ipv6.dhcp.stateful") {
		return nil
	}
	for _, p := range n.Ports {
		if a, ok := eui64(subnet, p.Hwaddr); ok && !p.IPv6.IsValid() {
			list = append(list, leaseOf(p, a, dynamicLease))
		}
	}
	return list
}

func leaseOf(p network.Port, a netip.Addr, kind string) network.Lease {
	return network.Lease{Project: p.Project, Hostname: p.Instance, Hwaddr: p.Hwaddr, Address: a.String(), Type: kind}
}

// handedOut reads dnsmasq's leases; before the first one there is no file.
func handedOut(n network.Net) ([]network.Lease, error) {
	f, err := os.Open(leaseFile(n))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := parseLeases(f)
	for i, l := range list {
		list[i] = owned(l, n.Ports)
	}
	return list, err
}

// owned gives a lease the name and project of the port that it was made to.
func owned(l network.Lease, ports []network.Port) network.Lease {
	for _, p := range ports {
		if p.Hwaddr == l.Hwaddr && l.Hwaddr != "" {
			l.Project, l.Hostname = p.Project, p.Instance
		}
	}
	return l
}

// parseLeases reads dnsmasq's file: expiry, MAC address (or an association's number, for IPv6), address, name, client's id.
func parseLeases(r io.Reader) (list []network.Lease, err error) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 4 {
			continue // the server's own DUID, or a line that is being written
		}
		seconds, err := strconv.ParseInt(f[0], 10, 64)
		addr, bad := netip.ParseAddr(f[2])
		if err != nil || bad != nil {
			continue
		}
		l := network.Lease{Hwaddr: f[1], Address: addr.String(), Hostname: f[3], Type: dynamicLease}
		if addr.Is6() {
			l.Hwaddr = ""
			if len(f) > 4 {
				l.Hwaddr = duidHwaddr(f[4])
			}
		}
		if l.Hostname == "*" {
			l.Hostname = ""
		}
		if seconds > 0 {
			l.Expires = time.Unix(seconds, 0)
		}
		list = append(list, l)
	}
	return list, sc.Err()
}

// duidHwaddr is the MAC address in a DHCPv6 client's id, where the id is made of one (RFC 8415, 11.2 and 11.4).
func duidHwaddr(duid string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(duid, ":", ""))
	if err != nil || len(b) < 4 || b[2] != 0 || b[3] != 1 || b[0] != 0 {
		return ""
	}
	switch {
	case b[1] == 1 && len(b) == 14:
		b = b[8:]
	case b[1] == 3 && len(b) == 10:
		b = b[4:]
	default:
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}
