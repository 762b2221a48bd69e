package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"lxd/internal/schema"
)

// minMTU is the smallest packet size that IPv6 works with.
const (
	minMTU = 1280
	maxMTU = 65535
	// maxLabel is the longest part of a domain name.
	maxLabel = 63
)

// keys are the configuration keys of a bridge. Those of parts that this driver lacks are declared, so that using one says so.
func keys() *schema.Schema {
	list := append(bridgeKeys(), dnsKeys()...)
	list = append(list, ipKeys("ipv4", "IPv4", subnet4)...)
	list = append(list, ipKeys("ipv6", "IPv6", subnet6)...)
	list = append(list, schema.Key{
		Name: "ipv4.dhcp.gateway", Type: typed("IP address", address4), Condition: "IPv4 DHCP",
		Short: "Address of the gateway told to DHCP clients",
	}, schema.Key{
		Name: "ipv6.dhcp.stateful", Type: schema.Bool, Default: "false", Condition: "IPv6 DHCP",
		Short: "Hand out IPv6 addresses by DHCP rather than let clients choose theirs",
	}, schema.Key{
		Name: "user.*", Type: schema.Blob, Short: "Free to use",
	}, schema.Key{
		Name: "volatile.bridge.hwaddr", Type: schema.MAC, Volatile: true, Short: "MAC address that the bridge was given",
	})
	list = append(list, aclKeys()...)
	return schema.New("network", append(list, absentKeys()...)...)
}

func bridgeKeys() []schema.Key {
	return []schema.Key{
		{Name: "bridge.driver", Type: only("native", "openvswitch"), Default: "native", Short: "What makes the bridge"},
		{Name: "bridge.external_interfaces", Type: schema.Strings, Check: each(externalName), Local: true, Short: "Interfaces of the host, without addresses of their own, that belong to the bridge"},
		{Name: "bridge.hwaddr", Type: schema.MAC, Short: "MAC address of the bridge"},
		{Name: "bridge.mode", Type: only("standard", "fan"), Default: "standard", Short: "Mode of operation"},
		{Name: "bridge.mtu", Type: schema.Between(minMTU, maxMTU), Default: "1500", Short: "Largest packet size of the bridge"},
		{Name: "raw.dnsmasq", Type: schema.Blob, Short: "Lines added to the configuration of dnsmasq"},
	}
}

func dnsKeys() []schema.Key {
	return []schema.Key{
		{Name: "dns.domain", Type: schema.String, Check: domain, Default: "lxd", Short: "Domain of the names of machines"},
		{
			Name: "dns.mode", Type: schema.OneOf("managed", "dynamic", "none"), Default: "managed",
			Short: "Whose names get DNS records: those of the server, those that clients send, or none",
		},
		{Name: "dns.search", Type: schema.Strings, Check: each(domain), Short: "Domains to search, as told to clients"},
	}
}

// aclKeys are those of what may pass.
func aclKeys() []schema.Key {
	const has = "security.acls"
	list := []schema.Key{{Name: has, Type: schema.Strings, Short: "Network ACLs that apply to what passes between the network and others"}}
	for _, side := range []string{"egress", "ingress"} {
		list = append(list, schema.Key{
			Name: has + ".default." + side + ".action", Type: schema.OneOf("allow", "drop", "reject"), Condition: has,
			Short: "What becomes of " + side + " traffic that no rule matches; it is rejected if this is not set",
		}, schema.Key{
			Name: has + ".default." + side + ".logged", Type: schema.Bool, Condition: has, Short: "Log " + side + " traffic that no rule matches",
		})
	}
	return list
}

// ipKeys are those that both address families have.
func ipKeys(f, title string, subnet func(string) error) []schema.Key {
	has, dhcp := title+" address", title+" DHCP"
	return []schema.Key{
		{Name: f + ".address", Type: typed("CIDR", subnet), Condition: "standard mode", Short: title + ` address of the bridge with its subnet, "auto" or "none"`},
		{Name: f + ".dhcp", Type: schema.Bool, Default: "true", Condition: has, Short: "Hand out addresses by DHCP"},
		{Name: f + ".dhcp.expiry", Type: typed("duration", leaseTime), Default: "1h", Condition: dhcp, Short: "How long an address is lent"},
		{Name: f + ".dhcp.ranges", Type: schema.Strings, Check: each(ipRange), Condition: dhcp, Short: "Ranges FIRST-LAST of addresses to hand out"},
		{Name: f + ".firewall", Type: schema.Bool, Default: "true", Condition: has, Short: "Make the firewall accept what the network needs"},
		{Name: f + ".nat", Type: schema.Bool, Default: "false", Condition: has, Short: "Hide the machines behind an address of the host"},
		{Name: f + ".nat.address", Type: schema.IP, Condition: has, Short: "Source address of what leaves the network"},
		{Name: f + ".nat.order", Type: schema.OneOf("before", "after"), Default: "before", Condition: has, Short: "Place of the rules beside those of others"},
		{Name: f + ".routes", Type: schema.Strings, Check: each(cidr), Condition: has, Short: "Further subnets to route to the bridge"},
		{Name: f + ".routing", Type: schema.Bool, Default: "true", Condition: has, Short: "Route between the network and others"},
	}
}

// absentKeys belong to features that this driver does not have.
func absentKeys() (list []schema.Key) {
	for _, name := range []string{
		"bgp.ipv4.nexthop", "bgp.ipv6.nexthop", "bgp.peers.<name>.address", "bgp.peers.<name>.asn", "bgp.peers.<name>.holdtime",
		"bgp.peers.<name>.password", "dns.zone.forward", "dns.zone.reverse.ipv4", "dns.zone.reverse.ipv6",
		"fan.overlay_subnet", "fan.type", "fan.underlay_subnet", "ipv4.ovn.ranges", "ipv6.ovn.ranges", "maas.subnet.ipv4", "maas.subnet.ipv6",
		"tunnel.<name>.group", "tunnel.<name>.id",
		"tunnel.<name>.interface", "tunnel.<name>.local", "tunnel.<name>.port", "tunnel.<name>.protocol", "tunnel.<name>.remote",
		"tunnel.<name>.ttl",
	} {
		list = append(list, schema.Key{Name: name, Type: schema.String, Later: true, Short: "Not supported by this server yet"})
	}
	return list
}

// only is an enumeration of which this driver knows the first value.
func only(values ...string) schema.Type {
	t := schema.OneOf(values...)
	listed := t.OK
	t.OK = func(v string) error {
		if err := listed(v); err != nil {
			return err
		}
		if v != values[0] {
			return fmt.Errorf("this server supports %q alone yet", values[0])
		}
		return nil
	}
	return t
}

func typed(name string, ok func(string) error) schema.Type { return schema.Type{Name: name, OK: ok} }

// each checks every part of a comma-separated list.
func each(check func(string) error) func(string) error {
	return func(v string) error {
		for p := range split(v) {
			if err := check(p); err != nil {
				return fmt.Errorf("%q: %w", p, err)
			}
		}
		return nil
	}
}

func split(v string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for p := range strings.SplitSeq(v, ",") {
			if p = strings.TrimSpace(p); p != "" && !yield(p) {
				return
			}
		}
	}
}

func subnet4(v string) error { return subnet(v, netip.Addr.Is4, 30, "10.1.2.1/24") }
func subnet6(v string) error { return subnet(v, netip.Addr.Is6, 126, "fd42:1:2:3::1/64") }

func subnet(v string, family func(netip.Addr) bool, most int, example string) error {
	if v == "auto" || v == "none" {
		return nil
	}
	p, err := netip.ParsePrefix(v)
	if err != nil || !family(p.Addr()) || p.Addr().Is4In6() {
		return fmt.Errorf("must be the bridge's address with the length of its subnet, such as %s, or auto or none", example)
	}
	if p.Bits() < 8 || p.Bits() > most {
		return fmt.Errorf("the subnet's length must be from 8 to %d", most)
	}
	if p.Addr() == p.Masked().Addr() || p.Addr().Is4() && p.Addr() == last(p) {
		return fmt.Errorf("is the address of the whole subnet: give the bridge one within it, such as %s", example)
	}
	return nil
}

func address4(v string) error {
	if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
		return errors.New("must be an IPv4 address")
	}
	return nil
}

func cidr(v string) error {
	if _, err := netip.ParsePrefix(v); err != nil {
		return errors.New("must be a subnet such as 10.1.2.0/24")
	}
	return nil
}

func ipRange(v string) error {
	_, _, err := parseRange(v)
	return err
}

func parseRange(v string) (first, final netip.Addr, err error) {
	a, b, _ := strings.Cut(v, "-")
	first, e1 := netip.ParseAddr(strings.TrimSpace(a))
	final, e2 := netip.ParseAddr(strings.TrimSpace(b))
	if e1 != nil || e2 != nil || first.Is4() != final.Is4() || final.Less(first) {
		return first, final, errors.New("must be a range FIRST-LAST of addresses")
	}
	return first, final, nil
}

// leaseTime is a time as dnsmasq reads it: a number of seconds, or of minutes, hours, days, weeks; or "infinite".
func leaseTime(v string) error {
	if v == "infinite" {
		return nil
	}
	if n, err := strconv.ParseUint(strings.TrimRight(v, "smhdw"), 10, 31); err != nil || n == 0 || len(v)-len(strings.TrimRight(v, "smhdw")) > 1 {
		return errors.New("must be a time such as 90s, 30m, 1h, 2d or infinite")
	}
	return nil
}

// domain accepts names of letters, digits, hyphens and dots.
func domain(v string) error {
	for label := range strings.SplitSeq(v, ".") {
		bad := strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != ""
		if label == "" || len(label) > maxLabel || bad || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return errors.New("must be a domain name such as lxd or example.net")
		}
	}
	return nil
}

// last is the highest address of a subnet.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := range b {
		if keep := p.Bits() - i*8; keep < 8 {
			b[i] |= 0xff >> max(keep, 0)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
