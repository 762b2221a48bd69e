package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/admin"
	"lxd/internal/errs"
)

// fake is a server reduced to what it is asked: objects by path, and a log of the writes.
type fake struct {
	objects map[string]string
	writes  []string
	fail    string
	ready   int
	// needed is why the daemon should run.
	needed string
}

func newFake() *fake {
	return &fake{objects: map[string]string{
		"/1.0":                           `{"config":{}}`,
		"/1.0/storage-pools?recursion=1": `[]`,
		"/1.0/projects?recursion=1":      `[{"name":"default","config":{"features.images":"true"}}]`,
		"/1.0/projects/default":          `{"name":"default","config":{"features.images":"true"}}`,
		"/1.0/networks?recursion=1":      `[{"name":"eth0","type":"physical"},{"name":"lxdbr0","type":"bridge","managed":false}]`,
		"/1.0/profiles?recursion=1":      `[{"name":"default","config":{},"devices":{}}]`,
		"/1.0/profiles/default":          `{"name":"default","description":"Default","config":{"user.a":"1"},"devices":{}}`,
	}}
}

func (f *fake) Get(_ context.Context, path string, out any) (string, error) {
	if strings.HasPrefix(path, "/internal/ready") {
		f.ready--
		if f.ready >= 0 {
			return "", errs.Newf(errs.Unavailable, "starting")
		}
		return "", nil
	}
	o, ok := f.objects[path]
	if !ok {
		return "", errs.Newf(errs.NotFound, "%s not found", path)
	}
	if out == nil {
		return "tag", nil
	}
	return "tag", json.Unmarshal([]byte(o), out)
}

func (f *fake) Do(_ context.Context, method, path string, in any, _ string) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	f.writes = append(f.writes, method+" "+path+" "+string(b))
	if f.fail != "" && method+" "+path == f.fail {
		return errs.Newf(errs.Invalid, "refused")
	}
	return nil
}

func (f *fake) Ask(ctx context.Context, path string, in, out any) error {
	if err := f.Do(ctx, "POST", path, in, ""); err != nil {
		return err
	}
	return json.Unmarshal([]byte(f.objects["POST "+path]), out)
}

func run(t *testing.T, f *fake, stdin string, args ...string) (string, error) {
	t.Helper()
	p := &admin.Program{Version: "6.7", Connect: func() (admin.Server, error) { return f, nil },
		Needed:   func(context.Context) (string, error) { return f.needed, nil },
		Manifest: func() ([]byte, error) { return []byte("{}"), nil }}
	root := p.Root()
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// wrote reports whether a write starts with prefix and contains every part.
func (f *fake) wrote(prefix string, parts ...string) bool {
	for _, w := range f.writes {
		all := strings.HasPrefix(w, prefix)
		for _, p := range parts {
			all = all && strings.Contains(w, p)
		}
		if all {
			return true
		}
	}
	return false
}

func TestAutoMakesPoolBridgeAndProfile(t *testing.T) {
	f := newFake()
	if out, err := run(t, f, "", "init", "--auto"); err != nil {
		t.Fatal(out, err)
	}
	if !f.wrote("POST /1.0/storage-pools ", `"name":"default"`, `"driver":"dir"`) {
		t.Error("no pool", f.writes)
	}
	// lxdbr0 is taken on the host by something that is not ours
	if !f.wrote("POST /1.0/networks", `"name":"lxdbr1"`, `"type":"bridge"`) {
		t.Error("no bridge", f.writes)
	}
	if !f.wrote("PUT /1.0/profiles/default ", `"network":"lxdbr1"`, `"pool":"default"`, `"user.a":"1"`) {
		t.Error("profile", f.writes)
	}
}

func TestAutoServesTheNetwork(t *testing.T) {
	for want, args := range map[string][]string{
		"":               nil,
		"[::]:8443":      {"--network-address", "all"},
		"[::]:9000":      {"--network-port", "9000"},
		"10.0.0.5:8443":  {"--network-address", "10.0.0.5"},
		"[fd42::1]:9000": {"--network-address", "[fd42::1]", "--network-port", "9000"},
	} {
		f := newFake()
		if out, err := run(t, f, "", append([]string{"init", "--auto"}, args...)...); err != nil {
			t.Fatal(out, err)
		}
		if f.wrote("PATCH /1.0 ") != (want != "") || want != "" && !f.wrote("PATCH /1.0 ", `"core.https_address":"`+want+`"`) {
			t.Error(want, f.writes)
		}
	}
}

func TestAutoKeepsWhatExists(t *testing.T) {
	f := newFake()
	f.objects["/1.0/storage-pools?recursion=1"] = `[{"name":"fast","driver":"dir"}]`
	f.objects["/1.0/networks?recursion=1"] = `[{"name":"br7","type":"bridge","managed":true}]`
	if out, err := run(t, f, "", "init", "--auto"); err != nil {
		t.Fatal(out, err)
	}
	if f.wrote("POST") || !f.wrote("PUT /1.0/profiles/default", `"pool":"fast"`, `"network":"br7"`) {
		t.Fatal(f.writes)
	}
}

func TestAutoWithAnotherBackend(t *testing.T) {
	f := newFake()
	f.objects["/1.0/storage-pools?recursion=1"] = `[{"name":"fast","driver":"dir"}]`
	if _, err := run(t, f, "", "init", "--auto", "--storage-backend", "zfs"); !errs.Is(err, errs.Conflict) || len(f.writes) > 0 {
		t.Error(err, f.writes)
	}
	if _, err := run(t, f, "", "init", "--auto", "--storage-backend", "zfs", "--storage-pool", "new"); err != nil || !f.wrote("POST /1.0/storage-pools", `"driver":"zfs"`) {
		t.Error(err, f.writes)
	}
}

func TestAutoOnADevice(t *testing.T) {
	for want, args := range map[string][]string{
		`"config":{"size":"7GiB"},`:     {"--storage-create-loop", "7"},
		`"config":{"source":"/dev/x"},`: {"--storage-create-device", "/dev/x"},
		`"config":{},`:                  nil,
	} {
		f := newFake()
		if out, err := run(t, f, "", append([]string{"init", "--auto", "--storage-backend", "btrfs"}, args...)...); err != nil {
			t.Fatal(out, err)
		}
		if !f.wrote("POST /1.0/storage-pools", `"driver":"btrfs"`, want) {
			t.Errorf("%s: %v", want, f.writes)
		}
	}
}

func TestInterviewAboutBackends(t *testing.T) {
	for want, answers := range map[string]string{
		`"config":{"size":"12GiB"},`:    "\n\n\n\n\n0\n12\n",
		`"config":{},`:                  "\n\n\nbtrfs\n\n\n",
		`"config":{"source":"/dev/x"},`: "\n\n\nnonsense\nbtrfs\ndev\n/dev/x\n",
		`"driver":"dir"`:                "\n\n\ndir\n\n",
	} {
		f := newFake()
		f.objects["/1.0"] = `{"config":{},"environment":{"storage_supported_drivers":[{"Name":"dir"},{"Name":"btrfs"}]}}`
		if out, err := run(t, f, answers+"no\n\nno\n\n\n", "init"); err != nil || !f.wrote("POST /1.0/storage-pools", want) {
			t.Errorf("%s: %v %v\n%s", want, err, f.writes, out)
		}
	}
}

func TestPreseedPutsBackOnFailure(t *testing.T) {
	f := newFake()
	f.fail = "PUT /1.0/profiles/default"
	_, err := run(t, f, "config:\n  user.x: 1\nstorage_pools:\n- name: p\n  driver: dir\nprofiles:\n- name: default\n", "init", "--preseed")
	if err == nil || !strings.Contains(err.Error(), `profile "default"`) {
		t.Fatal(err)
	}
	if !f.wrote("DELETE /1.0/storage-pools/p") || !f.wrote("PATCH /1.0 ", `"user.x":""`) {
		t.Fatal("not undone:", f.writes)
	}
}

// TestPreseedMakesVolumesFirst: what a dump says of images in a volume can be read where that volume is not there yet.
func TestPreseedMakesVolumesFirst(t *testing.T) {
	f := newFake()
	_, err := run(t, f, "config:\n  storage.images_volume: p/v\n  user.x: 1\nstorage_pools:\n- name: p\n  driver: dir\n"+
		"storage_volumes:\n- name: v\n  pool: p\n", "init", "--preseed")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`PATCH /1.0 {"config":{"user.x":"1"}}`, "POST /1.0/storage-pools ", "POST /1.0/storage-pools/p/volumes/custom", `PATCH /1.0 {"config":{"storage.images_volume":"p/v"}}`} {
		if len(f.writes) != 4 || !strings.HasPrefix(f.writes[i], want) {
			t.Errorf("%d, want %s: %v", i, want, f.writes)
		}
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		stdin, want string
		args        []string
	}{
		"unknown key":     {"networkz: []\n", "networkz", []string{"init", "--preseed"}},
		"empty":           {"", "empty", []string{"init", "--preseed"}},
		"cluster":         {"cluster:\n  enabled: true\n", "cluster", []string{"init", "--preseed"}},
		"two modes":       {"", "exclude", []string{"init", "--auto", "--dump"}},
		"dump and link":   {"", "exclude", []string{"init", "--dump", "--ui-initial-access-link"}},
		"flag, no auto":   {"", "--auto", []string{"init", "--storage-pool", "x"}},
		"device":          {"", "backend", []string{"init", "--auto", "--storage-create-device", "/dev/x"}},
		"device for dir":  {"", "folder", []string{"init", "--auto", "--storage-backend", "dir", "--storage-create-device", "/dev/x"}},
		"device and loop": {"", "exclude", []string{"init", "--auto", "--storage-backend", "btrfs", "--storage-create-loop", "7", "--storage-create-device", "/dev/x"}},
		"no loop":         {"", "at least 1", []string{"init", "--auto", "--storage-backend", "btrfs", "--storage-create-loop", "0"}},
		"port":            {"", "65535", []string{"init", "--auto", "--network-port", "70000"}},
		"unknown command": {"", "unknown command", []string{"nonsense"}},
		"input ends":      {"no\nyes\n", "input ended", []string{"init"}},
	} {
		f := newFake()
		if _, err := run(t, f, c.stdin, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.writes) > 0 {
			t.Errorf("%s wrote %v", name, f.writes)
		}
	}
}

func TestInterview(t *testing.T) {
	f := newFake()
	answers := "no\n" + "\n" + "bad name!\npool1\n" + "\n" + "relative\n\n" + "yes\n" + "\n" + "10.9.8.1/24\n" + "none\n" + "\n" + "\n" + "yes\n"
	out, err := run(t, f, answers, "init")
	if err != nil {
		t.Fatal(out, err)
	}
	if !strings.Contains(out, "Invalid answer") || !strings.Contains(out, "storage_pools:") {
		t.Error(out)
	}
	if !f.wrote("POST /1.0/networks", `"ipv4.address":"10.9.8.1/24"`, `"ipv6.address":"none"`) || !f.wrote("POST /1.0/storage-pools", `"name":"pool1"`) {
		t.Error(f.writes)
	}
}

// TestInterviewAboutTheNetwork: the server listens where the answers say, gives a link when asked, and leaves images alone.
func TestInterviewAboutTheNetwork(t *testing.T) {
	const before = "\nno\nno\nyes\nnope\neth0\n"
	f := newFake()
	f.objects["/1.0"] = `{"config":{},"environment":{"addresses":["10.0.0.5:9000"]}}`
	f.objects["POST /1.0/auth/identities/bearer/ui-admin-initial/token"] = `{"token":"t0.k3+n"}`
	out, err := run(t, f, before+"yes\nnowhere\n10.0.0.5\n70000\n9000\nyes\nno\nno\n", "init")
	if err != nil || !f.wrote("PATCH /1.0 ", `"core.https_address":"10.0.0.5:9000"`, `"images.auto_update_interval":"0"`) {
		t.Fatal(out, err, f.writes)
	}
	if !f.wrote("PUT /1.0/profiles/default", `"nictype":"macvlan","parent":"eth0"`) || f.wrote("POST /1.0/networks") {
		t.Error(f.writes)
	}
	if !f.wrote("POST /1.0/auth/identities/bearer ", `"type":"Initial UI token bearer"`) || !strings.Contains(out, "https://10.0.0.5:9000/ui/?token=t0.k3%2Bn\n") {
		t.Error(out, f.writes)
	}
	f = newFake()
	f.objects["/1.0"] = `{"config":{"core.https_address":":8443"}}`
	if out, err := run(t, f, before+"no\n\n\n", "init"); err != nil || strings.Contains(out, "over the network") || f.wrote("POST /1.0/auth") {
		t.Error(out, err, f.writes)
	}
	f = newFake()
	if _, err := run(t, f, "yes\n", "init"); !errs.Is(err, errs.Unsupported) || len(f.writes) > 0 {
		t.Error("a cluster", err, f.writes)
	}
}

func TestLink(t *testing.T) {
	f := newFake()
	if _, err := run(t, f, "", "init", "--ui-initial-access-link"); !errs.Is(err, errs.Precondition) || len(f.writes) > 0 {
		t.Error("nobody can follow it", err)
	}
	f.objects["/1.0"] = `{"config":{},"environment":{"addresses":["a:1","b:1"]}}`
	f.objects["/1.0/auth/identities/bearer/ui-admin-initial"] = `{}`
	f.objects["POST /1.0/auth/identities/bearer/ui-admin-initial/token"] = `{"token":"t1"}`
	out, err := run(t, f, "", "init", "--ui-initial-access-link")
	if err != nil || len(f.writes) != 1 || !strings.Contains(out, "https://a:1/ui/?token=t1\nhttps://b:1/ui/?token=t1\n") {
		t.Error(out, err, f.writes)
	}
	if out, err := run(t, f, "", "init", "--auto", "--ui-initial-access-link"); err != nil || !f.wrote("POST /1.0/storage-pools") || !strings.Contains(out, "token=t1") {
		t.Error(out, err, f.writes)
	}
}

func TestDumpCanBeRead(t *testing.T) {
	f := newFake()
	f.objects["/1.0/storage-pools?recursion=1"] = `[{"name":"p","driver":"dir","config":{"source":"/x"}}]`
	f.objects["/1.0/storage-pools/p"] = `{"name":"p","driver":"dir","config":{"source":"/x"}}`
	f.objects["/1.0"] = `{"config":{"volatile.uuid":"u","user.x":"1","loki.auth.password":true}}`
	f.objects["/1.0/networks?recursion=1"] = `[{"name":"eth0","type":"physical"},{"name":"br0","type":"bridge","managed":true,"config":{"volatile.bridge.hwaddr":"h"}}]`
	f.objects["/1.0/networks/br0"] = `{"name":"br0","type":"bridge","managed":true,"config":{}}`
	f.objects["/1.0/storage-volumes/custom?recursion=1&all-projects=true"] = `[{"name":"v","type":"custom","pool":"p","project":"default","config":{"size":"1GiB","volatile.uuid":"u"}},` +
		`{"name":"v/snap","type":"custom","pool":"p","project":"default"}]`
	f.objects["/1.0/storage-pools/p/volumes/custom/v?project=default"] = `{"name":"v","config":{"size":"1GiB"}}`
	out, err := run(t, f, "", "init", "--dump")
	if err != nil || !strings.Contains(out, "source: /x") || strings.Contains(out, "eth0") || !strings.Contains(out, "br0") || strings.Contains(out, "volatile") || strings.Contains(out, "loki") ||
		!strings.Contains(out, "user.x") || !strings.Contains(out, "size: 1GiB") || strings.Contains(out, "snap") {
		t.Fatal(out, err)
	}
	if out, err := run(t, f, out, "init", "--preseed"); err != nil {
		t.Fatal(out, err)
	}
	if !f.wrote("PUT /1.0/storage-pools/p") || !f.wrote("PUT /1.0/projects/default", `"features.images":"true"`) {
		t.Fatal(f.writes)
	}
}

func TestWaitReadyAsksAgain(t *testing.T) {
	f := newFake()
	f.ready = 2
	if _, err := run(t, f, "", "waitready", "--timeout", "5"); err != nil {
		t.Fatal(err)
	}
	f.ready = 1 << 20
	start := time.Now()
	if _, err := run(t, f, "", "waitready", "--timeout", "1"); err == nil || errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if time.Since(start) > 5*time.Second {
		t.Fatal("waited too long")
	}
}

func TestShutdownAndVersion(t *testing.T) {
	f := newFake()
	if _, err := run(t, f, "", "shutdown", "--force"); err != nil || !f.wrote("PUT /internal/shutdown?force=true") {
		t.Fatal(f.writes, err)
	}
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if out, err := run(t, f, "", args...); err != nil || out != "6.7\n" {
			t.Fatalf("%q %v", out, err)
		}
	}
}

func TestManpage(t *testing.T) {
	dir := t.TempDir()
	root := (&admin.Program{Version: "6.7"}).Root()
	root.SetArgs([]string{"manpage", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"lxd.1": true, "lxd-init.1": true, "lxd-waitready.1": true, "lxd-manifest.1": false, "lxd-manpage.1": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecover(t *testing.T) {
	f := newFake()
	if out, err := run(t, f, "yes\n", "recover"); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "lxc storage create") {
		t.Error(out, err)
	}
	f.objects["/1.0/storage-pools?recursion=1"] = `[{"name":"p","driver":"dir","config":{"source":"/x"}},{"name":"q","driver":"btrfs"}]`
	if out, err := run(t, f, "no\n", "recover"); err != nil || len(f.writes) > 0 || !strings.Contains(out, "- p (driver: dir, source: /x)") {
		t.Error(out, err, f.writes)
	}
	f.objects["POST /internal/recover/validate"] = `{"UnknownVolumes":[],"DependencyErrors":[]}`
	if out, err := run(t, f, "\n", "recover"); err != nil || !f.wrote("POST /internal/recover/validate", `"name":"p"`, `"name":"q"`) || !strings.Contains(out, "nothing has to be") {
		t.Error(out, err, f.writes)
	}
	f.objects["POST /internal/recover/validate"] = `{"UnknownVolumes":[{"name":"c1","type":"container","project":"gone","pool":"p","snapshotCount":2}],"DependencyErrors":["Project missing"]}`
	out, err := run(t, f, "\n", "recover")
	if !errs.Is(err, errs.Unsupported) || !strings.Contains(out, `container "c1" in pool "p" (project: gone, snapshots: 2)`) || !strings.Contains(out, "Project missing") {
		t.Error(out, err)
	}
}

// TestAbsent: what there is nothing to do for fails, and says what helps.
func TestAbsent(t *testing.T) {
	for want, args := range map[string][]string{
		"lxc query":         {"sql", "global", "SELECT * FROM instances", "--format", "compact"},
		"lxd recover":       {"import", "c1"},
		"not part":          {"cluster", "show"},
		"of a cluster":      {"cluster", "edit"},
		"no other members":  {"cluster", "ls"},
		"nothing of a":      {"cluster", "recover-from-quorum-loss", "-q"},
		"a cluster to mend": {"cluster", "remove-raft-node", "10.0.0.1:8443", "--quiet"},
	} {
		f := newFake()
		if _, err := run(t, f, "", args...); !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), want) || len(f.writes) > 0 {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestActivate(t *testing.T) {
	f := newFake()
	if _, err := run(t, f, "", "activateifneeded"); err != nil {
		t.Error(err)
	}
	f.needed = "there are instances"
	if _, err := run(t, f, "", "activateifneeded"); err != nil {
		t.Error("the socket answers", err)
	}
	delete(f.objects, "/1.0")
	if _, err := run(t, f, "", "activateifneeded"); err == nil || !strings.Contains(err.Error(), "there are instances") {
		t.Error(err)
	}
}
