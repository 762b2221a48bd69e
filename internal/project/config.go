package project

import (
	"lxd/internal/host/archive"
	"lxd/internal/schema"
)

var (
	allowBlock  = schema.OneOf("allow", "block")
	managed     = schema.OneOf("allow", "block", "managed")
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
		later("limits.containers", schema.Integer, "Largest number of containers"),
		later("limits.cpu", schema.Integer, "Largest sum of the CPUs of the instances"),
		later("limits.disk", schema.Size, "Largest sum of the sizes of all volumes"),
		later("limits.disk.pool.*", schema.Size, "Largest sum of the sizes of the volumes in one pool"),
		later("limits.instances", schema.Integer, "Largest number of instances"),
		later("limits.memory", schema.Size, "Largest sum of the memory limits of the instances"),
		later("limits.networks", schema.Integer, "Largest number of networks"),
		later("limits.networks.uplink_ips.ipv4.*", schema.Integer, "Largest number of IPv4 addresses from one uplink network"),
		later("limits.networks.uplink_ips.ipv6.*", schema.Integer, "Largest number of IPv6 addresses from one uplink network"),
		later("limits.processes", schema.Integer, "Largest sum of the process limits of the instances"),
		later("limits.virtual-machines", schema.Integer, "Largest number of virtual machines"),
	}
}

func restrictions() []schema.Key {
	keys := []schema.Key{
		later("restricted", schema.Bool, "Whether to refuse what is not explicitly allowed"),
		later("restricted.cluster.groups", schema.Strings, "Cluster groups that instances may be placed on"),
		later("restricted.containers.interception", schema.OneOf("allow", "block", "full"), "Whether system call interception may be used"),
		later("restricted.containers.privilege", schema.OneOf("unprivileged", "isolated", "allow"), "Which containers may be privileged"),
		later("restricted.devices.disk", managed, "Which disk devices may be used"),
		later("restricted.devices.disk.paths", schema.Strings, "Host paths that disk devices may use"),
		later("restricted.devices.nic", managed, "Which network devices may be used"),
		later("restricted.idmap.gid", schema.String, "Host group ids that may be mapped"),
		later("restricted.idmap.uid", schema.String, "Host user ids that may be mapped"),
		later("restricted.networks.access", schema.Strings, "Networks that may be used"),
		later("restricted.networks.subnets", schema.Strings, "Subnets of uplink networks that may be used"),
		later("restricted.networks.uplinks", schema.Strings, "Networks that may serve as uplink"),
		later("restricted.networks.zones", schema.Strings, "Network zones that may be used"),
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
		keys = append(keys, later("restricted."+k.name, allowBlock, "Whether "+k.what))
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

// later is a key that promises to hold something back. Until the server does hold it back, setting it is refused.
func later(name string, t schema.Type, short string) schema.Key {
	k := schema.Key{Name: name, Type: t, Later: true, Short: short}
	if t.Name == schema.Bool.Name {
		k.Default = "false"
	}
	return k
}
