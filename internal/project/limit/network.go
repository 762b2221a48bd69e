package limit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tame are the keys of networks, and the families of keys that end in a dot, which reach no further than the network itself.
var tame = []string{
	"bridge.driver", "bridge.hwaddr", "bridge.mode", "bridge.mtu", "dns.domain", "dns.mode", "dns.nameservers", "dns.search", "ipv4.address", "ipv4.dhcp",
	"ipv4.dhcp.", "ipv4.firewall", "ipv4.l3only", "ipv4.nat", "ipv4.nat.order", "ipv4.routing", "ipv6.address", "ipv6.dhcp", "ipv6.dhcp.", "ipv6.firewall",
	"ipv6.l3only", "ipv6.nat", "ipv6.nat.order", "ipv6.routing", "security.acls", "security.acls.", "user.", "volatile.",
}

// network judges a network of the project.
func (r rules) network(n Network) (all []Violation) {
	object := fmt.Sprintf("network %q", n.Name)
	if n.Type != "bridge" && n.Type != "ovn" {
		all = append(all, never(object, fmt.Sprintf("it is of type %s, which reaches the host's own networks", n.Type)))
	}
	for _, key := range slices.Sorted(maps.Keys(n.Config)) {
		if n.Config[key] != "" {
			all = append(all, r.networkKey(object, n.Config, key)...)
		}
	}
	return all
}

func (r rules) networkKey(object string, config Config, key string) []Violation {
	const uplinks, zones = "restricted.networks.uplinks", "restricted.networks.zones"
	value, uplink := config[key], config["network"]
	switch {
	case key == "network":
		if slices.Contains(r.list(uplinks), value) {
			return nil
		}
		return []Violation{r.no(uplinks, object, "its uplink is the network "+value, "a list with "+value)}
	case strings.HasPrefix(key, "dns.zone."):
		return r.zones(zones, object, key, value)
	case key == "ipv4.routes" || key == "ipv6.routes" || key == "ipv4.nat.address" || key == "ipv6.nat.address":
		if strings.HasSuffix(key, ".address") {
			value = single(value)
		}
		return r.routes(object, uplink, Config{key: value}, []string{key})
	case slices.ContainsFunc(tame, func(t string) bool { return key == t || strings.HasSuffix(t, ".") && strings.HasPrefix(key, t) }):
		return nil
	}
	return []Violation{never(object, fmt.Sprintf("it has %s=%s", key, brief(value)))}
}

// single is the subnet of one address.
func single(address string) string {
	if strings.Contains(address, ":") {
		return address + "/128"
	}
	return address + "/32"
}

// zones refuses DNS zones that are neither the project's nor below one of these.
func (r rules) zones(key, object, name, value string) (all []Violation) {
	for zone := range strings.SplitSeq(value, ",") {
		zone = strings.TrimSpace(zone)
		if !slices.ContainsFunc(r.list(key), func(have string) bool { return zone == have || strings.HasSuffix(zone, "."+have) }) {
			all = append(all, r.no(key, object, fmt.Sprintf("its %s has %s", name, zone), "a list with "+zone))
		}
	}
	return all
}
