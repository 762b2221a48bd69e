package limit

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
)

const managed = "managed"

// devices judges the devices of an instance or a profile.
func (r rules) devices(object string, devices Devices) (all []Violation) {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		all = append(all, r.device(fmt.Sprintf("%s, device %q", object, name), devices[name])...)
	}
	return all
}

func (r rules) device(object string, cfg Config) []Violation {
	switch kind := cfg["type"]; kind {
	case "none", "tpm": // the one takes a device away, the other is emulated
		return nil
	case "disk":
		return r.disk(object, cfg)
	case "nic":
		return r.nic(object, cfg)
	case "gpu", "infiniband", "pci", "proxy", "unix-block", "unix-char", "unix-hotplug", "usb":
		return r.unless("restricted.devices."+kind, object, "it is of type "+kind)
	default:
		return []Violation{never(object, fmt.Sprintf("it is of type %q", kind))}
	}
}

// disk allows root disks always, and what is in pools unless disks are blocked.
func (r rules) disk(object string, cfg Config) []Violation {
	const key, paths = "restricted.devices.disk", "restricted.devices.disk.paths"
	is, source := r.says(key), cfg["source"]
	switch {
	case cfg["path"] == "/" && source == "":
		return nil
	case is == "block":
		return []Violation{r.no(key, object, "it is a disk besides the root disk", "managed")}
	case cfg["pool"] != "" && !path.IsAbs(source):
		return nil
	case is != "allow":
		return []Violation{r.no(key, object, fmt.Sprintf("its source %q is in no storage pool", source), "allow")}
	}
	allowed := r.list(paths)
	if len(allowed) == 0 || path.IsAbs(source) && slices.ContainsFunc(allowed, func(dir string) bool { return within(source, dir) }) {
		return nil
	}
	return []Violation{r.no(paths, object, fmt.Sprintf("its source %q is in none of the folders of the host that may be used", source), "a list with its folder")}
}

// within tells whether a path is a folder or below it, by name.
func within(name, dir string) bool {
	name, dir = path.Clean(name), path.Clean(dir)
	return dir == "/" || name == dir || strings.HasPrefix(name, dir+"/")
}

func (r rules) nic(object string, cfg Config) (all []Violation) {
	const key, access = "restricted.devices.nic", "restricted.networks.access"
	on := cmp.Or(cfg["network"], cfg["parent"])
	switch is := r.says(key); {
	case is == "block":
		all = append(all, r.no(key, object, "it is a network interface", managed))
	case is != "allow" && cfg["network"] == "":
		all = append(all, r.no(key, object, "it is on no managed network", "allow"))
	}
	if list := r.list(access); on != "" && len(list) > 0 && !slices.Contains(list, on) {
		all = append(all, r.no(access, object, fmt.Sprintf("it is on the network %q", on), "a list with "+on))
	}
	return append(all, r.routes(object, on, cfg, []string{"ipv4.routes", "ipv6.routes", "ipv4.routes.external", "ipv6.routes.external"})...)
}

// routes refuses that a network or an interface draws the host's traffic to subnets which are not the project's.
func (r rules) routes(object, on string, cfg Config, keys []string) (all []Violation) {
	const key = "restricted.networks.subnets"
	for _, k := range keys {
		for subnet := range strings.SplitSeq(cfg[k], ",") {
			if subnet = strings.TrimSpace(subnet); subnet != "" && !r.routable(on, subnet) {
				all = append(all, r.no(key, object, fmt.Sprintf("its %s has %s", k, subnet), fmt.Sprintf("a list with %s:%s", on, subnet)))
			}
		}
	}
	return all
}

// routable tells whether a subnet is within one that the project was given of that network.
func (r rules) routable(on, subnet string) bool {
	want, err := netip.ParsePrefix(subnet)
	if err != nil {
		return false
	}
	for _, text := range r.list("restricted.networks.subnets") {
		network, of, _ := strings.Cut(text, ":")
		have, err := netip.ParsePrefix(of)
		if err == nil && network == on && have.Bits() <= want.Bits() && have.Contains(want.Addr()) {
			return true
		}
	}
	return false
}
