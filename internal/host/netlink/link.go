// Package netlink reads and changes network interfaces, addresses, routes and sysctls of the host's current network namespace.
// It talks to the kernel directly: no tool is run, so that making an interface takes microseconds.
package netlink

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// dumpTries is how often a dump that the kernel reports as torn by a concurrent change is read again.
const dumpTries = 10

// Link is one network interface.
type Link struct {
	Index int
	Name  string
	// Type is the kernel's name of the kind, such as "bridge" or "veth"; "device" for hardware.
	Type   string
	Hwaddr string
	MTU    int
	// Alias is a free text.
	Alias string
	// Master is the index of the bridge or bond it belongs to, 0 for none.
	Master   int
	Up       bool
	Loopback bool
	Stats    Stats
}

// Stats are the traffic counters of a Link.
type Stats struct {
	BytesIn, BytesOut, PktsIn, PktsOut int64
}

// Find looks a link up by name; ok is false when there is none.
func Find(name string) (l Link, ok bool, err error) {
	nl, err := netlink.LinkByName(name)
	if missing(err) {
		return Link{}, false, nil
	}
	if err != nil {
		return Link{}, false, fmt.Errorf("look up interface %s: %w", name, err)
	}
	return linkOf(nl), true, nil
}

// List returns all links.
func List() ([]Link, error) {
	all, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	out := make([]Link, 0, len(all))
	for _, l := range all {
		out = append(out, linkOf(l))
	}
	return out, nil
}

// AddBridge makes a bridge that is down; hwaddr may be "" and mtu 0 for the kernel's choice.
func AddBridge(name, hwaddr string, mtu int) error {
	attrs, err := attrsOf(name, hwaddr, mtu)
	if err != nil {
		return err
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("create bridge %s: %w", name, err)
	}
	return nil
}

// Veth describes a pair of connected interfaces. The host side is up from the start, in the bridge of index Master if there is one.
type Veth struct {
	Host, Peer string
	// PeerNetns is the network namespace that the peer is made in, nil for the current one; PeerUp says to bring it up.
	PeerNetns *os.File
	PeerUp    bool
	// PeerHwaddr is the MAC address of the peer, "" for a random one.
	PeerHwaddr string
	// MTU of both sides, 0 for the kernel's choice.
	MTU    int
	Master int
	// TxQueue is the length of both transmit queues, 0 for the kernel's choice.
	TxQueue int
	// Owner is noted at the host side, so that nobody else removes the pair; see DeleteVeth.
	Owner string
}

// AddVeth makes the pair: on failure there is neither side.
func AddVeth(v Veth) error {
	attrs, err := attrsOf(v.Host, "", v.MTU)
	if err != nil {
		return err
	}
	peer, err := attrsOf(v.Peer, v.PeerHwaddr, 0)
	if err != nil {
		return err
	}
	attrs.Flags = net.FlagUp
	if v.TxQueue > 0 {
		attrs.TxQLen = v.TxQueue
	}
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: v.Peer, PeerHardwareAddr: peer.HardwareAddr}
	if v.PeerNetns != nil {
		pair.PeerNamespace = netlink.NsFd(v.PeerNetns.Fd())
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("create veth pair %s/%s: %w", v.Host, v.Peer, err)
	}
	if v.Owner != "" {
		err = netlink.LinkSetAlias(pair, v.Owner)
	}
	if err == nil && v.Master != 0 {
		err = SetMaster(pair.Index, v.Master)
	}
	if err == nil && v.PeerUp {
		err = v.raisePeer()
	}
	if err != nil {
		return errors.Join(err, Delete(v.Host))
	}
	return nil
}

// raisePeer brings the peer up: the kernel refuses that of one whose pair is being made.
func (v Veth) raisePeer() error {
	at := &netlink.Handle{}
	if v.PeerNetns != nil {
		var err error
		if at, err = netlink.NewHandleAt(netns.NsHandle(v.PeerNetns.Fd()), unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("enter the network namespace of interface %s: %w", v.Peer, err)
		}
		defer at.Close()
	}
	l, err := at.LinkByName(v.Peer)
	if err == nil {
		err = at.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("bring up interface %s: %w", v.Peer, err)
	}
	return nil
}

// Delete removes a link (and the other side of a veth pair); a missing one is no error.
func Delete(name string) error {
	l, err := netlink.LinkByName(name)
	if missing(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("delete interface %s: %w", name, err)
	}
	return nil
}

// random is the form of names that are made up here.
var random = regexp.MustCompile(`^veth[0-9a-f]{8}$`)

// Of tells whether a link may be that owner's: it says so, or says nothing and has a name that was made up, as when a crash came.
func (l Link) Of(owner string) bool {
	return l.Alias == owner || l.Alias == "" && random.MatchString(l.Name)
}

// DeleteVeth removes a veth pair of that owner by its host side; a missing one is no error. An interface of another kind or owner that has
// the name is somebody else's, and stays.
func DeleteVeth(name, owner string) error {
	l, err := netlink.LinkByName(name)
	if err == nil && l.Type() == "veth" && linkOf(l).Of(owner) {
		err = netlink.LinkDel(l)
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("delete interface %s: %w", name, err)
	}
	return nil
}

// SetUp brings a link up.
func SetUp(index int) error { return wrap("bring up", index, netlink.LinkSetUp(byIndex(index))) }

// SetDown takes a link down.
func SetDown(index int) error { return wrap("take down", index, netlink.LinkSetDown(byIndex(index))) }

// SetMTU sets the largest packet size.
func SetMTU(index, mtu int) error {
	return wrap(fmt.Sprintf("set the MTU to %d of", mtu), index, netlink.LinkSetMTU(byIndex(index), mtu))
}

// SetHwaddr sets the MAC address.
func SetHwaddr(index int, hwaddr string) error {
	mac, err := net.ParseMAC(hwaddr)
	if err != nil {
		return err
	}
	return wrap("set the MAC address "+hwaddr+" of", index, netlink.LinkSetHardwareAddr(byIndex(index), mac))
}

// SetMaster puts a link into the bridge of index master, or takes it out of any when master is 0.
func SetMaster(index, master int) error {
	return wrap("set the bridge of", index, netlink.LinkSetMasterByIndex(byIndex(index), master))
}

// SetName renames a link; it must be down.
func SetName(index int, name string) error {
	return wrap("rename to "+name, index, netlink.LinkSetName(byIndex(index), name))
}

// SetNamespace moves a link into the network namespace of the process pid.
func SetNamespace(index, pid int) error {
	return wrap(fmt.Sprintf("move into the network namespace of process %d", pid), index, netlink.LinkSetNsPid(byIndex(index), pid))
}

// SetHairpin lets a bridge port send a packet back out of the port it came in by.
func SetHairpin(index int, on bool) error {
	return wrap("set hairpin mode of", index, netlink.LinkSetHairpin(byIndex(index), on))
}

// SetIsolated keeps a bridge port from talking to other isolated ports.
func SetIsolated(index int, on bool) error {
	return wrap("isolate", index, netlink.LinkSetIsolated(byIndex(index), on))
}

func linkOf(nl netlink.Link) Link {
	a := nl.Attrs()
	l := Link{
		Index: a.Index, Name: a.Name, Type: nl.Type(), Hwaddr: a.HardwareAddr.String(), MTU: a.MTU, Master: a.MasterIndex, Alias: a.Alias,
		Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0,
	}
	if s := a.Statistics; s != nil {
		l.Stats = Stats{int64(s.RxBytes), int64(s.TxBytes), int64(s.RxPackets), int64(s.TxPackets)}
	}
	return l
}

func attrsOf(name, hwaddr string, mtu int) (netlink.LinkAttrs, error) {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = name, mtu
	if hwaddr == "" {
		return a, nil
	}
	mac, err := net.ParseMAC(hwaddr)
	a.HardwareAddr = mac
	return a, err
}

func byIndex(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func wrap(what string, index int, err error) error {
	if err != nil {
		return fmt.Errorf("%s interface %d: %w", what, index, err)
	}
	return nil
}

func missing(err error) bool {
	var none netlink.LinkNotFoundError
	return errors.As(err, &none) || errors.Is(err, unix.ENODEV)
}

func dump[T any](read func() ([]T, error)) (all []T, err error) {
	for range dumpTries {
		if all, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, err
}
