package network

import (
	"context"
	"net/netip"

	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
)

// Firewall guards networks and their ports on this host.
type Firewall interface {
	// Guard makes the rules of a network those of g, in one step: packets meet the old rules or the new ones, never none.
	Guard(ctx context.Context, g Guard) error
	// Unguard removes the rules of a network; missing ones are no error.
	Unguard(ctx context.Context, network string) error
	// Obstacles tells which rules of other programs keep packets of a network from passing, and the command that ends that.
	Obstacles(ctx context.Context, g Guard) ([]string, error)
	// Logged calls to for each packet that a rule of a policy logs, until ctx ends, with a label "ACL-DIRECTION-RULE ACTION".
	Logged(ctx context.Context, to func(label string, packet []byte)) error
	// Filter makes the rules of one port those of f, in one step.
	Filter(ctx context.Context, f Filter) error
	// Unfilter removes the rules of the port of that host side; missing ones are no error.
	Unfilter(ctx context.Context, hostName string) error
}

// Guard is what the firewall does for one network. The zero Prefix means that the network lacks that family.
type Guard struct {
	// Network names the network and its interface.
	Network    string
	IPv4, IPv6 Family
	// DHCPv4, DHCPv6 and DNS open the ports of those services to the network's machines.
	DHCPv4, DHCPv6, DNS bool
	// Forwards send traffic for addresses of the outside to machines of the network, also that of other such machines and of the host.
	Forwards []forward.Rule
	// Policy is what may pass between the network and others, its own services aside; nil is everything.
	Policy *acl.Policy
}

// Family is what the firewall does for one address family of a network.
type Family struct {
	Subnet netip.Prefix
	// Open makes rules about packets that pass between the network and others; without it that is left to the rules of others.
	// What the network's own services need is accepted in any case.
	Open bool
	// Routing lets such packets pass rather than rejecting them.
	Routing bool
	// NAT hides the network's machines behind the host; NATAddress is the address to use, the zero Addr for that of the way out.
	NAT        bool
	NATAddress netip.Addr
	// NATAfter puts the translation after the rules of others rather than before them.
	NATAfter bool
}

// Filter is what a port may send. An empty list of a filtered family means that it may send nothing of that family.
type Filter struct {
	// HostName is the host side of the port, a member of a bridge.
	HostName, Hwaddr         string
	FilterIPv4, FilterIPv6   bool
	AllowedIPv4, AllowedIPv6 []netip.Prefix
}
