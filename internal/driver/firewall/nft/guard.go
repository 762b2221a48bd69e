package nft

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"lxd/internal/network"
)

// Priorities: ours come before those of other programs that use the well-known numbers, or after them where asked.
const (
	srcnat       = 100
	srcnatBefore = srcnat - 1
	srcnatAfter  = srcnat + 1
)

// guardChains builds all chains of one network. Each network has base chains of its own, so that replacing one network's rules
// never touches another's.
func guardChains(g network.Guard, group uint16) []chain {
	chains := append(policyChains(g, group), []chain{
		{name: "in." + g.Network, kind: nftables.ChainTypeFilter, hook: "input", rules: append(services(g, "dport", iifname), policed(g, "input")...)},
		{name: "out." + g.Network, kind: nftables.ChainTypeFilter, hook: "output", rules: append(services(g, "sport", oifname), policed(g, "output")...)},
		{name: "fwd." + g.Network, kind: nftables.ChainTypeFilter, hook: "forward", rules: append(policed(g, "forward"), forwarding(g)...)},
	}...)
	for _, f := range families(g) {
		if f.NAT {
			chains = append(chains, translation(g.Network, f))
		}
	}
	return append(chains, forwardChains(g)...)
}

// chainNames are the names of all chains that a network may have.
func chainNames(name string) []string {
	return []string{
		"in." + name, "out." + name, "fwd." + name, "nat4." + name, "nat6." + name,
		policyChain(ingress, name), policyChain(egress, name), "pre." + name, "loc." + name, "back." + name,
	}
}

func families(g network.Guard) (list []network.Family) {
	for _, f := range []network.Family{g.IPv4, g.IPv6} {
		if f.Subnet.IsValid() {
			list = append(list, f)
		}
	}
	return list
}

// services accepts the packets of the network's own DNS and DHCP, and of what IPv6 cannot do without; word is the end of a
// packet that holds the service's port.
func services(g network.Guard, word string, iface func(string) term) (rules []rule) {
	side := iface(g.Network)
	add := func(parts ...any) { rules = append(rules, all(append(append([]any{side}, parts...), accept())...)) }
	if g.DNS {
		add(port(unix.IPPROTO_TCP, word, 53))
		add(port(unix.IPPROTO_UDP, word, 53))
	}
	if g.DHCPv4 {
		add(port(unix.IPPROTO_UDP, word, 67))
	}
	if g.IPv6.Subnet.IsValid() {
		for _, t := range []struct {
			typ  byte
			name string
		}{
			{1, "destination-unreachable"}, {2, "packet-too-big"}, {3, "time-exceeded"}, {4, "parameter-problem"},
			{133, "nd-router-solicit"}, {134, "nd-router-advert"}, {135, "nd-neighbor-solicit"}, {136, "nd-neighbor-advert"},
			{143, "mld2-listener-report"},
		} {
			add(icmpv6(t.typ, t.name))
		}
	}
	if g.DHCPv6 {
		add(port(unix.IPPROTO_UDP, word, 547))
	}
	return rules
}

// forwarding lets packets of the network through the host, or keeps them in; a family that is not open is left to others.
func forwarding(g network.Guard) (rules []rule) {
	for _, f := range families(g) {
		word := "meta nfproto ipv4"
		if f.Subnet.Addr().Is6() {
			word = "meta nfproto ipv6"
		}
		if !f.Open {
			continue
		}
		end := reject()
		if f.Routing {
			end = accept()
		}
		family := nfproto(f.Subnet.Addr().Is6(), word)
		if !f.Routing { // between the network's own machines: seen here only where bridged packets pass this hook
			rules = append(rules, all(family, iifname(g.Network), oifname(g.Network), accept()))
		}
		rules = append(rules, all(family, oifname(g.Network), end), all(family, iifname(g.Network), end))
	}
	return rules
}

// translation hides what leaves the subnet.
func translation(name string, f network.Family) chain {
	is6 := f.Subnet.Addr().Is6()
	c := chain{name: "nat4." + name, kind: nftables.ChainTypeNAT, hook: "postrouting", priority: srcnatBefore}
	if is6 {
		c.name = "nat6." + name
	}
	if f.NATAfter {
		c.priority = srcnatAfter
	}
	end := masquerade()
	if f.NATAddress.IsValid() {
		end = snat(f.NATAddress)
	}
	c.rules = []rule{all(nfproto(is6, ""), saddr(f.Subnet, true), daddr(f.Subnet, false), end)}
	return c
}
