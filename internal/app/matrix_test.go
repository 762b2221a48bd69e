package app_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"lxd/internal/project"
)

// way does what the rules of project p forbid, and returns why it was refused.
type way func(t *testing.T, d *daemon) string

// matter is something other than configuration and devices that projects limit or forbid: every way to it.
type matter struct {
	key   string
	rules keys
	ways  map[string]way
}

// picture is an image.
func picture(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range map[string]string{"metadata.yaml": "architecture: x86_64\ncreation_date: 1700000000\n", "rootfs/x": "x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	stream  = "Accept:application/octet-stream"
	volumes = "/1.0/storage-pools/pool/volumes/custom"
)

func unpacked(format string) object { return object{"name": "b", "compression_algorithm": format} }

// one more instance.
var more = map[string]way{
	"create": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", "/1.0/instances?project=p", wish{}.instance("i"))
	},
	"copy within": func(t *testing.T, d *daemon) string { return copied(t, d, "have", "p") },
	"copy": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", "/1.0/instances?project=free", wish{}.instance("i"))
		return copied(t, d, "i", "free")
	},
	"move":               func(t *testing.T, d *daemon) string { return ways["move"](t, d, wish{}) },
	"import":             func(t *testing.T, d *daemon) string { return ways["import"](t, d, wish{}) },
	"copy of a snapshot": func(t *testing.T, d *daemon) string { return ways["copy of a snapshot"](t, d, wish{}) },
}

func copied(t *testing.T, d *daemon, from, proj string) string {
	in := wish{}.instance("i")
	in["source"] = object{"type": "copy", "source": from, "project": proj}
	return d.ask(t, "POST", "/1.0/instances?project=p", in)
}

// bytes are ways to have more of a pool.
var room = map[string]way{
	"volume":      func(t *testing.T, d *daemon) string { return d.ask(t, "POST", volumes+"?project=p", big("v")) },
	"grow":        func(t *testing.T, d *daemon) string { return d.ask(t, "PATCH", volumes+"/data?project=p", big("")) },
	"grow by put": func(t *testing.T, d *daemon) string { return d.ask(t, "PUT", volumes+"/data?project=p", big("")) },
	"instance": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", "/1.0/instances?project=p", bigRoot().instance("i"))
	},
	"root of another size": func(t *testing.T, d *daemon) string {
		return d.ask(t, "PATCH", "/1.0/instances/have?project=p", object{"devices": bigRoot().devices})
	},
	"profile": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", "/1.0/profiles?project=p", object{"name": "x", "devices": wish{}.all()})
		d.must(t, "POST", "/1.0/instances?project=p", object{"name": "i", "source": object{"type": "none"}, "profiles": []string{"x"}})
		return d.ask(t, "PUT", "/1.0/profiles/x?project=p", object{"devices": bigRoot().devices})
	},
	"copy": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"?project=free", big("v"))
		return d.ask(t, "POST", volumes+"?project=p", object{"name": "v", "source": object{"type": "copy", "pool": "pool", "name": "v", "project": "free"}})
	},
	"move": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"?project=free", big("v"))
		return d.ask(t, "POST", volumes+"/v?project=free", object{"name": "v", "pool": "pool", "project": "p"})
	},
	"import": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"?project=free", big("v"))
		b := archived(t, d, "v")
		return d.ask(t, "POST", volumes+"?project=p", b, "X-LXD-name:v", "X-LXD-type:backup")
	},
	"instance of elsewhere": func(t *testing.T, d *daemon) string { return ways["move"](t, d, bigRoot()) },
	"backup of an instance": func(t *testing.T, d *daemon) string { return ways["import"](t, d, bigRoot()) },
}

func big(name string) object { return object{"name": name, "config": keys{"size": "1GiB"}} }

func bigRoot() wish {
	return wish{devices: map[string]keys{"root": {"type": "disk", "path": "/", "pool": "pool", "size": "1GiB"}}}
}

// pictures are ways to have another image.
var pictures = map[string]way{
	"upload": func(t *testing.T, d *daemon) string { return d.ask(t, "POST", "/1.0/images?project=p", picture(t)) },
	"copy": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", "/1.0/images?project=free", picture(t))
		d.must(t, "POST", "/1.0/images/aliases?project=free", object{"name": "a", "target": fingerprintOf(t, d)})
		return d.ask(t, "POST", "/1.0/images?project=p", object{"source": object{"type": "image", "mode": "pull", "alias": "a", "project": "free"}})
	},
	"publish": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", "/1.0/images?project=p", object{"source": object{"type": "instance", "name": "have"}})
	},
}

func fingerprintOf(t *testing.T, d *daemon) string {
	t.Helper()
	_, rest, found := strings.Cut(string(d.fetch(t, "GET", "/1.0/images?project=free", nil)), "/1.0/images/")
	if !found || len(rest) < 64 {
		t.Fatal("no image")
	}
	return rest[:64]
}

// shots are ways to have a snapshot.
var shots = map[string]way{
	"instance": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", "/1.0/instances/have/snapshots?project=p", object{"name": "s"})
	},
	"volume": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", volumes+"/data/snapshots?project=p", object{"name": "s"})
	},
	"copy": func(t *testing.T, d *daemon) string { snapped(t, d); return copied(t, d, "i", "free") },
	"move": func(t *testing.T, d *daemon) string {
		snapped(t, d)
		return d.ask(t, "POST", "/1.0/instances/i?project=free", object{"name": "i", "project": "p", "migration": true})
	},
	"import": func(t *testing.T, d *daemon) string {
		snapped(t, d)
		return d.ask(t, "POST", "/1.0/instances?project=p", d.fetch(t, "POST", "/1.0/instances/i/backups?project=free", unpacked("none"), stream))
	},
	"copy of a volume": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"/data/snapshots?project=free", object{"name": "s"})
		return d.ask(t, "POST", volumes+"?project=p", object{"name": "v", "source": object{"type": "copy", "pool": "pool", "name": "data", "project": "free"}})
	},
	"move of a volume": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"?project=free", object{"name": "v"})
		d.must(t, "POST", volumes+"/v/snapshots?project=free", object{"name": "s"})
		return d.ask(t, "POST", volumes+"/v?project=free", object{"name": "v", "pool": "pool", "project": "p"})
	},
	"import of a volume": func(t *testing.T, d *daemon) string {
		d.must(t, "POST", volumes+"/data/snapshots?project=free", object{"name": "s"})
		b := archived(t, d, "data")
		return d.ask(t, "POST", volumes+"?project=p", b, "X-LXD-name:v", "X-LXD-type:backup")
	},
}

func snapped(t *testing.T, d *daemon) {
	t.Helper()
	d.must(t, "POST", "/1.0/instances?project=free", wish{}.instance("i"))
	d.must(t, "POST", "/1.0/instances/i/snapshots?project=free", object{"name": "s"})
}

// copies are ways to take something out of a project.
var archives = map[string]way{
	"instance": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", "/1.0/instances/have/backups?project=p", unpacked("none"))
	},
	"instance, not kept": func(t *testing.T, d *daemon) string {
		b := d.fetch(t, "POST", "/1.0/instances/have/backups?project=p", unpacked("none"), stream)
		if bytes.HasPrefix(b, []byte("{")) {
			return string(b)
		}
		return ""
	},
	"volume": func(t *testing.T, d *daemon) string {
		return d.ask(t, "POST", volumes+"/data/backups?project=p", unpacked("none"))
	},
}

// archived is a backup of a volume of project free.
func archived(t *testing.T, d *daemon, name string) []byte {
	t.Helper()
	d.must(t, "POST", volumes+"/"+name+"/backups?project=free", unpacked("none"))
	return d.fetch(t, "GET", volumes+"/"+name+"/backups/b/export?project=free", nil)
}

func matters() map[string]matter {
	return map[string]matter{
		"instances":        {"limits.instances", keys{"limits.instances": "1"}, more},
		"containers":       {"limits.containers", keys{"limits.containers": "1"}, more},
		"space":            {"limits.disk", keys{"limits.disk": "512MiB"}, room},
		"space of a pool":  {"limits.disk.pool.pool", keys{"limits.disk.pool.pool": "512MiB"}, room},
		"space for images": {"limits.disk", keys{"limits.disk": "32MiB"}, pictures}, // what the volumes of the project have
		"snapshots":        {"restricted.snapshots", restrictedRules, shots},
		"backups":          {"restricted.backups", restrictedRules, archives},
	}
}

// TestMatters: the same as TestRestricted, for what is not configuration of an instance. Without the rules each way is open.
func TestMatters(t *testing.T) {
	for what, m := range matters() {
		for how, try := range m.ways {
			t.Run(fmt.Sprintf("%s/%s", what, how), func(t *testing.T) {
				t.Parallel()
				if why := try(t, wish{rules: m.rules}.prepare(t)); !strings.Contains(why, m.key) || !strings.Contains(why, "does not allow") {
					t.Errorf("not refused by %s: %q", m.key, why)
				}
				if why := try(t, wish{rules: keys{}}.prepare(t)); why != "" {
					t.Errorf("it does not work without %s either: %q", m.key, why)
				}
			})
		}
	}
}

// TestNetworksOfProjects: only the default project can have networks of the types that there are, and is held to its rules as well.
func TestNetworksOfProjects(t *testing.T) {
	none := keys{"ipv4.address": "none", "ipv6.address": "none"}
	for _, c := range []struct {
		key   string
		rules keys
		way   string
	}{
		{"limits.networks", keys{"limits.networks": "2"}, "create"},
		{"restricted.networks.subnets", restrictedRules, "create"}, {"restricted.networks.subnets", restrictedRules, "patch"},
	} {
		for _, ruled := range []bool{true, false} {
			d := wish{rules: keys{}}.prepare(t)
			routed := keys{"ipv4.address": "none", "ipv6.address": "none", "ipv4.routes": "10.9.0.0/24"}
			if ruled {
				d.must(t, "PATCH", "/1.0/projects/default", object{"config": c.rules})
			}
			var why string
			if c.way == "create" {
				why = d.ask(t, "POST", "/1.0/networks", object{"name": "mine", "config": routed})
			} else {
				why = d.ask(t, "PATCH", "/1.0/networks/net1", object{"config": routed})
			}
			if ruled != (strings.Contains(why, c.key) && strings.Contains(why, "does not allow")) || !ruled && why != "" {
				t.Errorf("%s by %s, ruled %t: %q", c.key, c.way, ruled, why)
			}
		}
	}
	d := wish{rules: keys{"features.networks": "true"}}.prepare(t)
	if why := d.ask(t, "POST", "/1.0/networks?project=p", object{"name": "mine", "config": none}); !strings.Contains(why, "default project") {
		t.Error(why)
	}
}

// elsewhere says why a key is in neither list: what it is about cannot be asked of this server, whatever the project says, or it is
// proven in another place. The rules for all of them are tried in internal/project/limit.
var elsewhere = map[string]string{
	"restricted":                           "it is what makes the others count",
	"limits.networks.uplink_ips.ipv4.*":    "no type of network has an uplink yet",
	"limits.networks.uplink_ips.ipv6.*":    "no type of network has an uplink yet",
	"restricted.networks.uplinks":          "no type of network has an uplink yet",
	"restricted.networks.zones":            "there are no network zones yet: their keys are refused",
	"limits.virtual-machines":              "there are no virtual machines yet",
	"restricted.virtual-machines.lowlevel": "there are no virtual machines yet",
	"restricted.cluster.groups":            "the server is not clustered: every target is refused",
	"restricted.cluster.target":            "the server is not clustered: every target is refused",
	"restricted.containers.interception":   "system calls are not intercepted yet: the keys are refused",
	"restricted.devices.gpu":               "there are no such devices yet",
	"restricted.devices.infiniband":        "there are no such devices yet",
	"restricted.devices.pci":               "there are no such devices yet",
	"restricted.devices.usb":               "there are no such devices yet",
	"restricted.devices.unix-hotplug":      "there are no such devices yet",
	"restricted.idmap.uid":                 "which ids can be asked for at all depends on the host; they are a key of instances like any other",
	"restricted.idmap.gid":                 "which ids can be asked for at all depends on the host; they are a key of instances like any other",
}

// TestEveryKeyIsTried: every limit and restriction of projects is in one of the lists, and what is said to be impossible is.
func TestEveryKeyIsTried(t *testing.T) {
	tried := map[string]bool{"limits.networks": true}
	for _, w := range wishes("/") {
		tried[w.key] = true
	}
	for _, m := range matters() {
		tried[m.key] = true
		if k, ok := project.Keys.Lookup(m.key); ok {
			tried[k.Name] = true
		}
	}
	for _, k := range project.Keys.Keys() {
		if !strings.HasPrefix(k.Name, "limits.") && !strings.HasPrefix(k.Name, "restricted") {
			continue
		}
		if tried[k.Name] == (elsewhere[k.Name] != "") {
			t.Errorf("%s: tried %t, explained %q", k.Name, tried[k.Name], elsewhere[k.Name])
		}
	}
	d := wish{rules: keys{}}.prepare(t)
	for _, kind := range []string{"gpu", "infiniband", "pci", "usb", "unix-hotplug"} {
		w := wish{devices: device(keys{"type": kind})}
		if why := d.ask(t, "POST", "/1.0/instances?project=p", w.instance("i")); !strings.Contains(why, "not supported") {
			t.Errorf("%s: %q", kind, why)
		}
	}
	for _, key := range []string{"security.syscalls.intercept.mknod", "security.syscalls.intercept.mount"} {
		w := wish{config: keys{key: "true"}}
		if why := d.ask(t, "POST", "/1.0/instances?project=p", w.instance("i")); !strings.Contains(why, "not supported") {
			t.Errorf("%s: %q", key, why)
		}
	}
	for _, target := range []string{"m1", "@g1"} {
		if why := d.ask(t, "POST", "/1.0/instances?project=p&target="+target, wish{}.instance("i")); why == "" {
			t.Errorf("target %s is not refused", target)
		}
	}
	vm := wish{}.instance("i")
	vm["type"] = "virtual-machine"
	if why := d.ask(t, "POST", "/1.0/instances?project=p", vm); why == "" {
		t.Error("virtual machines can be made: try their keys too")
	}
}
