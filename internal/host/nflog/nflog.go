// Package nflog listens to the packets that rules of the host's firewall log to a group.
package nflog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of the kernel's interface (linux/netfilter/nfnetlink_log.h).
const (
	packetMessage = unix.NFNL_SUBSYS_ULOG << 8
	configMessage = unix.NFNL_SUBSYS_ULOG<<8 | 1
	headerSize    = 4

	commandAttr = 1
	modeAttr    = 2
	bind        = 1
	copyPacket  = 2

	payloadAttr = 9
	prefixAttr  = 10

	// head is how much of a packet is wanted: addresses and ports.
	head = 128
	// buffer is how much the kernel may keep for a listener that is slow; what comes on top is lost.
	buffer = 1 << 20
)

// Listen calls to for each packet of a group of the current network namespace, with the prefix of the rule and the beginning of the
// packet, until ctx ends. It calls ready once it listens.
func Listen(ctx context.Context, group uint16, ready func(), to func(prefix string, packet []byte)) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("listen to the firewall's log: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // Receive ends
	defer func() {
		if stop() {
			_ = c.Close()
		}
	}()
	_ = c.SetReadBuffer(buffer) // a smaller one works
	for _, a := range []netlink.Attribute{
		{Type: commandAttr, Data: []byte{bind}},
		{Type: modeAttr, Data: append(binary.BigEndian.AppendUint32(nil, head), copyPacket, 0)},
	} {
		if err := configure(c, group, a); err != nil {
			return fmt.Errorf("listen to group %d of the firewall's log: %w", group, err)
		}
	}
	ready()
	for {
		messages, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // packets were lost
			continue
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("read the firewall's log: %w", err)
		}
		for _, m := range messages {
			deliver(m, to)
		}
	}
}

func configure(c *netlink.Conn, group uint16, a netlink.Attribute) error {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{a})
	if err != nil {
		return err
	}
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, group)
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: configMessage, Flags: netlink.Request | netlink.Acknowledge}, Data: append(header, attrs...),
	})
	return err
}

func deliver(m netlink.Message, to func(string, []byte)) {
	if m.Header.Type != packetMessage || len(m.Data) < headerSize {
		return
	}
	attrs, err := netlink.UnmarshalAttributes(m.Data[headerSize:])
	if err != nil {
		return
	}
	var prefix string
	var packet []byte
	for _, a := range attrs {
		switch a.Type {
		case prefixAttr:
			for len(a.Data) > 0 && a.Data[len(a.Data)-1] == 0 {
				a.Data = a.Data[:len(a.Data)-1]
			}
			prefix = string(a.Data)
		case payloadAttr:
			packet = a.Data
		}
	}
	to(prefix, packet)
}
