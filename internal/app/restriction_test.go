package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/app"
	"lxd/internal/store"
)

// daemon is a whole one on fakes.
type daemon struct {
	client *http.Client
	// handler is the API, for callers of all sorts.
	handler http.Handler
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	d := &daemon{}
	a, err := app.Open(t.Context(), app.Options{Dir: filepath.Join(dir, "lxd"), Socket: socket, Backends: fakes,
		Around: func(h http.Handler) http.Handler { d.handler = h; return h },
		Store:  func(_ string, o store.Options) (store.Store, error) { return store.NewMem(o), nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	d.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	return d
}

// ask sends a request and returns why it, or the work that it began, failed; "" if it did not.
func (d *daemon) ask(t *testing.T, method, path string, body any, header ...string) string {
	t.Helper()
	answer := d.send(t, method, path, body, header...)
	if answer.Type == "async" {
		answer = d.send(t, "GET", answer.Operation+"/wait", nil) // the failure of the work fails the wait for it
	}
	return answer.Error
}

type answer struct{ Type, Operation, Error string }

func (d *daemon) send(t *testing.T, method, path string, body any, header ...string) (a answer) {
	t.Helper()
	if err := json.Unmarshal(d.fetch(t, method, path, body, header...), &a); err != nil {
		t.Fatal(method, path, err)
	}
	return a
}

// fetch sends a request and returns the body of the answer. What is sent is JSON, or bytes as they are.
func (d *daemon) fetch(t *testing.T, method, path string, body any, header ...string) []byte {
	t.Helper()
	sent, raw := body.([]byte)
	if !raw && body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://lxd"+path, bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	if raw {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	for _, h := range header {
		name, v, _ := strings.Cut(h, ":")
		req.Header.Set(name, v)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// must fails the test if the request does.
func (d *daemon) must(t *testing.T, method, path string, body any) {
	t.Helper()
	if why := d.ask(t, method, path, body); why != "" {
		t.Fatal(method, path, why)
	}
}

type (
	object = map[string]any
	keys   = map[string]string
)

// wish is something that a project forbids of an instance or profile: a configuration or a device.
type wish struct {
	// key forbids it, in a project with those rules; nil is one that is restricted, and says nothing else.
	key     string
	rules   keys
	config  keys
	devices map[string]keys
	// base is what the rules want all instances to have.
	base keys
	// sum says that a profile by itself does nothing: what counts is what instances have.
	sum bool
}

var restrictedRules = keys{"restricted": "true"}

func device(d keys) map[string]keys { return map[string]keys{"d": d} }

// ruled are rules of a restricted project.
func ruled(more keys) keys {
	all := keys{"restricted": "true"}
	maps.Copy(all, more)
	return all
}

func wishes(dir string) map[string]wish {
	sum := func(key, limit, one, much string) wish {
		return wish{key: key, rules: keys{key: limit}, config: keys{key: much}, base: keys{key: one}, sum: true}
	}
	nic := func(more keys) map[string]keys {
		d := keys{"type": "nic", "nictype": "bridged", "parent": "net1"}
		maps.Copy(d, more)
		return device(d)
	}
	return map[string]wish{
		"low-level":  {key: "restricted.containers.lowlevel", config: keys{"raw.lxc": "lxc.environment = A=b"}},
		"sysctl":     {key: "restricted.containers.lowlevel", config: keys{"linux.sysctl.net.ipv4.ip_forward": "1"}},
		"nesting":    {key: "restricted.containers.nesting", config: keys{"security.nesting": "true"}},
		"privileged": {key: "restricted.containers.privilege", config: keys{"security.privileged": "true"}},
		"not isolated": {key: "restricted.containers.privilege", rules: ruled(keys{"restricted.containers.privilege": "isolated"}),
			config: keys{"security.idmap.isolated": "false"}, base: keys{"security.idmap.isolated": "true"}, sum: true},
		"folder": {key: "restricted.devices.disk", devices: device(keys{"type": "disk", "source": dir, "path": "/x"})},
		"volume": {key: "restricted.devices.disk", rules: ruled(keys{"restricted.devices.disk": "block"}),
			devices: device(keys{"type": "disk", "pool": "pool", "source": "data", "path": "/x"})},
		"other folder": {key: "restricted.devices.disk.paths", rules: ruled(keys{"restricted.devices.disk": "allow", "restricted.devices.disk.paths": "/srv"}),
			devices: device(keys{"type": "disk", "source": dir, "path": "/x"})},
		"nic":       {key: "restricted.devices.nic", devices: device(keys{"type": "nic", "nictype": "p2p"})},
		"any nic":   {key: "restricted.devices.nic", rules: ruled(keys{"restricted.devices.nic": "block"}), devices: device(keys{"type": "nic", "network": "net1"})},
		"other net": {key: "restricted.networks.access", rules: ruled(keys{"restricted.networks.access": "net2"}), devices: device(keys{"type": "nic", "network": "net1"})},
		"routes": {key: "restricted.networks.subnets", rules: ruled(keys{"restricted.devices.nic": "allow"}),
			devices: nic(keys{"ipv4.routes": "10.9.0.0/24"})},
		"proxy":      {key: "restricted.devices.proxy", devices: device(keys{"type": "proxy", "listen": "tcp:127.0.0.1:1", "connect": "tcp:127.0.0.1:2"})},
		"unix-char":  {key: "restricted.devices.unix-char", devices: device(keys{"type": "unix-char", "source": "/dev/null", "path": "/dev/n"})},
		"unix-block": {key: "restricted.devices.unix-block", devices: device(keys{"type": "unix-block", "source": "/dev/loop0", "path": "/dev/n", "required": "false"})},
		"cpus":       sum("limits.cpu", "4", "1", "5"),
		"memory":     sum("limits.memory", "1GiB", "64MiB", "2GiB"),
		"processes":  sum("limits.processes", "500", "100", "600"),
	}
}

// project is the configuration of a project with the rules that forbid it.
func (w wish) project() keys {
	if w.rules == nil {
		return restrictedRules
	}
	return w.rules
}

// all are the devices of an instance that has it.
func (w wish) all() map[string]keys {
	all := map[string]keys{"root": {"type": "disk", "path": "/", "pool": "pool"}}
	for name, d := range w.devices {
		all[name] = d
	}
	return all
}

// own is the configuration of an instance that has it.
func (w wish) own() keys {
	all := maps.Clone(w.base)
	if all == nil {
		all = keys{}
	}
	maps.Copy(all, w.config)
	return all
}

// instance is a request for one.
func (w wish) instance(name string) object {
	return object{"name": name, "source": object{"type": "none"}, "config": w.own(), "devices": w.all(), "profiles": []string{}}
}

// plain is an instance that the rules allow.
func (w wish) plain(name string) object { return wish{config: w.base}.instance(name) }

// ways are all the ways in which an instance, or a profile that it has, can become something else. Each is tried in project p, which
// is restricted, with project free beside it; lift and restrict change p.
var ways = map[string]func(t *testing.T, d *daemon, w wish) string{
	"create": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "POST", "/1.0/instances?project=p", w.instance("i"))
	},
	"put": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "PUT", "/1.0/instances/have?project=p", object{"config": w.own(), "devices": w.all(), "profiles": []string{}})
	},
	"patch": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "PATCH", "/1.0/instances/have?project=p", object{"config": w.config, "devices": w.devices})
	},
	"hot-plug": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "PUT", "/1.0/instances/have/state?project=p", object{"action": "start"})
		defer d.must(t, "PUT", "/1.0/instances/have/state?project=p", object{"action": "stop", "force": true})
		return d.ask(t, "PATCH", "/1.0/instances/have?project=p", object{"config": w.config, "devices": w.devices})
	},
	"copy": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/instances?project=free", w.instance("i"))
		in := w.instance("i")
		in["source"] = object{"type": "copy", "source": "i", "project": "free"}
		return d.ask(t, "POST", "/1.0/instances?project=p", in)
	},
	"move": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/instances?project=free", w.instance("i"))
		return d.ask(t, "POST", "/1.0/instances/i?project=free", object{"name": "i", "project": "p", "migration": true})
	},
	"new profile": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "POST", "/1.0/profiles?project=p", object{"name": "x", "config": w.config, "devices": w.devices})
	},
	"profile in use": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/profiles?project=p", object{"name": "x", "config": w.base})
		d.must(t, "PUT", "/1.0/instances/have?project=p", object{"profiles": []string{"x"}, "devices": w.plain("")["devices"]})
		return d.ask(t, "PUT", "/1.0/profiles/x?project=p", object{"config": w.own(), "devices": w.devices})
	},
	"profile of the default project": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/profiles", object{"name": "x"})
		w.sharing(t, d)
		in := w.plain("i")
		in["profiles"], in["config"] = []string{"x"}, keys{}
		d.must(t, "PUT", "/1.0/profiles/x", object{"config": w.base})
		d.must(t, "POST", "/1.0/instances?project=q", in)
		return d.ask(t, "PUT", "/1.0/profiles/x", object{"config": w.own(), "devices": w.devices})
	},
	"assign profile": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/profiles", object{"name": "x", "config": w.config, "devices": w.devices})
		w.sharing(t, d)
		d.must(t, "POST", "/1.0/instances?project=q", w.plain("i"))
		left := keys{} // the instance's own values hide those of a profile
		for k := range w.config {
			left[k] = ""
		}
		return d.ask(t, "PATCH", "/1.0/instances/i?project=q", object{"profiles": []string{"x"}, "config": left})
	},
	"restore": func(t *testing.T, d *daemon, w wish) string {
		w.lift(t, d)
		d.must(t, "POST", "/1.0/instances?project=p", w.instance("i"))
		d.must(t, "POST", "/1.0/instances/i/snapshots?project=p", object{"name": "s"})
		d.must(t, "PUT", "/1.0/instances/i?project=p", object{"config": w.base, "devices": w.plain("")["devices"], "profiles": []string{}})
		d.must(t, "PATCH", "/1.0/projects/p", object{"config": w.project()})
		return d.ask(t, "PUT", "/1.0/instances/i?project=p", object{"restore": "s"})
	},
	"copy of a snapshot": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/instances?project=free", w.instance("i"))
		d.must(t, "POST", "/1.0/instances/i/snapshots?project=free", object{"name": "s"})
		in := w.instance("i")
		in["source"] = object{"type": "copy", "source": "i/s", "project": "free"}
		return d.ask(t, "POST", "/1.0/instances?project=p", in)
	},
	"copy within": func(t *testing.T, d *daemon, w wish) string {
		in := w.instance("i")
		in["source"] = object{"type": "copy", "source": "have"}
		return d.ask(t, "POST", "/1.0/instances?project=p", in)
	},
	"import": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/instances?project=free", w.instance("i"))
		b := d.fetch(t, "POST", "/1.0/instances/i/backups?project=free", object{"compression_algorithm": "none"}, "Accept:application/octet-stream")
		return d.ask(t, "POST", "/1.0/instances?project=p", b)
	},
	"restrict": func(t *testing.T, d *daemon, w wish) string {
		w.lift(t, d)
		d.must(t, "POST", "/1.0/instances?project=p", w.instance("i"))
		return d.ask(t, "PATCH", "/1.0/projects/p", object{"config": w.project()})
	},
}

// lift lets project p do anything.
func (w wish) lift(t *testing.T, d *daemon) {
	t.Helper()
	none := keys{}
	for k := range w.project() {
		none[k] = ""
	}
	d.must(t, "PATCH", "/1.0/projects/p", object{"config": none})
}

// sharing makes a project q with the same rules and the profiles of the default project.
func (w wish) sharing(t *testing.T, d *daemon) {
	t.Helper()
	config := maps.Clone(w.project())
	config["features.profiles"], config["features.storage.volumes"] = "false", "false"
	d.must(t, "POST", "/1.0/projects", object{"name": "q", "config": config})
}

// prepare makes the projects, and what the wishes name.
func (w wish) prepare(t *testing.T) *daemon {
	t.Helper()
	d := startDaemon(t)
	d.must(t, "POST", "/1.0/storage-pools", object{"name": "pool", "driver": "dir", "config": keys{"volume.size": "16MiB"}})
	for _, net := range []string{"net1", "net2"} {
		d.must(t, "POST", "/1.0/networks", object{"name": net, "config": keys{"ipv4.address": "none", "ipv6.address": "none"}})
	}
	d.must(t, "POST", "/1.0/projects", object{"name": "free"})
	d.must(t, "POST", "/1.0/projects", object{"name": "p", "config": w.project()})
	for _, proj := range []string{"p", "free", "default"} {
		d.must(t, "POST", "/1.0/storage-pools/pool/volumes/custom?project="+proj, object{"name": "data"})
	}
	d.must(t, "POST", "/1.0/instances?project=p", w.plain("have"))
	return d
}

// TestRestricted: what a project forbids is forbidden whichever way it comes, and by the key that could allow it. The same way is open in a
// project without rules, so that it is the rules which close it.
func TestRestricted(t *testing.T) {
	dir := t.TempDir()
	for what, w := range wishes(dir) {
		for way, try := range ways {
			if w.sum && way == "new profile" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", what, way), func(t *testing.T) {
				t.Parallel()
				if why := try(t, w.prepare(t), w); !strings.Contains(why, w.key) || !strings.Contains(why, "does not allow") {
					t.Errorf("not refused by %s: %q", w.key, why)
				}
			})
		}
	}
}
