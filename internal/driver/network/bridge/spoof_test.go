package bridge_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/host/netns"
	"lxd/internal/network"
)

// raw opens a packet socket on eth0 of a namespace.
func raw(t *testing.T, ns string) (fd int) {
	t.Helper()
	must(t, within(t, ns, func() (err error) {
		all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		index, err := ifindex("eth0")
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: index})
	}))
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func ifindex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
	}
	if err != nil {
		return 0, err
	}
	return int(r.Uint32()), nil
}

func unhex(parts ...string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(strings.Join(parts, "")))
	if err != nil {
		panic(err)
	}
	return b
}

// ip6 is an IPv6 packet whose checksum, if next is ICMPv6, is right.
func ip6(src, dst string, next byte, body []byte) string {
	head := make([]byte, 40)
	head[0], head[6], head[7] = 0x60, next, 255
	binary.BigEndian.PutUint16(head[4:], uint16(len(body)))
	copy(head[8:], netip.MustParseAddr(src).AsSlice())
	copy(head[24:], netip.MustParseAddr(dst).AsSlice())
	return hex.EncodeToString(append(head, body...))
}

// icmp6 is an ICMPv6 message with its checksum.
func icmp6(src, dst string, message ...string) []byte {
	m := unhex(message...)
	pseudo := append(append(append([]byte{}, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...), 0, 0, byte(len(m)>>8), byte(len(m)), 0, 0, 0, 58)
	var sum uint32
	for all := append(pseudo, m...); len(all) > 1; all = all[2:] {
		sum += uint32(all[0])<<8 | uint32(all[1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum))
	return m
}

// addr16 is an IPv6 address as hexadecimal digits.
func addr16(a string) string { return hex.EncodeToString(netip.MustParseAddr(a).AsSlice()) }

// ip4 is a UDP packet without data.
func ip4(src, dst string, from, to uint16) string {
	p := unhex("4500001c 00000000 40110000")
	p = append(append(p, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...)
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum+sum>>16))
	p = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(p, from), to)
	return hex.EncodeToString(append(p, 0, 8, 0, 0))
}

// forged are frames of a machine with that hardware address that pretend to be somebody else, by what they would do.
func forged() map[string][]byte {
	const (
		evil, victim = "00163e000002", "00163e000001"
		every        = "ffffffffffff"
		group        = "333300000001"
		own          = "fe80::216:3eff:fe00:2"
		stolen       = "fd42:9::5"
	)
	advert := func(target, link string) []byte {
		return icmp6(own, "ff02::1", "88000000 a0000000", addr16(target), "0201", link)
	}
	return map[string][]byte{
		"claim an IPv4 address by ARP":          unhex(every, evil, "0806 0001 0800 06 04 0002", evil, "0a141e05", every, "0a141e01"),
		"ask as an IPv4 address by ARP":         unhex(every, evil, "0806 0001 0800 06 04 0001", evil, "0a141e05", "000000000000", "0a141e01"),
		"claim a hardware address by ARP":       unhex(every, evil, "0806 0001 0800 06 04 0002", victim, "0a141e06", every, "0a141e01"),
		"send from a hardware address":          unhex(every, victim, "0806 0001 0800 06 04 0001", victim, "0a141e06", "000000000000", "0a141e01"),
		"hide ARP behind a VLAN tag":            unhex(every, evil, "8100 0000 0806 0001 0800 06 04 0002", evil, "0a141e05", every, "0a141e01"),
		"claim an IPv6 address":                 unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, advert(stolen, evil))),
		"claim a hardware address by IPv6":      unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, advert(own, victim))),
		"claim an IPv6 address behind a header": unhex(group, evil, "86dd", ip6(own, "ff02::1", 0, append(unhex("3a00 0104 00000000"), advert(stolen, evil)...))),
		"claim by a second option":              unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, icmp6(own, "ff02::1", "88000000 a0000000", addr16(own), "0201", evil, "0201", victim))),
		"send from an IPv6 address":             unhex(group, evil, "86dd", ip6(stolen, "ff02::1", 58, icmp6(stolen, "ff02::1", "80000000 00010001"))),
		"solicit as a hardware address":         unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, icmp6(own, "ff02::1", "87000000 00000000", addr16(stolen), "0101", victim))),
		"be a router":                           unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, icmp6(own, "ff02::1", "86000000 40000708 00000000 00000000"))),
		"redirect":                              unhex(group, evil, "86dd", ip6(own, "ff02::1", 58, icmp6(own, "ff02::1", "89000000 00000000", addr16(own), addr16(stolen)))),
		"be a DHCP server":                      unhex(every, evil, "0800", ip4("10.20.30.6", "255.255.255.255", 67, 68)),
		"send from an IPv4 address":             unhex(every, evil, "0800", ip4("10.20.30.5", "255.255.255.255", 1024, 1025)),
		"speak another protocol than IP":        unhex(every, evil, "88cc 0207 04", evil),
	}
}

// arrives tells whether a frame that one machine sends gets to another.
func arrives(t *testing.T, from, to int, frame []byte) bool {
	t.Helper()
	must(t, unix.SetNonblock(to, true))
	buf := make([]byte, 2000)
	for { // what came before
		if _, _, err := unix.Recvfrom(to, buf, 0); err != nil {
			break
		}
	}
	_, err := unix.Write(from, frame)
	must(t, err)
	for end := time.Now().Add(150 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		n, _, err := unix.Recvfrom(to, buf, 0)
		// The kernel takes VLAN tags out of what a packet socket gets.
		if got := buf[:max(n, 0)]; err == nil && (bytes.HasPrefix(got, frame) || frame[12] == 0x81 && bytes.HasPrefix(got, append(append([]byte{}, frame[:12]...), frame[16:]...))) {
			return true
		}
	}
	return false
}

func TestForgedFramesEndAtTheirPort(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "fd42:9::1/64"}})
	join(t, d, n, network.Port{Instance: "victim", Hwaddr: "00:16:3e:00:00:01"})
	evil := network.Port{Instance: "evil", Hwaddr: "00:16:3e:00:00:02", IPv4: netip.MustParseAddr("10.20.30.6")}
	free := join(t, d, n, evil)
	to := raw(t, "victim")
	from := raw(t, "evil")
	for what, frame := range forged() {
		if !arrives(t, from, to, frame) {
			t.Errorf("a port without filters cannot %s: the test proves nothing", what)
		}
	}
	must(t, d.Disconnect(t.Context(), n, free.port, free.link.HostName))
	sh(t, "ip netns del evil")
	evil.FilterMAC, evil.FilterIPv4, evil.FilterIPv6 = true, true, true
	join(t, d, n, evil)
	from = raw(t, "evil")
	for what, frame := range forged() {
		if arrives(t, from, to, frame) {
			t.Errorf("a filtered port can %s", what)
		}
	}
	// What is honest gets through.
	for what, frame := range map[string][]byte{
		"ask by ARP": unhex("ffffffffffff", "00163e000002", "0806 0001 0800 06 04 0001", "00163e000002", "0a141e06", "000000000000", "0a141e05"),
		"advertise its own address": unhex("333300000001", "00163e000002", "86dd", ip6("fe80::216:3eff:fe00:2", "ff02::1", 58,
			icmp6("fe80::216:3eff:fe00:2", "ff02::1", "88000000 a0000000", addr16("fe80::216:3eff:fe00:2"), "0201", "00163e000002"))),
	} {
		if !arrives(t, from, to, frame) {
			t.Errorf("a filtered port cannot %s", what)
		}
	}
}

func TestForgedHardwareAddressesEndAtTheirPort(t *testing.T) {
	netns.Skip(t)
	dir := stateDir(t)
	d := driver(t, dir)
	n := start(t, d, dir, network.Net{Name: "lxdbr0", Config: map[string]string{"ipv4.address": "10.20.30.1/24", "ipv6.address": "none"}})
	join(t, d, n, network.Port{Instance: "victim", Hwaddr: "00:16:3e:00:00:01"})
	join(t, d, n, network.Port{Instance: "evil", Hwaddr: "00:16:3e:00:00:02", FilterMAC: true})
	to, from := raw(t, "victim"), raw(t, "evil")
	for what, frame := range forged() {
		hardware := strings.Contains(what, "hardware address") || what == "redirect" || strings.Contains(what, "second option") || strings.Contains(what, "behind a header")
		if got := arrives(t, from, to, frame); got == hardware {
			t.Errorf("with security.mac_filtering alone a port can %s: %v", what, got)
		}
	}
}
