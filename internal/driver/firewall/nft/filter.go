package nft

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/network"
)

// Offsets and sizes of neighbour discovery packets (RFC 4861): where options start, by ICMPv6 type.
const (
	neighborSolicit  = 135
	neighborAdvert   = 136
	sourceLinkOption = 1
	targetLinkOption = 2
	nonceOption      = 14
)

// filterChains builds the chains of one port. What is not allowed is dropped before anything is accepted, and each protocol has
// a chain of its own that it cannot leave by matching something of another.
func filterChains(f network.Filter) ([]chain, error) {
	mac, err := net.ParseMAC(f.Hwaddr)
	if err != nil || len(mac) != 6 {
		return nil, errs.Newf(errs.Invalid, "port %s cannot be filtered: %q is not a MAC address", f.HostName, f.Hwaddr)
	}
	n := filterNames(f.HostName)
	entry := chain{name: n.port, rules: []rule{
		all(field("ether saddr != "+mac.String(), link(6), false, mac), drop()),
		all(etherType("arp", unix.ETH_P_ARP), enter(n.arp)),
	}}
	if f.FilterIPv4 {
		entry.rules = append(entry.rules, all(etherType("ip", unix.ETH_P_IP), enter(n.ip4)))
	}
	entry.rules = append(entry.rules, all(etherType("ip6", unix.ETH_P_IPV6), enter(n.ip6)))
	switch { // anything else, such as a VLAN tag, could carry a packet past the checks
	case f.FilterIPv4 && !f.FilterIPv6, !f.FilterIPv4 && f.FilterIPv6:
		if !f.FilterIPv4 {
			entry.rules = append(entry.rules, all(etherType("ip", unix.ETH_P_IP), accept()))
		}
		entry.rules = append(entry.rules, all(drop()))
	case f.FilterIPv4:
		entry.rules = append(entry.rules, all(drop()))
	}
	chains := []chain{
		entry,
		{name: n.arp, rules: within(unix.ETH_P_ARP, arpRules(f, mac))},
		{name: n.ip6, rules: within(unix.ETH_P_IPV6, ip6Rules(f, mac, n))},
	}
	if f.FilterIPv4 {
		chains = append(chains, chain{name: n.ip4, rules: within(unix.ETH_P_IP, ip4Rules(f))})
	}
	if f.FilterIPv6 {
		chains = append(chains, chain{name: n.target, rules: within(unix.ETH_P_IPV6, targetRules(f, mac))})
	}
	return chains, nil
}

// within makes each rule that looks into a packet check the packet's protocol itself too, so that the nft tool can tell what the
// rule looks at.
func within(protocol uint16, rules []rule) []rule {
	for i, r := range rules {
		if len(r) > 1 {
			rules[i] = append(rule{etherType("", protocol)}, r...)
		}
	}
	return rules
}

// names are the chains of one port.
type names struct{ port, arp, ip4, ip6, target string }

func filterNames(hostName string) names {
	return names{"port." + hostName, "arp." + hostName, "ip4." + hostName, "ip6." + hostName, "target." + hostName}
}

func (n names) all() []string { return []string{n.port, n.arp, n.ip4, n.ip6, n.target} }

// arpRules keep a port from claiming the hardware or IP address of another.
func arpRules(f network.Filter, mac net.HardwareAddr) []rule {
	rules := []rule{all(field("arp saddr ether != "+mac.String(), packet(8), false, mac), drop())}
	if !f.FilterIPv4 {
		return rules
	}
	for _, p := range append([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}, f.AllowedIPv4...) { // 0.0.0.0 probes for duplicates
		rules = append(rules, all(prefix("arp saddr ip", packet(14), true, p), accept()))
	}
	return append(rules, all(drop()))
}

// ip4Rules let a port ask for an address, and use its own.
func ip4Rules(f network.Filter) []rule {
	none, every := netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("255.255.255.255/32")
	rules := []rule{
		all(term{text: "ether type ip"}, port(unix.IPPROTO_UDP, "sport", 67), drop()),
		all(saddr(none, true), daddr(every, true), port(unix.IPPROTO_UDP, "dport", 67), accept()),
	}
	for _, p := range f.AllowedIPv4 {
		rules = append(rules, all(saddr(p, true), accept()))
	}
	return append(rules, all(drop()))
}

// ip6Rules check neighbour discovery first: it is what maps addresses to ports.
func ip6Rules(f network.Filter, mac net.HardwareAddr, n names) []rule {
	rules := discoveryRules(mac)
	if !f.FilterIPv6 {
		return rules
	}
	own := append([]netip.Prefix{linkLocal(mac)}, f.AllowedIPv6...)
	rules = append(rules,
		all(icmpv6(134, "nd-router-advert"), drop()),
		all(icmpv6(neighborAdvert, "nd-neighbor-advert"), jump(n.target)),
		all(term{text: "ether type ip6"}, port(unix.IPPROTO_UDP, "sport", 547), drop()),
	)
	unspecified := netip.MustParsePrefix("::/128")
	for _, t := range []struct {
		typ  byte
		name string
	}{{133, "nd-router-solicit"}, {neighborSolicit, "nd-neighbor-solicit"}, {143, "mld2-listener-report"}} {
		rules = append(rules, all(saddr(unspecified, true), icmpv6(t.typ, t.name), accept()))
	}
	for _, p := range own {
		rules = append(rules, all(saddr(p, true), accept()))
	}
	return append(rules, all(drop()))
}

// discoveryRules drop redirects, and solicitations and neighbour advertisements that name another hardware address or are of a
// shape that could hide one: behind an extension header, or after options of other kinds.
func discoveryRules(mac net.HardwareAddr) (rules []rule) {
	add := func(parts ...any) { rules = append(rules, all(append(parts, drop())...)) }
	add(icmpv6(137, "nd-redirect"))
	for _, t := range []struct {
		typ    byte
		name   string
		option byte
		bytes  uint16 // the header, and the options that there may be
	}{
		{133, "nd-router-solicit", sourceLinkOption, 16},
		{neighborSolicit, "nd-neighbor-solicit", sourceLinkOption, 40},
		{neighborAdvert, "nd-neighbor-advert", targetLinkOption, 32},
	} {
		typ := icmpv6(t.typ, t.name)
		add(typ, field("ip6 nexthdr != ipv6-icmp", packet(6), false, []byte{unix.IPPROTO_ICMPV6}))
		add(typ, longer(t.bytes))
		first := uint16(24)
		if t.typ == 133 {
			first = 8
		}
		for at := first; at < t.bytes; at += 8 {
			add(typ, longer(at), optionIsNot(at, t.option), optionIsNot(at, nonceOption))
			add(typ, longer(at), optionIs(at, t.option), linkIsNot(at, mac))
		}
	}
	return rules
}

// targetRules let an advertisement speak of the port's own addresses only.
func targetRules(f network.Filter, mac net.HardwareAddr) (rules []rule) {
	for _, p := range append([]netip.Prefix{linkLocal(mac)}, f.AllowedIPv6...) {
		t := prefix("", transport(8), true, p)
		t.text = fmt.Sprintf("@th,64,%d 0x%x", p.Bits(), p.Masked().Addr().AsSlice()[:p.Bits()/8])
		rules = append(rules, all(l4proto(unix.IPPROTO_ICMPV6, "meta l4proto ipv6-icmp"), t, back()))
	}
	return append(rules, all(drop()))
}

func etherType(name string, n uint16) term {
	text := "ether type " + name
	if name == "" {
		text = ""
	}
	return field(text, link(12), true, binary.BigEndian.AppendUint16(nil, n))
}

// longer matches an IPv6 packet of more than n bytes after its header.
func longer(n uint16) term {
	t := field(fmt.Sprintf("ip6 length > %d", n), packet(4), true, binary.BigEndian.AppendUint16(nil, n))
	t.exprs[1].(*expr.Cmp).Op = expr.CmpOpGt
	return t
}

// optionIs and optionIsNot compare type and length (one unit of 8 bytes) of the option at that offset.
func optionIs(at uint16, typ byte) term    { return option(at, typ, true, "") }
func optionIsNot(at uint16, typ byte) term { return option(at, typ, false, "!= ") }

func option(at uint16, typ byte, eq bool, not string) term {
	text := fmt.Sprintf("@th,%d,16 %s0x%x", int(at)*8, not, uint16(typ)<<8|1)
	return field(text, transport(uint32(at)), eq, []byte{typ, 1})
}

func linkIsNot(at uint16, mac net.HardwareAddr) term {
	text := fmt.Sprintf("@th,%d,48 != 0x%s", int(at+2)*8, strings.TrimLeft(hex.EncodeToString(mac), "0"))
	return field(text, transport(uint32(at)+2), false, mac)
}

// linkLocal is the address that a port gives itself, by its hardware address.
func linkLocal(mac net.HardwareAddr) netip.Prefix {
	a := [16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
	return netip.PrefixFrom(netip.AddrFrom16(a), 128)
}
