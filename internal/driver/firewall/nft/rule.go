package nft

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// reg is the register that every comparison uses.
const reg = 1

// term is one part of a rule: its text, in the words of the nft tool, and what the kernel is told.
type term struct {
	text  string
	exprs []expr.Any
	// set is what the exprs look something up in, if they do.
	set *set
}

// rule is terms in order; the last one is a verdict.
type rule []term

// chain is rules, and where packets enter them; hook "" makes a chain that others jump to.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     string
	priority int32
	rules    []rule
}

// render writes chains as the nft tool lists them.
func render(family, table string, chains []chain) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", family, table)
	for i, c := range chains {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != "" {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.kind, c.hook, priorityText(c))
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", r.text())
		}
		b.WriteString("\t}\n")
	}
	return b.String() + "}\n"
}

func (r rule) text() string {
	words := make([]string, 0, len(r))
	for _, t := range r {
		if t.text != "" {
			words = append(words, t.text)
		}
	}
	return strings.Join(words, " ")
}

func (r rule) exprs() (all []expr.Any) {
	for _, t := range r {
		all = append(all, t.exprs...)
	}
	return all
}

// priorityText names a priority as the nft tool does: relative to the nearest well-known one.
func priorityText(c chain) string {
	base, name := int32(0), "filter"
	switch {
	case c.kind == nftables.ChainTypeNAT && c.hook == "prerouting":
		base, name = dstnat, "dstnat"
	case c.kind == nftables.ChainTypeNAT && c.hook == "output": // which has no name for it
		return fmt.Sprint(c.priority)
	case c.kind == nftables.ChainTypeNAT:
		base, name = 100, "srcnat"
	case c.hook == "prerouting":
		base, name = -300, "dstnat"
	}
	if d := c.priority - base; d < 0 {
		return fmt.Sprintf("%s - %d", name, -d)
	} else if d > 0 {
		return fmt.Sprintf("%s + %d", name, d)
	}
	return name
}

var hooks = map[string]*nftables.ChainHook{
	"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
	"output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting,
}

func iifname(n string) term { return ifname(expr.MetaKeyIIFNAME, "iifname", n) }
func oifname(n string) term { return ifname(expr.MetaKeyOIFNAME, "oifname", n) }

func ifname(k expr.MetaKey, word, n string) term {
	return term{text: fmt.Sprintf("%s %q", word, n), exprs: []expr.Any{&expr.Meta{Key: k, Register: reg}, equal(ifnameBytes(n))}}
}

// ifnameBytes is an interface name as the kernel compares it.
func ifnameBytes(n string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, n)
	return b
}

// nfproto limits a rule of an inet table to one family; the text leaves it out where an address follows that implies it.
func nfproto(is6 bool, text string) term {
	p := byte(unix.NFPROTO_IPV4)
	if is6 {
		p = unix.NFPROTO_IPV6
	}
	return term{text: text, exprs: []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, equal([]byte{p})}}
}

// l4proto limits a rule to one transport protocol, extension headers skipped; the text is left out where a port implies it.
func l4proto(p byte, text string) term {
	return term{text: text, exprs: []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{p})}}
}

// port matches the port of a TCP or UDP packet.
func port(proto byte, word string, n uint16) rule {
	name, off := "udp", uint32(2)
	if proto == unix.IPPROTO_TCP {
		name = "tcp"
	}
	if word == "sport" {
		off = 0
	}
	return rule{
		l4proto(proto, ""),
		field(fmt.Sprintf("%s %s %d", name, word, n), transport(off), true, binary.BigEndian.AppendUint16(nil, n)),
	}
}

// icmpv6 matches the type of an ICMPv6 packet.
func icmpv6(typ byte, name string) rule {
	return rule{l4proto(unix.IPPROTO_ICMPV6, ""), field("icmpv6 type "+name, transport(0), true, []byte{typ})}
}

// place is where in a packet to look.
type place struct {
	base   expr.PayloadBase
	offset uint32
}

func link(offset uint32) place      { return place{expr.PayloadBaseLLHeader, offset} }
func packet(offset uint32) place    { return place{expr.PayloadBaseNetworkHeader, offset} }
func transport(offset uint32) place { return place{expr.PayloadBaseTransportHeader, offset} }

// field compares bytes of a packet.
func field(text string, at place, eq bool, want []byte) term {
	cmp := equal(want)
	if !eq {
		cmp.Op = expr.CmpOpNeq
	}
	return term{text: text, exprs: []expr.Any{&expr.Payload{DestRegister: reg, Base: at.base, Offset: at.offset, Len: uint32(len(want))}, cmp}}
}

// saddr and daddr match the addresses of an IP packet.
func saddr(p netip.Prefix, eq bool) term { return address(p, eq, "saddr") }
func daddr(p netip.Prefix, eq bool) term { return address(p, eq, "daddr") }

func address(p netip.Prefix, eq bool, word string) term {
	family, off, size := "ip", uint32(12), uint32(4)
	if p.Addr().Is6() {
		family, off, size = "ip6", 8, 16
	}
	if word == "daddr" {
		off += size
	}
	return prefix(fmt.Sprintf("%s %s", family, word), packet(off), eq, p)
}

// prefix compares an address within a packet with a prefix.
func prefix(word string, at place, eq bool, p netip.Prefix) term {
	p = p.Masked()
	op, not := expr.CmpOpEq, ""
	if !eq {
		op, not = expr.CmpOpNeq, "!= "
	}
	text, size := p.String(), p.Addr().BitLen()/8
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	load := &expr.Payload{DestRegister: reg, Base: at.base, Offset: at.offset, Len: uint32(size)}
	cmp := &expr.Cmp{Op: op, Register: reg, Data: p.Addr().AsSlice()}
	t := term{text: fmt.Sprintf("%s %s%s", word, not, text), exprs: []expr.Any{load}}
	switch {
	case p.IsSingleIP():
	case p.Bits()%8 == 0: // whole bytes: load just those, as the nft tool does
		load.Len = uint32(p.Bits() / 8)
		cmp.Data = cmp.Data[:load.Len]
	default:
		t.exprs = append(t.exprs, &expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: uint32(size),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()), Xor: make([]byte, size),
		})
	}
	t.exprs = append(t.exprs, cmp)
	return t
}

func verdict(k expr.VerdictKind, text, target string) term {
	return term{text: strings.TrimSpace(text + " " + target), exprs: []expr.Any{&expr.Verdict{Kind: k, Chain: target}}}
}

func accept() term             { return verdict(expr.VerdictAccept, "accept", "") }
func drop() term               { return verdict(expr.VerdictDrop, "drop", "") }
func jump(target string) term  { return verdict(expr.VerdictJump, "jump", target) }
func enter(target string) term { return verdict(expr.VerdictGoto, "goto", target) }
func back() term               { return verdict(expr.VerdictReturn, "return", "") }

func masquerade() term { return term{text: "masquerade", exprs: []expr.Any{&expr.Masq{}}} }

func reject() term {
	return term{text: "reject", exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}}
}

// snat makes a the source address.
func snat(a netip.Addr) term {
	family, word := uint32(unix.NFPROTO_IPV4), "ip"
	if a.Is6() {
		family, word = unix.NFPROTO_IPV6, "ip6"
	}
	return term{text: fmt.Sprintf("snat %s to %s", word, a), exprs: []expr.Any{
		&expr.Immediate{Register: reg, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: reg},
	}}
}

func equal(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: b} }

// all joins terms and groups of terms into one rule.
func all(parts ...any) (r rule) {
	for _, p := range parts {
		switch p := p.(type) {
		case term:
			r = append(r, p)
		case rule:
			r = append(r, p...)
		}
	}
	return r
}
