package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"lxd/internal/network"
	"lxd/internal/network/forward"
)

const (
	dstnat = -100
	// dstnatted is the bit of a connection whose destination was changed.
	dstnatted = 0x20
)

// forwardChains send what is for the listen addresses of forwards to machines of the network: what comes in, and what the host itself
// sends. A machine that reaches another one of the network by such an address must get its answers by the host too, so it is hidden.
func forwardChains(g network.Guard) []chain {
	if len(g.Forwards) == 0 {
		return nil
	}
	var to, hidden []rule
	for _, f := range g.Forwards {
		to = append(to, destinations(f)...)
	}
	for _, f := range families(g) {
		hidden = append(hidden, all(destinationChanged(), nfproto(f.Subnet.Addr().Is6(), ""), saddr(f.Subnet, true), daddr(f.Subnet, true), masquerade()))
	}
	return []chain{
		{name: "pre." + g.Network, kind: nftables.ChainTypeNAT, hook: "prerouting", priority: dstnat, rules: to},
		{name: "loc." + g.Network, kind: nftables.ChainTypeNAT, hook: "output", priority: dstnat, rules: to},
		{name: "back." + g.Network, kind: nftables.ChainTypeNAT, hook: "postrouting", priority: srcnatBefore, rules: hidden},
	}
}

// destinations are the rules of one forward: its ports, and then the rest.
func destinations(f forward.Rule) (rules []rule) {
	is6 := f.Listen.Is6()
	here := rule{nfproto(is6, ""), daddr(netip.PrefixFrom(f.Listen, f.Listen.BitLen()), true)}
	for _, p := range f.Ports {
		switch ports := slices.Collect(forward.Each(p.To)); {
		case len(ports) == 0:
			rules = append(rules, all(here, portIn(p.Protocol, p.Listen, "dport"), dnat(p.Target, 0)))
		case len(ports) == 1:
			rules = append(rules, all(here, portIn(p.Protocol, p.Listen, "dport"), dnat(p.Target, ports[0])))
		default:
			rules = append(rules, all(here, dnatEach(p, ports)))
		}
	}
	if f.Target.IsValid() {
		rules = append(rules, all(here, dnat(f.Target, 0)))
	}
	return rules
}

// dnat makes a the destination, and port, unless that is 0, its port.
func dnat(a netip.Addr, port uint16) term {
	family, word := familyOf(a)
	n := &expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: reg}
	t := term{text: fmt.Sprintf("dnat %s to %s", word, a), exprs: []expr.Any{&expr.Immediate{Register: reg, Data: a.AsSlice()}}}
	if port != 0 {
		t.text = fmt.Sprintf("dnat %s to %s", word, netip.AddrPortFrom(a, port))
		t.exprs = append(t.exprs, &expr.Immediate{Register: mapped, Data: port16(port)})
		n.RegProtoMin, n.Specified = mapped, true
	}
	t.exprs = append(t.exprs, n)
	return t
}

// dnatEach makes the target the destination, each port with a port of its own: one look-up, however many there are.
func dnatEach(p forward.Port, to []uint16) rule {
	proto := byte(unix.IPPROTO_TCP)
	if p.Protocol == "udp" {
		proto = unix.IPPROTO_UDP
	}
	s := &set{key: nftables.TypeInetService, data: nftables.TypeInetService}
	from := slices.Collect(forward.Each(p.Listen))
	pairs := make([]string, 0, len(from))
	for i, n := range from {
		s.elements = append(s.elements, nftables.SetElement{Key: port16(n), Val: port16(to[i])})
		pairs = append(pairs, fmt.Sprintf("%d : %d", n, to[i]))
	}
	family, word := familyOf(p.Target)
	host := p.Target.String()
	if p.Target.Is6() {
		host = "[" + host + "]"
	}
	return rule{
		l4proto(proto, "meta l4proto "+p.Protocol),
		term{
			fmt.Sprintf("dnat %s to %s:%s dport map { %s }", word, host, p.Protocol, strings.Join(pairs, ", ")),
			[]expr.Any{
				&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Lookup{SourceRegister: reg, DestRegister: mapped, IsDestRegSet: true},
				&expr.Immediate{Register: reg, Data: p.Target.AsSlice()},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: reg, RegProtoMin: mapped, Specified: true},
			}, s,
		},
	}
}

func familyOf(a netip.Addr) (family uint32, word string) {
	if a.Is6() {
		return unix.NFPROTO_IPV6, "ip6"
	}
	return unix.NFPROTO_IPV4, "ip"
}

// destinationChanged matches connections that a forward sent elsewhere.
func destinationChanged() term {
	return bits("ct status dnat", &expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, dstnatted)
}

// bits matches when one of the bits of mask is set in what load loads.
func bits(text string, load expr.Any, mask uint32) term {
	word := nativeEndian(mask)
	return term{text: text, exprs: []expr.Any{
		load, &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: word, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}}
}
