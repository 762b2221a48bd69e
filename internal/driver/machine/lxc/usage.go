package lxc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// Usage reads the counters.
func (c *container) Usage(context.Context) (machine.Usage, error) {
	if c.over() {
		return machine.Usage{}, errs.Newf(errs.Unavailable, "machine %s does not run", c.handle.ID)
	}
	u := c.counters()
	u.PID = c.handle.PID
	var err error
	if u.Networks, err = c.interfaces(); err != nil && c.over() {
		return machine.Usage{}, errs.Newf(errs.Unavailable, "machine %s has ended", c.handle.ID)
	}
	return u, err
}

func (c *container) counters() machine.Usage {
	g, tree := c.group, c.driver.tree
	u := machine.Usage{Processes: g.Number("pids", "pids.current"), CPUNanos: -1, MemoryBytes: -1, MemoryPeak: -1, SwapBytes: -1, SwapPeak: -1}
	if tree.Version("cpuacct") == 1 {
		u.CPUNanos = g.Number("cpuacct", "cpuacct.usage")
	} else if n := g.Field("cpu", "cpu.stat", "usage_usec"); n >= 0 {
		u.CPUNanos = n * 1000
	}
	switch tree.Version("memory") {
	case 1:
		u.MemoryBytes, u.MemoryPeak = g.Number("memory", "memory.usage_in_bytes"), g.Number("memory", "memory.max_usage_in_bytes")
		u.SwapBytes = less(g.Number("memory", "memory.memsw.usage_in_bytes"), u.MemoryBytes)
		u.SwapPeak = less(g.Number("memory", "memory.memsw.max_usage_in_bytes"), u.MemoryPeak)
	case 2:
		u.MemoryBytes, u.MemoryPeak = g.Number("memory", "memory.current"), g.Number("memory", "memory.peak")
		u.SwapBytes, u.SwapPeak = g.Number("memory", "memory.swap.current"), g.Number("memory", "memory.swap.peak")
	}
	return u
}

// less is a-b, -1 when a is unknown. The two are not read at the same instant.
func less(a, b int64) int64 {
	if a < 0 {
		return -1
	}
	return max(a-b, 0)
}

// interfaces reads the interfaces inside, through sockets that are opened in the container's network namespace.
func (c *container) interfaces() ([]machine.Interface, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.handle.PID))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if c.over() { // the number may be another's by now
		return nil, errs.Newf(errs.Unavailable, "machine %s has ended", c.handle.ID)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("look into the network of machine %s: %w", c.handle.ID, err)
	}
	defer inside.Close()
	links, err := inside.LinkList()
	if err != nil {
		return nil, err
	}
	addrs, err := inside.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	list := make([]machine.Interface, 0, len(links))
	for _, l := range links {
		i, err := describe(l, addrs)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

func describe(l netlink.Link, addrs []netlink.Addr) (machine.Interface, error) {
	a := l.Attrs()
	i := machine.Interface{Name: a.Name, Hwaddr: a.HardwareAddr.String(), MTU: a.MTU, Type: "broadcast", State: "down"}
	if a.Flags&net.FlagLoopback != 0 {
		i.Type = "loopback"
	} else if a.Flags&net.FlagPointToPoint != 0 {
		i.Type = "point-to-point"
	}
	if a.Flags&net.FlagUp != 0 {
		i.State = "up"
	}
	if s := a.Statistics; s != nil {
		i.BytesIn, i.BytesOut, i.PktsIn, i.PktsOut = int64(s.RxBytes), int64(s.TxBytes), int64(s.RxPackets), int64(s.TxPackets)
		i.ErrorsIn, i.ErrorsOut, i.DropIn, i.DropOut = int64(s.RxErrors), int64(s.TxErrors), int64(s.RxDropped), int64(s.TxDropped)
	}
	for _, addr := range addrs {
		if addr.LinkIndex == a.Index {
			i.Addresses = append(i.Addresses, address(addr))
		}
	}
	if l.Type() != "veth" {
		return i, nil
	}
	host, err := netlink.LinkByIndex(a.ParentIndex)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return i, nil // the other end is elsewhere
	}
	if err != nil {
		return i, err
	}
	if host.Type() == "veth" {
		i.HostName = host.Attrs().Name
	}
	return i, nil
}

func address(a netlink.Addr) machine.Address {
	size, _ := a.Mask.Size()
	out := machine.Address{Family: "inet6", Address: a.IP.String(), Netmask: size, Scope: "global"}
	if a.IP.To4() != nil {
		out.Family = "inet"
	}
	switch netlink.Scope(a.Scope) {
	case netlink.SCOPE_LINK:
		out.Scope = "link"
	case netlink.SCOPE_HOST:
		out.Scope = "local"
	}
	return out
}
