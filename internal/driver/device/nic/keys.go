package nic

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"lxd/internal/schema"
)

// none says that a filtered port may use no address of a family.
const none = "none"

// Limits of interface names and packet sizes.
const (
	maxName = 15
	minMTU  = 68
	maxMTU  = 65535
)

// keys are the configuration keys of a bridged NIC. Those of parts that are not built are declared, so that using one says so.
func keys() *schema.Schema {
	list := []schema.Key{
		{Name: "boot.priority", Type: schema.Between(0, 1<<31-1), Short: "Priority in the boot order; higher goes first", Condition: "virtual machine"},
		{Name: "host_name", Type: typed("interface name", interfaceName), Short: "Name of the interface on the host"},
		{Name: "hwaddr", Type: schema.MAC, Short: "MAC address of the NIC"},
		{Name: "ipv4.address", Type: typed("IP address", address(netip.Addr.Is4)), Short: "IPv4 address to hand out to the NIC, or none"},
		{Name: "ipv6.address", Type: typed("IP address", address(netip.Addr.Is6)), Short: "IPv6 address to hand out to the NIC, or none"},
		{Name: "mtu", Type: schema.Between(minMTU, maxMTU), Default: "that of the parent", Short: "Largest packet size"},
		{Name: "name", Type: typed("interface name", interfaceName), Short: "Name of the interface inside"},
		{Name: "network", Type: schema.String, Short: "Managed network to connect to"},
		{Name: "nictype", Type: schema.OneOf("bridged"), Short: "Kind of NIC, where no network is named"},
		{Name: "parent", Type: typed("interface name", interfaceName), Short: "Bridge of the host to connect to", Condition: "nictype"},
		{Name: "security.ipv4_filtering", Type: schema.Bool, Default: "false", Short: "Keep the NIC from using IPv4 addresses of others"},
		{Name: "security.ipv6_filtering", Type: schema.Bool, Default: "false", Short: "Keep the NIC from using IPv6 addresses of others"},
		{Name: "security.mac_filtering", Type: schema.Bool, Default: "false", Short: "Keep the NIC from using MAC addresses of others"},
		{Name: "security.port_isolation", Type: schema.Bool, Default: "false", Short: "Keep the NIC from talking to other isolated NICs"},
	}
	return table(append(list, trafficKeys()...), "ipv4.routes.external", "ipv6.routes.external", "maas.subnet.ipv4", "maas.subnet.ipv6", "vlan", "vlan.tagged")
}

// table is the keys of one kind of NIC, and those of parts that are not built.
func table(list []schema.Key, later ...string) *schema.Schema {
	for _, name := range later {
		list = append(list, schema.Key{Name: name, Type: schema.String, Later: true, Short: "Not supported by this server yet"})
	}
	return schema.New("nic device", append(list, schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free to use"})...)
}

// insideKeys are those that every NIC has.
func insideKeys(kind string) []schema.Key {
	return []schema.Key{
		{Name: "boot.priority", Type: schema.Between(0, 1<<31-1), Short: "Priority in the boot order; higher goes first", Condition: "virtual machine"},
		{Name: "hwaddr", Type: schema.MAC, Short: "MAC address of the NIC"},
		{Name: "mtu", Type: schema.Between(minMTU, maxMTU), Default: "that of the parent", Short: "Largest packet size"},
		{Name: "name", Type: typed("interface name", interfaceName), Short: "Name of the interface inside"},
		{Name: "nictype", Type: schema.OneOf(kind), Short: "Kind of NIC"},
	}
}

func parentKey(short string) schema.Key {
	return schema.Key{Name: "parent", Type: typed("interface name", interfaceName), Short: short}
}

func typed(name string, ok func(string) error) schema.Type { return schema.Type{Name: name, OK: ok} }

func address(family func(netip.Addr) bool) func(string) error {
	return func(v string) error {
		if a, err := netip.ParseAddr(v); v != none && (err != nil || !family(a) || a.Zone() != "") {
			return errors.New("must be an address of that family, or none")
		}
		return nil
	}
}

func interfaceName(v string) error {
	if v == "." || v == ".." || len(v) > maxName || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' || r == '%' }) {
		return fmt.Errorf("must be an interface name: at most %d characters, none of them a space, slash, colon or percent sign", maxName)
	}
	return nil
}
