package network

import (
	"net/netip"
	"strconv"
	"strings"

	"lxd/internal/schema"
)

// NIC is a device of type "nic" as its instance has it.
type NIC struct {
	Project, Instance, Device string
	// Config is that of the device, InstanceConfig that of its instance with the volatile keys.
	Config, InstanceConfig map[string]string
}

// Port is the port that the NIC is, as far as its keys tell; values that are no addresses or numbers are left out.
func (n NIC) Port() Port {
	p := Port{
		Project: n.Project, Instance: n.Instance, Device: n.Device,
		Hwaddr: strings.ToLower(n.Config["hwaddr"]), HostName: n.Config["host_name"],
		FilterMAC:  schema.IsTrue(n.Config["security.mac_filtering"]),
		FilterIPv4: schema.IsTrue(n.Config["security.ipv4_filtering"]), FilterIPv6: schema.IsTrue(n.Config["security.ipv6_filtering"]),
		Isolate: schema.IsTrue(n.Config["security.port_isolation"]),
	}
	if p.Hwaddr == "" {
		p.Hwaddr = n.InstanceConfig["volatile."+n.Device+".hwaddr"]
	}
	p.FilterMAC = p.FilterMAC || p.FilterIPv4 || p.FilterIPv6 // an address means nothing if its frames can be anyone's
	p.IPv4, _ = netip.ParseAddr(n.Config["ipv4.address"])
	p.IPv6, _ = netip.ParseAddr(n.Config["ipv6.address"])
	p.MTU, _ = strconv.Atoi(n.Config["mtu"])
	p.TxQueue, _ = strconv.Atoi(n.Config["queue.tx.length"])
	for _, key := range []string{"ipv4.routes", "ipv6.routes"} {
		for r := range strings.SplitSeq(n.Config[key], ",") {
			if prefix, err := netip.ParsePrefix(strings.TrimSpace(r)); err == nil {
				p.Routes = append(p.Routes, prefix.Masked())
			}
		}
	}
	return p
}

// On tells whether the NIC is on the managed network of that name: by naming it, or its bridge.
func (n NIC) On(network string) bool {
	bridged := n.Config["network"] == "" && n.Config["nictype"] == "bridged" && n.Config["parent"] == network
	return n.Config["type"] == "nic" && (n.Config["network"] == network || bridged)
}
