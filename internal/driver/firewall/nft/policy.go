package nft

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"lxd/internal/host/nflog"
	"lxd/internal/network"
	"lxd/internal/network/acl"
)

// established and related are the bits of the state of a connection.
const (
	established = 1 << 1
	related     = 1 << 2
)

// Directions of traffic, as seen from a network's machines.
const (
	ingress = "ingress"
	egress  = "egress"
)

// policyChains are what the rules of a network's ACLs become: a chain for each direction, that other chains of the network jump to.
// What they let pass returns there, so that a network that does not route stays closed.
func policyChains(g network.Guard, group uint16) []chain {
	if g.Policy == nil {
		return nil
	}
	side := func(direction string, s acl.Side) chain {
		c := chain{name: policyChain(direction, g.Network), rules: []rule{all(
			bits("ct state established,related", &expr.Ct{Key: expr.CtKeySTATE, Register: reg}, established|related), back(),
		)}}
		for _, r := range s.Rules {
			c.rules = append(c.rules, policyRule(r, direction, group))
		}
		var end rule
		if s.Log {
			end = append(end, logTerm(label(g.Network, direction, "default", s.Default), group))
		}
		c.rules = append(c.rules, append(end, action(s.Default)))
		return c
	}
	return []chain{side(ingress, g.Policy.Ingress), side(egress, g.Policy.Egress)}
}

func policyChain(direction, network string) string {
	return map[string]string{ingress: "to.", egress: "from."}[direction] + network
}

// policed are the rules that send the packets of a network to its ACLs; the words are those of the hook that they are seen in.
func policed(g network.Guard, hook string) (rules []rule) {
	if g.Policy == nil {
		return nil
	}
	if hook == "forward" { // between the network's own machines: seen here only where bridged packets pass this hook
		rules = append(rules, all(iifname(g.Network), oifname(g.Network), accept()))
	}
	if hook != "output" {
		rules = append(rules, all(iifname(g.Network), jump(policyChain(egress, g.Network))))
	}
	if hook != "input" {
		rules = append(rules, all(oifname(g.Network), jump(policyChain(ingress, g.Network))))
	}
	if hook == "output" && len(g.Forwards) > 0 { // what a forward sends elsewhere still has the interface of its first destination here
		for _, f := range families(g) {
			rules = append(rules, all(destinationChanged(), nfproto(f.Subnet.Addr().Is6(), ""), daddr(f.Subnet, true), jump(policyChain(ingress, g.Network))))
		}
	}
	return rules
}

func policyRule(r acl.Rule, direction string, group uint16) (out rule) {
	add := func(parts ...any) { out = all(append([]any{out}, parts...)...) }
	switch {
	case len(r.Source) > 0:
		add(nfproto(r.Source[0].First.Is6(), ""))
	case len(r.Destination) > 0:
		add(nfproto(r.Destination[0].First.Is6(), ""))
	case r.Protocol == "icmp4", r.Protocol == "icmp6":
		add(nfproto(r.Protocol == "icmp6", ""))
	}
	if len(r.Source) > 0 {
		add(addressIn(r.Source, "saddr"))
	}
	if len(r.Destination) > 0 {
		add(addressIn(r.Destination, "daddr"))
	}
	add(transportRule(r))
	if r.Log {
		add(logTerm(label(r.ACL, direction, fmt.Sprint(r.Index), r.Action), group))
	}
	add(action(r.Action))
	return out
}

// transportRule matches a rule's protocol and what that has.
func transportRule(r acl.Rule) rule {
	switch r.Protocol {
	case "tcp", "udp":
		if len(r.SourcePorts) == 0 && len(r.DestinationPorts) == 0 {
			return rule{l4proto(map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[r.Protocol], "meta l4proto "+r.Protocol)}
		}
		var out rule
		if len(r.SourcePorts) > 0 {
			out = portIn(r.Protocol, r.SourcePorts, "sport")
		}
		if len(r.DestinationPorts) > 0 {
			out = append(out, portIn(r.Protocol, r.DestinationPorts, "dport")...)
		}
		return out
	case "icmp4":
		return icmp(r, unix.IPPROTO_ICMP, "icmp", "icmp")
	case "icmp6":
		return icmp(r, unix.IPPROTO_ICMPV6, "icmpv6", "ipv6-icmp")
	}
	return nil
}

// icmpNames are the types that the nft tool has names for and that people filter.
var icmpNames = map[string]map[int]string{
	"icmp":   {0: "echo-reply", 3: "destination-unreachable", 5: "redirect", 8: "echo-request", 11: "time-exceeded", 12: "parameter-problem"},
	"icmpv6": {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply"},
}

func icmp(r acl.Rule, proto byte, word, name string) rule {
	if r.ICMPType < 0 {
		return rule{l4proto(proto, "meta l4proto "+name)}
	}
	text, data := fmt.Sprint(r.ICMPType), []byte{byte(r.ICMPType)}
	if known := icmpNames[word][r.ICMPType]; known != "" {
		text = known
	}
	text = fmt.Sprintf("%s type %s", word, text)
	if r.ICMPCode >= 0 {
		text, data = fmt.Sprintf("%s %s code %d", text, word, r.ICMPCode), append(data, byte(r.ICMPCode))
	}
	return rule{l4proto(proto, ""), field(text, transport(0), true, data)}
}

// action is the end of a rule. What is allowed is no more than not refused: other rules of the network come after.
func action(a string) term {
	switch a {
	case acl.Drop:
		return drop()
	case acl.Allow:
		return back()
	}
	return reject()
}

// label tells the rule that a packet was logged by; name is that of its ACL.
func label(name, direction, index, action string) string {
	return fmt.Sprintf("%s-%s-%s %s", name, direction, index, action)
}

// logTerm sends a packet to whoever listens to the group.
func logTerm(label string, group uint16) term {
	return term{text: fmt.Sprintf("log prefix %q group %d", label, group), exprs: []expr.Any{
		&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX, Group: group, Data: []byte(label)},
	}}
}

// Logged implements network.Firewall.
func (f *Firewall) Logged(ctx context.Context, to func(label string, packet []byte)) error {
	return nflog.Listen(ctx, f.LogGroup(), func() {}, to)
}

// LogGroup is the netfilter log group that the logged packets of the daemon go to; daemons side by side have different ones.
func (f *Firewall) LogGroup() uint16 { return groupOf(f.table) }

func groupOf(table string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(table)) // never fails
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

func nativeEndian(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
