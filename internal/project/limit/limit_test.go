package limit_test

import (
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/project"
	"lxd/internal/project/limit"
)

type (
	cfg = limit.Config
	dev = limit.Devices
)

// ask is one thing that somebody wants in a restricted project, and the configuration that allows it.
type ask struct {
	config cfg
	device cfg
	vm     bool
	// key forbids it; "" is that nothing can allow it. allow are values with which it is fine.
	key   string
	allow cfg
}

func on(key, value string) cfg { return cfg{key: value} }

var asks = map[string]ask{
	"raw.lxc":          {config: on("raw.lxc", "lxc.x=y"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"raw.seccomp":      {config: on("raw.seccomp", "x"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"modules":          {config: on("linux.kernel_modules", "x"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"sysctl":           {config: on("linux.sysctl.kernel.panic", "1"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"rlimit":           {config: on("limits.kernel.nofile", "1"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"all calls":        {config: on("security.syscalls.deny_default", "false"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"unheard of":       {config: on("security.of.tomorrow", "1"), key: "restricted.containers.lowlevel", allow: on("restricted.containers.lowlevel", "allow")},
	"nesting":          {config: on("security.nesting", "yes"), key: "restricted.containers.nesting", allow: on("restricted.containers.nesting", "allow")},
	"privileged":       {config: on("security.privileged", "1"), key: "restricted.containers.privilege", allow: on("restricted.containers.privilege", "allow")},
	"mknod":            {config: on("security.syscalls.intercept.mknod", "true"), key: "restricted.containers.interception", allow: on("restricted.containers.interception", "allow")},
	"mount":            {config: on("security.syscalls.intercept.mount", "true"), key: "restricted.containers.interception", allow: on("restricted.containers.interception", "full")},
	"mount allowed":    {config: on("security.syscalls.intercept.mount.allowed", "ext4"), key: "restricted.containers.interception", allow: on("restricted.containers.interception", "full")},
	"raw.idmap users":  {config: on("raw.idmap", "uid 1000 0"), key: "restricted.idmap.uid", allow: on("restricted.idmap.uid", "5,900-1100")},
	"raw.idmap groups": {config: on("raw.idmap", "gid 1000-1003 0-3"), key: "restricted.idmap.gid", allow: on("restricted.idmap.gid", "1000-1003")},
	"raw.idmap both": {config: on("raw.idmap", "both 7 0"), key: "restricted.idmap.uid",
		allow: cfg{"restricted.idmap.uid": "7", "restricted.idmap.gid": "7"}},
	"raw.idmap nonsense": {config: on("raw.idmap", "everyone 7 0"), allow: nil},
	"raw.qemu":           {config: on("raw.qemu", "-x"), vm: true, key: "restricted.virtual-machines.lowlevel", allow: on("restricted.virtual-machines.lowlevel", "allow")},
	"host folder":        {device: cfg{"type": "disk", "source": "/srv", "path": "/x"}, key: "restricted.devices.disk", allow: on("restricted.devices.disk", "allow")},
	"host folder elsewhere": {device: cfg{"type": "disk", "source": "/srv/a/../../etc", "path": "/x"}, key: "restricted.devices.disk",
		allow: cfg{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/home,/etc"}},
	"host folder by a pool": {device: cfg{"type": "disk", "pool": "p", "source": "/etc", "path": "/x"}, key: "restricted.devices.disk",
		allow: on("restricted.devices.disk", "allow")},
	"nic on a bridge": {device: cfg{"type": "nic", "parent": "br0"}, key: "restricted.devices.nic", allow: on("restricted.devices.nic", "allow")},
	"nic with routes": {device: cfg{"type": "nic", "network": "n", "ipv4.routes": "10.1.0.0/24"}, key: "restricted.networks.subnets",
		allow: on("restricted.networks.subnets", "m:10.0.0.0/8,n:10.1.0.0/16")},
	"unheard of device": {device: cfg{"type": "tomorrow"}, allow: nil},
}

func init() { // one for each type that has a key of its own
	for _, kind := range []string{"gpu", "infiniband", "pci", "proxy", "unix-block", "unix-char", "unix-hotplug", "usb"} {
		key := "restricted.devices." + kind
		asks[kind] = ask{device: cfg{"type": kind}, key: key, allow: on(key, "allow")}
	}
}

func (a ask) objects() limit.Objects {
	i := limit.Instance{Name: "c1", VM: a.vm, Config: a.config, Devices: dev{}}
	if a.device != nil {
		i.Devices["d"] = a.device
	}
	return limit.Objects{Instances: []limit.Instance{i}}
}

// with is a restricted project's configuration.
func with(extra cfg) cfg {
	c := cfg{"restricted": "true"}
	for k, v := range extra {
		c[k] = v
	}
	return c
}

func TestDefaultDeny(t *testing.T) {
	for name, a := range asks {
		t.Run(name, func(t *testing.T) {
			all := limit.Judge(with(nil), a.objects())
			if len(all) == 0 || all[0].Key != a.key {
				t.Fatalf("%+v, not %s", all, a.key)
			}
			if err := limit.Refuse("p", all); !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), a.key) || !strings.Contains(err.Error(), "leave it out") {
				t.Error(err)
			}
			if all := limit.Judge(cfg{"restricted": "false"}, a.objects()); all != nil {
				t.Error("refused in a project that is not restricted:", all)
			}
			if a.allow != nil {
				if all := limit.Judge(with(a.allow), a.objects()); len(all) > 0 {
					t.Error("refused though allowed:", all)
				}
			}
			o := a.objects() // as a profile it is as bad, whatever kind of instance it is for
			o.Profiles, o.Instances = []limit.Profile{{Name: "x", Config: o.Instances[0].Config, Devices: o.Instances[0].Devices}}, nil
			if all := limit.Judge(with(nil), o); len(all) == 0 {
				t.Error("allowed in a profile")
			}
			o = a.objects()
			if o.Instances[0].Settled = true; limit.Judge(with(nil), o) != nil {
				t.Error("what did not change is judged")
			}
		})
	}
}

// TestEveryKeyIsThoughtAbout: each restriction of the table forbids something above or below.
func TestEveryKeyIsThoughtAbout(t *testing.T) {
	known := map[string]bool{"restricted": true}
	for _, a := range asks {
		known[a.key] = true
		for k := range a.allow {
			known[k] = true
		}
	}
	for _, k := range []string{"restricted.backups", "restricted.snapshots", "restricted.cluster.groups", "restricted.cluster.target",
		"restricted.networks.access", "restricted.networks.uplinks", "restricted.networks.zones"} { // the tests below
		known[k] = true
	}
	for _, k := range project.Keys.Keys() {
		if strings.HasPrefix(k.Name, "restricted") && !known[k.Name] {
			t.Errorf("no test has anything that %s forbids", k.Name)
		}
	}
}

// TestHarmless: what every user needs is allowed by default, and no key is so by mistake.
func TestHarmless(t *testing.T) {
	dangerous := []string{"raw.", "linux.", "security.privileged", "security.nesting", "security.syscalls.allow", "security.syscalls.intercept", "nvidia.",
		"security.idmap.base", "security.idmap.size", "limits.kernel.", "boot.host_shutdown_timeout", "security.delegate_bpf", "boot.debug_edk2"}
	for _, k := range config.Keys.Keys() {
		name := strings.NewReplacer("*", "x", "<name>", "x").Replace(k.Name)
		all := limit.Judge(with(nil), limit.Objects{Instances: []limit.Instance{{Name: "c1", Config: cfg{name: "1000"}, VM: k.Condition == config.VM}}})
		for _, d := range dangerous {
			if strings.HasPrefix(name, d) && len(all) == 0 && k.Condition != config.VM {
				t.Errorf("%s is allowed", name)
			}
		}
		for _, h := range []string{"user.", "limits.memory", "limits.cpu", "cloud-init.", "environment.", "boot.autostart", "snapshots.", "volatile.", "security.protection."} {
			if strings.HasPrefix(name, h) && !strings.HasPrefix(name, "limits.memory.hugepages") && len(all) > 0 {
				t.Errorf("%s is forbidden: %v", name, all)
			}
		}
	}
}

func TestAllowedDevices(t *testing.T) {
	for name, c := range map[string]struct {
		device, rules cfg
		ok            bool
	}{
		"root disk, disks blocked":  {cfg{"type": "disk", "path": "/", "pool": "p"}, on("restricted.devices.disk", "block"), true},
		"volume":                    {cfg{"type": "disk", "path": "/x", "pool": "p", "source": "v"}, nil, true},
		"volume, disks blocked":     {cfg{"type": "disk", "path": "/x", "pool": "p", "source": "v"}, on("restricted.devices.disk", "block"), false},
		"nic":                       {cfg{"type": "nic", "network": "n"}, nil, true},
		"nic, nics blocked":         {cfg{"type": "nic", "network": "n"}, on("restricted.devices.nic", "block"), false},
		"network not in the list":   {cfg{"type": "nic", "network": "n"}, on("restricted.networks.access", "a,b"), false},
		"network in the list":       {cfg{"type": "nic", "network": "n"}, on("restricted.networks.access", "a, n"), true},
		"parent not in the list":    {cfg{"type": "nic", "parent": "n"}, cfg{"restricted.networks.access": "a", "restricted.devices.nic": "allow"}, false},
		"folder":                    {cfg{"type": "disk", "path": "/x", "source": "/srv/a"}, cfg{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/srv/"}, true},
		"folder of a similar name":  {cfg{"type": "disk", "path": "/x", "source": "/srv2"}, cfg{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/srv"}, false},
		"folder by dots":            {cfg{"type": "disk", "path": "/x", "source": "/srv/../etc"}, cfg{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/srv"}, false},
		"something of a service":    {cfg{"type": "disk", "path": "/x", "source": "ceph:a/b"}, cfg{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/"}, false},
		"taken away":                {cfg{"type": "none"}, nil, true},
		"subnet larger than given":  {cfg{"type": "nic", "network": "n", "ipv6.routes": "fd00::/32"}, on("restricted.networks.subnets", "n:fd00::/48"), false},
		"subnet of another network": {cfg{"type": "nic", "network": "n", "ipv4.routes.external": "10.0.0.0/24"}, on("restricted.networks.subnets", "m:10.0.0.0/8"), false},
	} {
		all := limit.Judge(with(c.rules), ask{device: c.device}.objects())
		if (len(all) == 0) != c.ok {
			t.Errorf("%s: %v", name, all)
		}
	}
}

func TestIsolated(t *testing.T) {
	rules := with(on("restricted.containers.privilege", "isolated"))
	for _, c := range []struct {
		config cfg
		ok     bool
	}{{nil, false}, {on("security.idmap.isolated", "true"), true}, {cfg{"security.idmap.isolated": "true", "security.privileged": "true"}, false}} {
		if all := limit.Judge(rules, ask{config: c.config}.objects()); (len(all) == 0) != c.ok {
			t.Error(c.config, all)
		}
	}
}

func TestNetworks(t *testing.T) {
	for name, c := range map[string]struct {
		kind          string
		config, rules cfg
		ok            bool
	}{
		"plain":        {"bridge", cfg{"ipv4.address": "10.0.0.1/24", "ipv4.nat": "true", "ipv6.dhcp.stateful": "true", "user.x": "y"}, nil, true},
		"raw.dnsmasq":  {"bridge", on("raw.dnsmasq", "dhcp-script=/x"), nil, false},
		"host's wires": {"bridge", on("bridge.external_interfaces", "eth0"), nil, false},
		"tunnel":       {"bridge", on("tunnel.a.protocol", "gre"), nil, false},
		"physical":     {"physical", on("parent", "eth0"), nil, false},
		"uplink":       {"ovn", on("network", "up"), nil, false},
		"own uplink":   {"ovn", on("network", "up"), on("restricted.networks.uplinks", "up"), true},
		"zone":         {"bridge", on("dns.zone.forward", "a.example"), nil, false},
		"own zone":     {"bridge", on("dns.zone.forward", "a.example,example"), on("restricted.networks.zones", "example"), true},
		"like a zone":  {"bridge", on("dns.zone.forward", "badexample"), on("restricted.networks.zones", "example"), false},
		"routes":       {"ovn", cfg{"network": "up", "ipv4.routes": "10.0.0.0/24"}, on("restricted.networks.uplinks", "up"), false},
		"nat address": {"ovn", cfg{"network": "up", "ipv6.nat.address": "fd00::1"},
			cfg{"restricted.networks.uplinks": "up", "restricted.networks.subnets": "up:fd00::/64"}, true},
	} {
		o := limit.Objects{Networks: []limit.Network{{Name: "n", Type: c.kind, Config: c.config}}}
		if all := limit.Judge(with(c.rules), o); (len(all) == 0) != c.ok {
			t.Errorf("%s: %v", name, all)
		}
	}
}

func TestSnapshotsAndBackups(t *testing.T) {
	o := limit.Objects{Snapshots: []string{"c1/s"}, Backups: []string{"c1/b"}}
	if all := limit.Judge(with(nil), o); len(all) != 2 || all[0].Key != "restricted.snapshots" || all[1].Key != "restricted.backups" {
		t.Error(all)
	}
	if all := limit.Judge(with(cfg{"restricted.snapshots": "allow", "restricted.backups": "allow"}), o); all != nil {
		t.Error(all)
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		target string
		rules  cfg
		key    string
	}{
		{"", nil, ""}, {"m1", nil, "restricted.cluster.target"}, {"m1", on("restricted.cluster.target", "allow"), ""},
		{"@g", nil, ""}, {"@g", on("restricted.cluster.groups", "h"), "restricted.cluster.groups"}, {"@g", on("restricted.cluster.groups", "h,g"), ""},
	} {
		all := limit.Target(with(c.rules), c.target)
		if c.key == "" && all != nil || c.key != "" && (len(all) != 1 || all[0].Key != c.key) {
			t.Error(c, all)
		}
		if limit.Target(nil, c.target) != nil {
			t.Error("refused in a project that is not restricted", c)
		}
	}
}
