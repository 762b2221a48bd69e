package bridge

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/netlink"
)

// fillTries is how many random subnets are tried before giving up.
const fillTries = 200

// Fill implements network.Driver.
func (d *Driver) Fill(_ context.Context, name string, cfg map[string]string, fresh bool) (map[string]string, error) {
	if err := d.keys.Validate(cfg); err != nil {
		return nil, err
	}
	out := maps.Clone(cfg)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	if fresh {
		setDefault(out, "ipv4.address", "auto")
		setDefault(out, "ipv6.address", automatic6())
	}
	for _, f := range []string{"ipv4", "ipv6"} {
		if out[f+".address"] != "auto" {
			continue
		}
		p, err := d.unused(f, name)
		if err != nil {
			return nil, err
		}
		out[f+".address"] = p.String()
		if fresh {
			setDefault(out, f+".nat", "true")
		}
	}
	if out["bridge.hwaddr"] == "" && out["volatile.bridge.hwaddr"] == "" {
		out["volatile.bridge.hwaddr"] = randomHwaddr()
	}
	return out, d.coherent(out)
}

// coherent checks what one key says against the others.
func (d *Driver) coherent(cfg map[string]string) error {
	for _, f := range []string{"ipv4", "ipv6"} {
		p := subnetOf(cfg, f)
		for r := range split(cfg[f+".dhcp.ranges"]) {
			first, final, err := parseRange(r)
			if err != nil || !p.IsValid() || !p.Contains(first) || !p.Contains(final) {
				return errs.Newf(errs.Invalid, "invalid value %q for key %q: the range must lie within the subnet of %s.address", r, f+".dhcp.ranges", f)
			}
		}
		if a, err := netip.ParseAddr(cfg[f+".nat.address"]); err == nil && a.Is4() != (f == "ipv4") {
			return errs.Newf(errs.Invalid, "invalid value %q for key %q: the address is of the other family", a, f+".nat.address")
		}
		for r := range split(cfg[f+".routes"]) {
			if q, err := netip.ParsePrefix(r); err == nil && q.Addr().Is4() != (f == "ipv4") {
				return errs.Newf(errs.Invalid, "invalid value %q for key %q: the subnet is of the other family", r, f+".routes")
			}
		}
	}
	if subnetOf(cfg, "ipv6").Bits() > 64 && !d.keys.Bool(cfg, "ipv6.dhcp.stateful") {
		return errs.Newf(errs.Invalid, "an IPv6 subnet smaller than /64 leaves clients no room to choose an address: set ipv6.dhcp.stateful=true or a larger subnet")
	}
	return nil
}

// subnetOf is the bridge's address with its subnet, the zero Prefix when there is none.
func subnetOf(cfg map[string]string, family string) netip.Prefix {
	p, _ := netip.ParsePrefix(cfg[family+".address"])
	return p
}

// unused picks a random private subnet that no route of the host leads to; routes by the network's own bridge do not count.
func (d *Driver) unused(family, name string) (netip.Prefix, error) {
	routes, err := netlink.Routes()
	if err != nil {
		return netip.Prefix{}, err
	}
	own, _, err := netlink.Find(name)
	if err != nil {
		return netip.Prefix{}, err
	}
	for range fillTries {
		p := randomSubnet(family)
		taken := false
		for _, r := range routes {
			taken = taken || r.Dst.Overlaps(p) && (own.Index == 0 || r.Index != own.Index)
		}
		if !taken {
			return p, nil
		}
	}
	return netip.Prefix{}, errs.Newf(errs.Conflict, "found no unused %s subnet in %d tries: set %s.address to one that the host does not use", family, fillTries, family)
}

// randomSubnet is 10.x.y.1/24 or fd42:x:y:z::1/64.
func randomSubnet(family string) netip.Prefix {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	if family == "ipv4" {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b[0], b[1], 1}), 24)
	}
	a := [16]byte{0xfd, 0x42}
	copy(a[2:8], b[2:8])
	a[15] = 1
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// automatic6 is "auto" where the host has IPv6.
func automatic6() string {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return "none"
	}
	return "auto"
}

func setDefault(cfg map[string]string, key, value string) {
	if cfg[key] == "" {
		cfg[key] = value
	}
}

// randomHwaddr is a MAC address with the prefix that Xensource assigned to virtual interfaces.
func randomHwaddr() string {
	var b [3]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}

// randomName is an interface name that is most likely not taken.
func randomName() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("veth%x", b)
}

// eui64 is the address in the subnet that a machine gives itself by its hardware address.
func eui64(p netip.Prefix, hwaddr string) (a netip.Addr, ok bool) {
	mac, err := parseMAC(hwaddr)
	if err != nil || !p.IsValid() || p.Bits() > 64 {
		return a, false
	}
	b := p.Masked().Addr().As16()
	copy(b[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(b), true
}

func parseMAC(s string) (mac [6]byte, err error) {
	if n, e := fmt.Sscanf(strings.ToLower(s), "%02x:%02x:%02x:%02x:%02x:%02x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]); n != 6 || e != nil {
		return mac, errs.Newf(errs.Invalid, "%q is not a MAC address", s)
	}
	return mac, nil
}
