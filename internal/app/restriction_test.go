package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/app"
	"lxd/internal/store"
)

// daemon is a whole one on fakes.
type daemon struct{ client *http.Client }

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	a, err := app.Open(t.Context(), app.Options{Dir: filepath.Join(dir, "lxd"), Socket: socket, Backends: fakes,
		Store: func(_ string, o store.Options) (store.Store, error) { return store.NewMem(o), nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &daemon{&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}}
}

// ask sends a request and returns why it, or the work that it began, failed; "" if it did not.
func (d *daemon) ask(t *testing.T, method, path string, body any) string {
	t.Helper()
	answer := d.send(t, method, path, body)
	if answer.Type == "async" {
		answer = d.send(t, "GET", answer.Operation+"/wait", nil) // the failure of the work fails the wait for it
	}
	return answer.Error
}

type answer struct{ Type, Operation, Error string }

func (d *daemon) send(t *testing.T, method, path string, body any) (a answer) {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://lxd"+path, r)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(method, path, err)
	}
	return a
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

// wish is something that a restricted project forbids: a configuration or a device.
type wish struct {
	key     string
	config  keys
	devices map[string]keys
}

func wishes(dir string) map[string]wish {
	device := func(d keys) map[string]keys { return map[string]keys{"d": d} }
	return map[string]wish{
		"low-level":  {"restricted.containers.lowlevel", keys{"raw.lxc": "lxc.environment = A=b"}, nil},
		"sysctl":     {"restricted.containers.lowlevel", keys{"linux.sysctl.net.ipv4.ip_forward": "1"}, nil},
		"nesting":    {"restricted.containers.nesting", keys{"security.nesting": "true"}, nil},
		"privileged": {"restricted.containers.privilege", keys{"security.privileged": "true"}, nil},
		"folder":     {"restricted.devices.disk", nil, device(keys{"type": "disk", "source": dir, "path": "/x"})},
		"nic":        {"restricted.devices.nic", nil, device(keys{"type": "nic", "nictype": "p2p"})},
		"proxy":      {"restricted.devices.proxy", nil, device(keys{"type": "proxy", "listen": "tcp:127.0.0.1:1", "connect": "tcp:127.0.0.1:2"})},
		"unix-char":  {"restricted.devices.unix-char", nil, device(keys{"type": "unix-char", "source": "/dev/null", "path": "/dev/n"})},
		"unix-block": {"restricted.devices.unix-block", nil, device(keys{"type": "unix-block", "source": "/dev/loop0", "path": "/dev/n", "required": "false"})},
	}
}

// devices are those of an instance that has w.
func (w wish) all() map[string]keys {
	all := map[string]keys{"root": {"type": "disk", "path": "/", "pool": "pool"}}
	for name, d := range w.devices {
		all[name] = d
	}
	return all
}

// instance is a request for one.
func (w wish) instance(name string) object {
	return object{"name": name, "source": object{"type": "none"}, "config": w.config, "devices": w.all(), "profiles": []string{}}
}

var plain = wish{}

// ways are all the ways in which an instance, or a profile that it has, can become something else. Each is tried in project p, which
// is restricted, with project free beside it; lift and restrict change p.
var ways = map[string]func(t *testing.T, d *daemon, w wish) string{
	"create": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "POST", "/1.0/instances?project=p", w.instance("i"))
	},
	"put": func(t *testing.T, d *daemon, w wish) string {
		return d.ask(t, "PUT", "/1.0/instances/have?project=p", object{"config": w.config, "devices": w.all(), "profiles": []string{}})
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
		d.must(t, "POST", "/1.0/profiles?project=p", object{"name": "x"})
		d.must(t, "PATCH", "/1.0/instances/have?project=p", object{"profiles": []string{"x"}})
		return d.ask(t, "PUT", "/1.0/profiles/x?project=p", object{"config": w.config, "devices": w.devices})
	},
	"profile of the default project": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/profiles", object{"name": "x"})
		d.must(t, "POST", "/1.0/projects", object{"name": "q", "config": keys{"restricted": "true", "features.profiles": "false"}})
		in := plain.instance("i")
		in["profiles"] = []string{"x"}
		d.must(t, "POST", "/1.0/instances?project=q", in)
		return d.ask(t, "PUT", "/1.0/profiles/x", object{"config": w.config, "devices": w.devices})
	},
	"assign profile": func(t *testing.T, d *daemon, w wish) string {
		d.must(t, "POST", "/1.0/profiles", object{"name": "x", "config": w.config, "devices": w.devices})
		d.must(t, "POST", "/1.0/projects", object{"name": "q", "config": keys{"restricted": "true", "features.profiles": "false"}})
		d.must(t, "POST", "/1.0/instances?project=q", plain.instance("i"))
		return d.ask(t, "PATCH", "/1.0/instances/i?project=q", object{"profiles": []string{"x"}})
	},
	"restore": func(t *testing.T, d *daemon, w wish) string {
		restrict(t, d, "false")
		d.must(t, "POST", "/1.0/instances?project=p", w.instance("i"))
		d.must(t, "POST", "/1.0/instances/i/snapshots?project=p", object{"name": "s"})
		d.must(t, "PUT", "/1.0/instances/i?project=p", object{"devices": plain.all(), "profiles": []string{}})
		restrict(t, d, "true")
		return d.ask(t, "PUT", "/1.0/instances/i?project=p", object{"restore": "s"})
	},
	"restrict": func(t *testing.T, d *daemon, w wish) string {
		restrict(t, d, "false")
		d.must(t, "POST", "/1.0/instances?project=p", w.instance("i"))
		return d.ask(t, "PATCH", "/1.0/projects/p", object{"config": keys{"restricted": "true"}})
	},
}

func restrict(t *testing.T, d *daemon, value string) {
	t.Helper()
	d.must(t, "PATCH", "/1.0/projects/p", object{"config": keys{"restricted": value}})
}

// TestRestricted: what a restricted project forbids is forbidden whichever way it comes, and by the key that could allow it. The same
// way is open in a project that is not restricted, so that it is the restriction which closes it.
func TestRestricted(t *testing.T) {
	dir := t.TempDir()
	for what, w := range wishes(dir) {
		for way, try := range ways {
			t.Run(fmt.Sprintf("%s/%s", what, way), func(t *testing.T) {
				d := startDaemon(t)
				d.must(t, "POST", "/1.0/storage-pools", object{"name": "pool", "driver": "dir"})
				d.must(t, "POST", "/1.0/projects", object{"name": "free"})
				d.must(t, "POST", "/1.0/projects", object{"name": "p", "config": keys{"restricted": "true"}})
				d.must(t, "POST", "/1.0/instances?project=p", plain.instance("have"))
				if why := try(t, d, w); !strings.Contains(why, w.key) || !strings.Contains(why, "does not allow") {
					t.Errorf("not refused by %s: %q", w.key, why)
				}
			})
		}
	}
}
