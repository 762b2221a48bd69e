// Package network holds managed networks; backends implement Driver and whichever optional interfaces they can.
package network

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
	"lxd/internal/schema"
)

// Net is one managed network, complete: automatic values are filled in.
type Net struct {
	Project, Name string
	Config        map[string]string
	// Dir is a private folder for the backend's files (leases, pid, configuration).
	Dir string
	// Ports are all NICs on the network that need something of it, running or not: static leases, DNS names.
	Ports []Port
	// Forwards are the addresses of the outside whose traffic goes to machines of the network.
	Forwards []forward.Rule
	// Policy is what may pass between the network and others; nil is everything.
	Policy *acl.Policy
}

// Port is one NIC of one instance.
type Port struct {
	Project, Instance, Device string
	Hwaddr                    string
	// IPv4 and IPv6 are static addresses; the zero Addr means dynamic.
	IPv4, IPv6 netip.Addr
	MTU        int
	// TxQueue is the length of the transmit queue, 0 for the kernel's choice.
	TxQueue int
	// Routes are what the host sends to the network for the port; who connects it makes them.
	Routes []netip.Prefix
	// HostName is the name wanted for the host side; "" lets the backend pick one.
	HostName string
	// Filter settings (security.mac_filtering, security.ipv4_filtering, security.ipv6_filtering, security.port_isolation).
	FilterMAC, FilterIPv4, FilterIPv6, Isolate bool
	// Inside is the machine's end; only Connect needs it.
	Inside Inside
}

// Owner is what the host side is marked with.
func (p Port) Owner() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.Project, p.Instance, p.Device}, "\x00")))
	return fmt.Sprintf("lxd-nic-%x", sum[:8])
}

// Inside is the machine's end of a Port.
type Inside struct {
	// Netns is the network namespace that it is made in; nil means the host's own. Making it there is quick, moving it would hold up
	// all changes to the host's interfaces for tens of milliseconds.
	Netns *os.File
	// Name is what it is called there; "" lets the backend pick one.
	Name string
	// Up says that it is brought up.
	Up bool
}

// Link is the host side of a connected Port.
type Link struct {
	HostName string
	MTU      int
}

// Driver is one kind of network.
type Driver interface {
	// Name is the wire name, such as "bridge".
	Name() string
	Keys() *schema.Schema
	// Fill returns a copy of cfg with "auto" values decided and, for a fresh network, default keys added; it fails with Invalid on
	// keys that cannot work together. It has no effects.
	Fill(ctx context.Context, name string, cfg map[string]string, fresh bool) (map[string]string, error)
	// Up makes the host match n, as a whole; it is idempotent and repairs.
	Up(ctx context.Context, n Net) error
	// Down removes n from the host; a missing one is no error.
	Down(ctx context.Context, n Net) error
	// Connect makes a veth pair, or the like, for p: the host side and p.Inside. On failure nothing is left. It fails with Conflict
	// when the host side's name is taken, with Invalid when the inside's is.
	Connect(ctx context.Context, n Net, p Port) (Link, error)
	// Disconnect removes the host side of p by its name and whatever Connect made; a missing one is no error. The name and the
	// static addresses of p stay its own until Up or Register gets Ports without it.
	Disconnect(ctx context.Context, n Net, p Port, hostName string) error
	// Status tells whether n is up on this host, for lists; it is cheap.
	Status(ctx context.Context, n Net) (State, error)
}

// State is what the host knows of a network.
type State struct {
	Up                                 bool
	Hwaddr                             string
	MTU                                int
	Addresses                          []netip.Prefix
	BytesIn, BytesOut, PktsIn, PktsOut int64
	// Members are the interfaces attached to it.
	Members []string
}

// Lease is one address handed out.
type Lease struct {
	Project, Hostname, Hwaddr, Address string
	// Type is "dynamic", "static", "gateway" …
	Type    string
	Expires time.Time
}

// Leaser is a Driver that knows which addresses are in use.
type Leaser interface {
	Leases(ctx context.Context, n Net) ([]Lease, error)
}

// Releaser is a Driver that can take back the addresses lent to machines that are gone.
type Releaser interface {
	// Release ends the leases of those hardware addresses; missing ones are no error.
	Release(ctx context.Context, n Net, hwaddrs []string) error
}

// Registrar is a Driver that can take note of changed n.Ports at less cost than Up.
type Registrar interface {
	Register(ctx context.Context, n Net) error
}

// Guarder is a Driver that obeys n.Forwards and n.Policy, and can take note of changed ones at less cost than Up.
type Guarder interface {
	// Guard makes the host's firewall that of n, in one step. The network may be down.
	Guard(ctx context.Context, n Net) error
}

// Inspector is a Driver that can tell what keeps a network that is up from working, and what to do about it.
type Inspector interface {
	Inspect(ctx context.Context, n Net) (problems []string, err error)
}

// Trouble is a problem that a Driver found by itself.
type Trouble struct {
	Network string
	Err     error
	// Mended tells that it was dealt with.
	Mended bool
}

// Reporter is a Driver that finds problems by itself; it tells one listener.
type Reporter interface{ Report(to func(Trouble)) }

// Logger is a Driver whose host logs packets, as n.Policy says.
type Logger interface {
	// Logged calls to for each logged packet until ctx ends, with a label "ACL-DIRECTION-RULE ACTION" and the packet's beginning.
	Logged(ctx context.Context, to func(label string, packet []byte)) error
}
