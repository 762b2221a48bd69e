package limit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lxd/internal/schema"
)

// harmless are the keys of instances, and the families of keys that end in a dot, which no restriction is about. Every other key
// that no rule below knows is low-level: so a key that is added later is forbidden until somebody has thought about it. Of the
// volatile keys those that decide anything belong to the server, whatever a client says.
var harmless = []string{
	"agent.nic_config", "boot.autostart", "boot.autostart.", "boot.mode", "boot.stop.priority", "cloud-init.", "cluster.evacuate", "environment.", "image.",
	"limits.cpu", "limits.cpu.", "limits.disk.priority", "limits.hugepages.", "limits.max_bus_ports", "limits.memory", "limits.memory.enforce",
	"limits.memory.swap", "limits.memory.swap.priority", "limits.processes", "migration.", "placement.group", "security.agent.metrics", "security.devlxd",
	"security.devlxd.images", "security.idmap.isolated", "security.protection.", "security.sev", "security.sev.", "security.syscalls.deny",
	"security.syscalls.deny_compat", "snapshots.", "user.", "volatile.",
}

const (
	intercept = "security.syscalls.intercept."
	privilege = "restricted.containers.privilege"
	calls     = "restricted.containers.interception"
)

// contained are the system calls that the server can answer without giving a container power over the host.
var contained = []string{intercept + "mknod", intercept + "setxattr", intercept + "sysinfo"}

func isHarmless(key string) bool {
	return slices.ContainsFunc(harmless, func(h string) bool { return key == h || strings.HasSuffix(h, ".") && strings.HasPrefix(key, h) })
}

// instance judges an instance as it is in the end.
func (r rules) instance(i Instance) []Violation {
	object := fmt.Sprintf("instance %q", i.Name)
	kinds := []bool{i.VM}
	all := append(r.configured(object, i.Config, kinds), r.devices(object, i.Devices)...)
	if !i.VM && r.says(privilege) == "isolated" && !schema.IsTrue(i.Config["security.idmap.isolated"]) {
		all = append(all, r.no(privilege, object, "it shares host ids with others, since security.idmap.isolated is not true", "unprivileged"))
	}
	return all
}

// profile judges what a profile would bring to an instance of either kind.
func (r rules) profile(p Profile) []Violation {
	object := fmt.Sprintf("profile %q", p.Name)
	return append(r.configured(object, p.Config, []bool{false, true}), r.devices(object, p.Devices)...)
}

// configured judges keys by the rules for containers or virtual machines; what one of the kinds may have is allowed.
func (r rules) configured(object string, config Config, vm []bool) (all []Violation) {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if config[key] == "" {
			continue
		}
		var found []Violation
		for _, isVM := range vm {
			if isVM {
				found = append(found, r.machineKey(object, key)...)
			} else {
				found = append(found, r.containerKey(object, key, config[key])...)
			}
		}
		if len(found) > 0 {
			all = append(all, found[0])
		}
	}
	return all
}

func (r rules) containerKey(object, key, value string) []Violation {
	what := fmt.Sprintf("it has %s=%s", key, brief(value))
	switch {
	case isHarmless(key), schema.IsFalse(value) && (key == "security.nesting" || key == "security.privileged" || strings.HasPrefix(key, intercept)):
		return nil
	case key == "security.syscalls.deny_default" && schema.IsTrue(value):
		return nil
	case key == "security.nesting":
		return r.unless("restricted.containers.nesting", object, what)
	case key == "security.privileged":
		return r.unless(privilege, object, what)
	case strings.HasPrefix(key, intercept):
		return r.interception(object, key, what)
	case key == "raw.idmap":
		return r.hostIDs(object, value)
	}
	return r.unless("restricted.containers.lowlevel", object, what)
}

// machineKey judges a key of a virtual machine, where those of containers have no effect.
func (r rules) machineKey(object, key string) []Violation {
	if isHarmless(key) || strings.HasPrefix(key, "security.nesting") || key == "security.privileged" || strings.HasPrefix(key, "security.syscalls.") {
		return nil
	}
	return r.unless("restricted.virtual-machines.lowlevel", object, "it has "+key)
}

func (r rules) interception(object, key, what string) []Violation {
	switch is := r.says(calls); {
	case is == "full", is == "allow" && slices.Contains(contained, key):
		return nil
	case slices.Contains(contained, key):
		return []Violation{r.no(calls, object, what, "allow")}
	}
	return []Violation{r.no(calls, object, what, "full")}
}

// unless is a violation unless the key says allow.
func (r rules) unless(key, object, what string) []Violation {
	if r.says(key) == "allow" {
		return nil
	}
	return []Violation{r.no(key, object, what, "allow")}
}

// brief is a value on one short line.
func brief(v string) string {
	first, _, more := strings.Cut(v, "\n")
	if len(first) > 40 {
		first, more = first[:40], true
	}
	if more {
		first += "…"
	}
	return first
}
