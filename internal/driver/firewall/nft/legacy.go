package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"lxd/internal/network"
)

// Numbers of the older packet filter of the kernel (linux/netfilter_ipv4/ip_tables.h and its sibling), which is read by socket options.
const (
	getInfo       = 64
	getEntries    = 65
	forwarding4   = 2 // the hook
	hooks4        = 5
	nameSize      = 32
	verdictDrop   = -1
	verdictAccept = -2
	verdictReturn = -5
)

// layout is where things are in an entry of one family.
type layout struct {
	level, family, proto int
	names                string  // of the tables in use
	inName, outName      int     // interfaces; their masks follow both
	target, next         int     // offsets of the target and of the next entry
	plain                []span8 // what is zero in a rule that matches by interfaces alone
	size                 int
}

// span8 is a range of bytes.
type span8 struct{ from, to int }

var layouts = []layout{
	{unix.SOL_IP, unix.AF_INET, unix.IPPROTO_RAW, "/proc/net/ip_tables_names", 16, 32, 88, 90, []span8{{8, 16}, {80, 84}}, 112},
	{unix.SOL_IPV6, unix.AF_INET6, unix.IPPROTO_RAW, "/proc/net/ip6_tables_names", 64, 80, 140, 142, []span8{{32, 64}, {128, 135}}, 168},
}

// legacyObstacles is Obstacles for the kernel's older packet filter, as far as it is in use.
func legacyObstacles(g network.Guard) (out []string, err error) {
	for i, l := range layouts {
		f := []network.Family{g.IPv4, g.IPv6}[i]
		names, err := os.ReadFile(l.names)
		if !f.Subnet.IsValid() || !f.Routing || err != nil || !slices.Contains(strings.Fields(string(names)), "filter") {
			continue // looking would make the kernel load it
		}
		t, err := l.read()
		if err != nil {
			return nil, fmt.Errorf("read the host's iptables: %w", err)
		}
		if t.policy() != verdictDrop {
			continue
		}
		if in, out2 := t.accepts(g.Network); !in || !out2 {
			target := "FORWARD"
			if bytes.Contains(t.entries, append([]byte(dockerUser), 0)) {
				target = dockerUser
			}
			where := "chain FORWARD (policy DROP) of iptables-legacy"
			out = append(out, complain(g.Network, where, iptables(i == 1, "-legacy", target, g.Network)))
		}
	}
	return out, nil
}

// table is the filter table as the kernel keeps it.
type table struct {
	layout
	entries []byte
	start   uint32 // of the hook's rules
	last    uint32 // its policy
}

func (l layout) read() (t table, err error) {
	fd, err := unix.Socket(l.family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, l.proto)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	info := make([]byte, nameSize+4+4*hooks4*2+8) // name, hooks, entries, underflows, number, size
	copy(info, "filter")
	if err := getsockopt(fd, l.level, getInfo, info); err != nil {
		return t, err
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(info[nameSize+4*i:]) }
	t = table{layout: l, start: word(1 + forwarding4), last: word(1 + hooks4 + forwarding4)}
	size := word(1 + 2*hooks4 + 1)
	body := make([]byte, nameSize+8+int(size)) // name, size, padding to the alignment of what follows
	copy(body, "filter")
	binary.NativeEndian.PutUint32(body[nameSize:], size)
	if err := getsockopt(fd, l.level, getEntries, body); err != nil {
		return t, err
	}
	t.entries = body[nameSize+8:]
	return t, nil
}

func getsockopt(fd, level, name int, buf []byte) error {
	n := uint32(len(buf))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return e
	}
	return nil
}

// verdict is that of the entry at an offset: below zero it ends, above it is the offset of the next rule; ok is false for targets
// that are modules.
func (t table) verdict(at uint32) (v int32, ok bool) {
	target := at + uint32(t.short(at, t.target))
	if int(target)+36 > len(t.entries) || t.entries[target+2] != 0 { // the name of a module
		return 0, false
	}
	return int32(binary.NativeEndian.Uint32(t.entries[target+32:])), true
}

func (t table) short(at uint32, offset int) uint16 {
	i := int(at) + offset
	if i+2 > len(t.entries) {
		return 0
	}
	return binary.NativeEndian.Uint16(t.entries[i:])
}

func (t table) policy() int32 {
	v, ok := t.verdict(t.last)
	if !ok {
		return verdictAccept
	}
	return v
}

// accepts tells whether rules let packets from and to a bridge pass that match by interface alone, or by the state of connections.
func (t table) accepts(bridge string) (in, out bool) {
	return t.follow(t.start, ifnameBytes(bridge), map[uint32]bool{})
}

// follow is accepts for the chain that begins at an offset, and those that it leads to.
func (t table) follow(at uint32, name []byte, seen map[uint32]bool) (in, out bool) {
	for !seen[at] && int(at)+t.size <= len(t.entries) && at != t.last {
		seen[at] = true
		v, ok := t.verdict(at)
		every := len(t.iface(at, t.inName)) == 0 && len(t.iface(at, t.outName)) == 0
		var i, o bool
		switch {
		case !ok || !t.broad(at):
		case v == verdictAccept:
			i, o = t.lets(at, name)
		case v == verdictReturn && every:
			return in, out
		case v >= 0 && every:
			i, o = t.follow(uint32(v), name, seen)
		}
		in, out = in || i, out || o
		at += uint32(t.short(at, t.next))
	}
	return in, out
}

// lets tells whether a rule that accepts does so for what comes from a bridge, and for what goes there.
func (t table) lets(at uint32, name []byte) (in, out bool) {
	onIn, onOut := t.iface(at, t.inName), t.iface(at, t.outName)
	if len(onIn) == 0 && len(onOut) == 0 {
		return t.plainly(at), true
	}
	return t.plainly(at) && only(onIn, onOut, name), only(onOut, onIn, name)
}

// only tells whether a rule's interface on one side is that one, and any on the other.
func only(pattern, other, name []byte) bool {
	return len(pattern) > 0 && bytes.HasPrefix(name, pattern) && len(other) == 0
}

// iface is the part of the name of an interface that a rule compares.
func (t table) iface(at uint32, offset int) []byte {
	name, mask := t.entries[int(at)+offset:][:unix.IFNAMSIZ], t.entries[int(at)+offset+2*unix.IFNAMSIZ:][:unix.IFNAMSIZ]
	n := bytes.IndexByte(mask, 0)
	if n < 0 {
		n = len(mask)
	}
	return name[:n]
}

// broad tells whether a rule looks at nothing but interfaces and the state of connections.
func (t table) broad(at uint32) bool {
	entry := t.entries[at:]
	for _, s := range t.plain {
		if slices.ContainsFunc(entry[s.from:s.to], func(b byte) bool { return b != 0 }) {
			return false
		}
	}
	matches := entry[t.size:t.short(at, t.target)]
	return t.plainly(at) || bytes.HasPrefix(matches[2:], []byte("conntrack\x00")) || bytes.HasPrefix(matches[2:], []byte("comment\x00"))
}

// plainly tells whether a rule has no modules that look at packets.
func (t table) plainly(at uint32) bool { return int(t.short(at, t.target)) == t.size }
