package limit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/schema"
)

// blockSize is the size of the root disk of a virtual machine that says nothing of it.
const blockSize = 10 << 30

// Resource is how much of something a project has; Limit is -1 where there is none.
type Resource struct{ Limit, Usage int64 }

const (
	perPool  = "limits.disk.pool."
	uplinks4 = "limits.networks.uplink_ips.ipv4."
	uplinks6 = "limits.networks.uplink_ips.ipv6."
)

// Usage is what a project has of each resource that can be limited, by the resource's name.
func Usage(config Config, o Objects) map[string]Resource {
	c := count(o)
	all := map[string]Resource{}
	for _, name := range []string{"containers", "cpu", "disk", "instances", "memory", "networks", "processes", "virtual-machines"} {
		all[name] = Resource{Limit: limitOf(config["limits."+name]), Usage: c.sums["limits."+name]}
	}
	for key, v := range config {
		if pool, ok := strings.CutPrefix(key, perPool); ok && v != "" {
			all["disk."+pool] = Resource{Limit: limitOf(v), Usage: c.sums[key]}
		}
		if name, ok := strings.CutPrefix(key, "limits.networks."); ok && v != "" {
			all["networks."+name] = Resource{Limit: limitOf(v), Usage: c.sums[key]}
		}
	}
	return all
}

// limitOf reads the value of a limit, a number or a size.
func limitOf(v string) int64 {
	n, err := schema.ParseSize(v)
	if err != nil || v == "" {
		return -1
	}
	return n
}

// exceeded lists the limits that the objects exceed, and the objects that cannot be counted towards a limit.
func exceeded(config Config, o Objects) (all []Violation) {
	c := count(o)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if config[key] == "" || !strings.HasPrefix(key, "limits.") {
			continue
		}
		all = append(all, c.unknown[key]...)
		if most := limitOf(config[key]); c.sums[key] > most {
			all = append(all, Violation{Key: key, Amount: c.sums[key], What: "the sum for " + key + " would be %d",
				Do: fmt.Sprintf("%s is %s; ask for less, free something, or have an administrator raise it", key, config[key])})
		}
	}
	return all
}

// counted is what was added up, by the key of the limit.
type counted struct {
	sums    map[string]int64
	unknown map[string][]Violation
}

func count(o Objects) *counted {
	c := &counted{sums: map[string]int64{}, unknown: map[string][]Violation{}}
	for _, i := range o.Instances {
		c.instance(i, o.Sizes)
	}
	for _, v := range o.Volumes {
		c.volume(fmt.Sprintf("volume %q in pool %q", v.Name, v.Pool), v.Pool, v.Size, o.Sizes)
	}
	for _, n := range o.Networks {
		c.sums["limits.networks"]++
		if up := n.Config["network"]; up != "" {
			c.sums[uplinks4+up] += n.Addresses4
			c.sums[uplinks6+up] += n.Addresses6
		}
	}
	c.sums["limits.disk"] += o.Images
	return c
}

func (c *counted) instance(i Instance, sizes map[string]string) {
	object := fmt.Sprintf("instance %q", i.Name)
	c.sums["limits.instances"]++
	if i.VM {
		c.sums["limits.virtual-machines"]++
	} else {
		c.sums["limits.containers"]++
	}
	number := func(v string) (int64, error) { return strconv.ParseInt(v, 10, 64) }
	c.key(object, i.Config, sum{"limits.cpu", "a number of CPUs", number})
	c.key(object, i.Config, sum{"limits.memory", "an amount of memory", schema.ParseSize})
	if !i.VM {
		c.key(object, i.Config, sum{"limits.processes", "a number of processes", number})
	}
	for _, name := range slices.Sorted(maps.Keys(i.Devices)) {
		cfg := i.Devices[name]
		if cfg["type"] != "disk" || cfg["path"] != "/" || cfg["source"] != "" {
			continue
		}
		size := cfg["size"]
		if i.VM && size == "" && sizes[cfg["pool"]] == "" {
			size = strconv.Itoa(blockSize)
		}
		c.volume(fmt.Sprintf("%s, device %q", object, name), cfg["pool"], size, sizes)
	}
}

// sum is a key of instances whose values are added up.
type sum struct {
	key string
	// what its value has to be, and how that is read.
	what  string
	parse func(string) (int64, error)
}

// key adds what an instance may use. What it does not say cannot be held to a limit of the project.
func (c *counted) key(object string, config Config, of sum) {
	key, sort := of.key, of.what
	n, err := of.parse(config[key])
	if err == nil {
		c.sums[key] += n
		return
	}
	what := fmt.Sprintf("its %s is %s, not %s", key, config[key], sort)
	if config[key] == "" {
		what = "it has no " + key
	}
	c.unknown[key] = append(c.unknown[key], Violation{Key: key, Object: object, What: what,
		Do: fmt.Sprintf("the project limits the sum of these, so that each instance needs %s: set %s on it or in one of its profiles", sort, key)})
}

func (c *counted) volume(object, pool, size string, sizes map[string]string) {
	if size == "" {
		size = sizes[pool]
	}
	keys := []string{"limits.disk", perPool + pool}
	n, err := schema.ParseSize(size)
	for _, key := range keys {
		if err == nil && size != "" {
			c.sums[key] += n
			continue
		}
		c.unknown[key] = append(c.unknown[key], Violation{Key: key, Object: object, What: "it has no size",
			Do: fmt.Sprintf("the project has %s, so that each volume needs a size: set it, or volume.size of the pool", key)})
	}
}
