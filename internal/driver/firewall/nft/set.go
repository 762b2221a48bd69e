package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
)

// mapped is the register that a look-up in a map writes to.
const mapped = 2

// set is an anonymous set, or map, that comes and goes with the rule that looks something up in it.
type set struct {
	key, data nftables.SetDatatype
	elements  []nftables.SetElement
	interval  bool
}

// add puts the set into a transaction and lets the rule's look-up find it.
func (s *set) add(c *nftables.Conn, t *nftables.Table, exprs []expr.Any) error {
	n := &nftables.Set{
		Table: t, Anonymous: true, Constant: true, Interval: s.interval, KeyType: s.key, IsMap: s.data.Bytes > 0, DataType: s.data,
	}
	if err := c.AddSet(n, s.elements); err != nil {
		return err
	}
	for _, e := range exprs {
		if l, ok := e.(*expr.Lookup); ok {
			l.SetName, l.SetID = n.Name, n.ID
		}
	}
	return nil
}

// span is a range of keys, both ends among them.
type span struct{ first, last []byte }

// spans makes an interval set of ranges in order that do not touch.
func spans(key nftables.SetDatatype, list []span) *set {
	s := &set{key: key, interval: true}
	if zero := make([]byte, len(list[0].first)); !bytes.Equal(list[0].first, zero) {
		s.elements = append(s.elements, nftables.SetElement{Key: zero, IntervalEnd: true})
	}
	for _, r := range list {
		s.elements = append(s.elements, nftables.SetElement{Key: r.first})
		if end, ok := after(r.last); ok {
			s.elements = append(s.elements, nftables.SetElement{Key: end, IntervalEnd: true})
		}
	}
	return s
}

// after is the key that follows; the last one of all has none.
func after(key []byte) ([]byte, bool) {
	next := slices.Clone(key)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next, true
		}
	}
	return nil, false
}

// join sorts ranges and makes one of those that touch.
func join(list []span) (out []span) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b span) int { return bytes.Compare(a.first, b.first) })
	for _, r := range list {
		if n := len(out); n > 0 {
			end, more := after(out[n-1].last)
			if !more || bytes.Compare(r.first, end) <= 0 {
				if bytes.Compare(r.last, out[n-1].last) > 0 {
					out[n-1].last = r.last
				}
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

func lookup() *expr.Lookup { return &expr.Lookup{SourceRegister: reg} }

// addressIn matches packets whose address is one of the list, all of one family; word is "saddr" or "daddr".
func addressIn(list []acl.Addresses, word string) term {
	all := make([]span, 0, len(list))
	for _, a := range list {
		all = append(all, span{a.First.AsSlice(), a.Last.AsSlice()})
	}
	all = join(all)
	is6 := list[0].First.Is6()
	texts := make([]string, 0, len(all))
	for _, r := range all {
		p, text := prefixOf(r)
		if p.IsValid() && len(all) == 1 {
			return address(p, true, word)
		}
		texts = append(texts, text)
	}
	at, size, key, family := packet(12), uint32(4), nftables.TypeIPAddr, "ip"
	if is6 {
		at, size, key, family = packet(8), 16, nftables.TypeIP6Addr, "ip6"
	}
	if word == "daddr" {
		at.offset += size
	}
	return term{
		fmt.Sprintf("%s %s { %s }", family, word, strings.Join(texts, ", ")),
		[]expr.Any{&expr.Payload{DestRegister: reg, Base: at.base, Offset: at.offset, Len: size}, lookup()},
		spans(key, all),
	}
}

// prefixOf is the prefix that a range of addresses is, if it is one, and how the nft tool writes the range.
func prefixOf(r span) (netip.Prefix, string) {
	first, _ := netip.AddrFromSlice(r.first)
	last, _ := netip.AddrFromSlice(r.last)
	if first == last {
		return netip.PrefixFrom(first, first.BitLen()), first.String()
	}
	for bits := first.BitLen() - 1; bits >= 0; bits-- {
		p := netip.PrefixFrom(first, bits)
		if p.Masked().Addr() != first {
			break
		}
		if end := highest(p); end == last {
			return p, p.String()
		}
	}
	return netip.Prefix{}, first.String() + "-" + last.String()
}

// highest is the last address of a prefix.
func highest(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// portIn matches packets of a protocol whose port is one of the list; word is "sport" or "dport".
func portIn(protocol string, list []forward.Range, word string) rule {
	proto := byte(unix.IPPROTO_TCP)
	if protocol == "udp" {
		proto = unix.IPPROTO_UDP
	}
	if len(list) == 1 && list[0].First == list[0].Last {
		return port(proto, word, list[0].First)
	}
	all := make([]span, 0, len(list))
	for _, r := range list {
		all = append(all, span{port16(r.First), port16(r.Last)})
	}
	all = join(all)
	texts := make([]string, 0, len(all))
	for _, r := range all {
		texts = append(texts, rangeText(r))
	}
	off := uint32(2)
	if word == "sport" {
		off = 0
	}
	return rule{l4proto(proto, ""), term{
		fmt.Sprintf("%s %s { %s }", protocol, word, strings.Join(texts, ", ")),
		[]expr.Any{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: off, Len: 2}, lookup()},
		spans(nftables.TypeInetService, all),
	}}
}

func port16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

func rangeText(r span) string {
	a, b := binary.BigEndian.Uint16(r.first), binary.BigEndian.Uint16(r.last)
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d-%d", a, b)
}
