package project

import (
	"math"

	"lxd/internal/host/archive"
	"lxd/internal/schema"
)

var (
	allowBlock  = schema.OneOf("allow", "block")
	managed     = schema.OneOf("allow", "block", "managed")
	count       = schema.Between(0, math.MaxInt64)
	compression = schema.Type{Name: "string", OK: func(s string) error { _, err := archive.ParseCompression(s); return err }}
)

// Keys are the configuration keys of projects.
var Keys = schema.New("project", append(append(features(), limits()...), append(restrictions(), specific()...)...)...)

func features() []schema.Key {
	var keys []schema.Key
	for _, f := range []struct{ name, what string }{
		{string(Images), "images"}, {string(Networks), "networks"}, {string(Zones), "network zones"},
		{string(Profiles), "profiles"}, {string(Buckets), "storage buckets"}, {string(Volumes), "custom storage volumes"},
	} {
		keys = append(keys, schema.Key{Name: f.name, Type: schema.Bool, Default: "false",
			Short: "Whether the project has its own " + f.what + " rather than those of the default project"})
	}
	return keys
}

func limits() []schema.Key {
	return []schema.Key{
		{Name: "limits.containers", Type: count, Short: "Largest number of containers"},
		{Name: "limits.cpu", Type: count, Short: "Largest sum of the CPUs of the instances, each of which must have limits.cpu then"},
		{Name: "limits.disk", Type: schema.Size, Short: "Largest sum of the sizes of all volumes and images; each volume must have a size then"},
		{Name: "limits.disk.pool.*", Type: schema.Size, Short: "Largest sum of the sizes of the volumes in one pool"},
		{Name: "limits.instances", Type: count, Short: "Largest number of instances"},
		{Name: "limits.memory", Type: schema.Size, Short: "Largest sum of the memory of the instances, each of which must have limits.memory then"},
		{Name: "limits.networks", Type: count, Short: "Largest number of networks"},
		{Name: "limits.networks.uplink_ips.ipv4.*", Type: count, Short: "Largest number of IPv4 addresses from one uplink network"},
		{Name: "limits.networks.uplink_ips.ipv6.*", Type: count, Short: "Largest number of IPv6 addresses from one uplink network"},
		{Name: "limits.processes", Type: count, Short: "Largest sum of the processes of the instances, each of which must have limits.processes then"},
		{Name: "limits.virtual-machines", Type: count, Short: "Largest number of virtual machines"},
	}
}

func restrictions() []schema.Key {
	keys := []schema.Key{
		{Name: "restricted", Type: schema.Bool, Default: "false", Short: "Whether to refuse what is not explicitly allowed"},
		{Name: "restricted.cluster.groups", Type: schema.Strings, Short: "Cluster groups that instances may be placed on; unset is all"},
		{Name: "restricted.containers.interception", Type: schema.OneOf("allow", "block", "full"), Default: "block",
			Short: "Whether system calls may be intercepted: those that give no power over the host, none, or all"},
		{Name: "restricted.containers.privilege", Type: schema.OneOf("unprivileged", "isolated", "allow"), Default: "unprivileged",
			Short: "Whether containers may be privileged, or even have to have host ids of their own"},
		{Name: "restricted.devices.disk", Type: managed, Default: "managed", Short: "Whether disks may be more than root disks: those of pools, or all"},
		{Name: "restricted.devices.disk.paths", Type: schema.Strings, Short: "Folders of the host that disks may show if all disks are allowed; unset is all"},
		{Name: "restricted.devices.nic", Type: managed, Default: "managed", Short: "Whether there may be network interfaces: those on managed networks, or all"},
		{Name: "restricted.idmap.gid", Type: schema.Strings, Check: checkIDs, Short: "Host group ids that raw.idmap may map"},
		{Name: "restricted.idmap.uid", Type: schema.Strings, Check: checkIDs, Short: "Host user ids that raw.idmap may map"},
		{Name: "restricted.networks.access", Type: schema.Strings, Short: "Networks that may be used; unset is all"},
		{Name: "restricted.networks.subnets", Type: schema.Strings, Default: "block", Short: "Subnets of uplink networks that may be used, as NETWORK:SUBNET"},
		{Name: "restricted.networks.uplinks", Type: schema.Strings, Default: "block", Short: "Networks that may serve as uplink"},
		{Name: "restricted.networks.zones", Type: schema.Strings, Default: "block", Short: "Network zones that may be used, with all below them"},
	}
	for _, k := range []struct{ name, what string }{
		{"backups", "backups may be made"}, {"cluster.target", "instances may be placed on a chosen member"},
		{"containers.lowlevel", "low-level container options may be used"}, {"containers.nesting", "containers may run containers"},
		{"devices.gpu", "GPU devices may be used"}, {"devices.infiniband", "InfiniBand devices may be used"},
		{"devices.pci", "PCI devices may be used"}, {"devices.proxy", "proxy devices may be used"},
		{"devices.unix-block", "block devices may be passed in"}, {"devices.unix-char", "character devices may be passed in"},
		{"devices.unix-hotplug", "hot-plugged devices may be passed in"}, {"devices.usb", "USB devices may be passed in"},
		{"snapshots", "snapshots may be made"}, {"virtual-machines.lowlevel", "low-level virtual machine options may be used"},
	} {
		keys = append(keys, schema.Key{Name: "restricted." + k.name, Type: allowBlock, Default: "block", Short: "Whether " + k.what})
	}
	return keys
}

func specific() []schema.Key {
	return []schema.Key{
		{Name: "backups.compression_algorithm", Type: compression, Short: "How backups are compressed"},
		{Name: "images.auto_update_cached", Type: schema.Bool, Short: "Whether cached images are kept up to date"},
		{Name: "images.auto_update_interval", Type: schema.Integer, Short: "Hours between looks for newer cached images"},
		{Name: "images.compression_algorithm", Type: compression, Short: "How new images are compressed"},
		{Name: "images.default_architecture", Type: schema.String, Short: "Architecture to choose when a request names none"},
		{Name: "images.remote_cache_expiry", Type: schema.Integer, Short: "Days after which an unused cached image is removed"},
		{Name: "user.*", Type: schema.Blob, Short: "Free-form key of the user"},
	}
}
