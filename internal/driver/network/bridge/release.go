package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/host/netlink"
	"lxd/internal/network"
)

// Numbers of DHCP (RFC 2131, RFC 2132).
const (
	dhcpServerPort  = 67
	dhcpClientPort  = 68
	dhcpMagic       = 0x63825363
	optionType      = 53
	optionServer    = 54
	optionClient    = 61
	optionEnd       = 255
	messageRelease  = 7
	bootpHeader     = 236
	minimumBootp    = 300
	ipHeader        = 20
	udpHeader       = 8
	ipVersionLength = 0x45
	timeToLive      = 64
)

// lent is one line of dnsmasq's file that Release can act on.
type lent struct {
	addr   netip.Addr
	mac    [6]byte
	client []byte
}

// Release implements network.Releaser. dnsmasq gives up a lease only when its client says so, on the network; so a packet like the
// client's is put onto the bridge, by an interface that is there for that moment.
func (d *Driver) Release(_ context.Context, n network.Net, hwaddrs []string) error {
	return release(n, func(hwaddr string, _ netip.Addr) bool { return slices.Contains(hwaddrs, hwaddr) })
}

// evict ends the lease that another machine has of p's static address: dnsmasq would give p another one until that lease is over.
func evict(n network.Net, p network.Port) error {
	if !p.IPv4.IsValid() {
		return nil
	}
	return release(n, func(hwaddr string, a netip.Addr) bool { return a == p.IPv4 && hwaddr != p.Hwaddr })
}

func release(n network.Net, which func(hwaddr string, a netip.Addr) bool) error {
	server := subnetOf(n.Config, "ipv4")
	list, err := leasesOf(n, which)
	if err != nil || len(list) == 0 || !server.IsValid() {
		return err
	}
	br, ok, err := netlink.Find(n.Name)
	if err != nil || !ok {
		return err
	}
	mac, err := parseMAC(br.Hwaddr)
	if err != nil {
		return err
	}
	if err := inject(br, func(write func([]byte) error) error {
		for _, l := range list {
			if err := write(releaseFrame(l, mac, server.Addr())); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("release leases of network %s: %w", n.Name, err)
	}
	return nil
}

// inject lets send write frames that the bridge takes for those of a machine.
func inject(br netlink.Link, send func(write func([]byte) error) error) (err error) {
	name := randomName()
	tap, err := netlink.OpenTap(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tap.Close()) }()
	l, ok, err := netlink.Find(name)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("interface %s went away", name))
	}
	if err := netlink.SetMaster(l.Index, br.Index); err != nil {
		return err
	}
	if err := netlink.SetUp(l.Index); err != nil {
		return err
	}
	return send(func(frame []byte) error { _, err := tap.Write(frame); return err })
}

// leasesOf finds IPv4 leases.
func leasesOf(n network.Net, which func(hwaddr string, a netip.Addr) bool) (list []lent, err error) {
	b, err := os.ReadFile(leaseFile(n))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		mac, e1 := parseMAC(f[1])
		addr, e2 := netip.ParseAddr(f[2])
		if e1 != nil || e2 != nil || !addr.Is4() || !which(f[1], addr) {
			continue
		}
		l := lent{addr: addr, mac: mac}
		if id, err := hex.DecodeString(strings.ReplaceAll(f[4], ":", "")); err == nil && len(id) < optionEnd {
			l.client = id
		}
		list = append(list, l)
	}
	return list, err
}

// releaseFrame is what the client of l would send to the server.
func releaseFrame(l lent, bridge [6]byte, server netip.Addr) []byte {
	src, dst := l.addr.As4(), server.As4()
	boot := make([]byte, bootpHeader, minimumBootp)
	boot[0], boot[1], boot[2] = 1, 1, byte(len(l.mac)) // a request, over Ethernet
	copy(boot[12:], src[:])
	copy(boot[28:], l.mac[:])
	boot = binary.BigEndian.AppendUint32(boot, dhcpMagic)
	boot = append(boot, optionType, 1, messageRelease, optionServer, byte(len(dst)))
	boot = append(boot, dst[:]...)
	if len(l.client) > 0 {
		boot = append(append(boot, optionClient, byte(len(l.client))), l.client...)
	}
	boot = append(boot, optionEnd)
	boot = append(boot, make([]byte, max(0, minimumBootp-len(boot)))...)

	udp := make([]byte, udpHeader)
	binary.BigEndian.PutUint16(udp[0:], dhcpClientPort)
	binary.BigEndian.PutUint16(udp[2:], dhcpServerPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(boot))) // a checksum of zero is none

	ip := make([]byte, ipHeader)
	ip[0], ip[8], ip[9] = ipVersionLength, timeToLive, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipHeader+udpHeader+len(boot)))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))

	// From an address of nobody's, so that the bridge learns nothing of the machine's.
	return bytes.Join([][]byte{bridge[:], {2, 0, 0, 0, 0, 1}, {8, 0}, ip, udp, boot}, nil)
}

// checksum is that of an IPv4 header (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
