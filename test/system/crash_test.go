//go:build system

package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lxd/client/simplestreams/tree"
	"lxd/test/harness"
)

// steps runs an operation undisturbed and returns the steps that it went through.
func steps(t *testing.T, d *harness.Daemon, kind string, prepare, begin func(*harness.Daemon)) (names []string) {
	t.Helper()
	prepare(d)
	d.Terminate()
	d.Start("LXD_FAILPOINT=" + kind + "/*/before=log")
	from, err := os.ReadFile(d.Log)
	if err != nil {
		t.Fatal(err)
	}
	begin(d)
	b, err := os.ReadFile(d.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`at="?`+kind+`/([^/]+)/before`).FindAllStringSubmatch(string(b[len(from):]), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Errorf("%s has no steps", kind)
	}
	settle(t, d)
	return names
}

// crashes are the operations of the matrix: how each is prepared and begun.
var crashes = []struct {
	kind           string
	prepare, begin func(d *harness.Daemon)
}{
	{"image-publish", func(d *harness.Daemon) { d.LXC("init", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("publish", "x") }},
	{"image-fetch", func(*harness.Daemon) {}, func(d *harness.Daemon) { _, _ = d.TryLXC("image", "copy", "mirror:busybox", "local:") }},
	{"image-refresh", func(d *harness.Daemon) {
		newVersion(d, 0)
		d.LXC("image", "copy", "mirror:busybox", "local:")
		newVersion(d, 1)
	},
		func(d *harness.Daemon) { unnamed(d, "refresh") }},
	{"image-delete", func(d *harness.Daemon) { _, _ = d.TryLXC("image", "import", second) }, func(d *harness.Daemon) { unnamed(d, "delete") }},
	{"image-import", func(*harness.Daemon) {}, func(d *harness.Daemon) { _, _ = d.TryLXC("image", "import", second) }},
	{"instance-create", func(*harness.Daemon) {}, func(d *harness.Daemon) { _, _ = d.TryLXC("init", "busybox", "x") }},
	{"instance-start", func(d *harness.Daemon) { d.LXC("init", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("start", "x") }},
	{"instance-stop", func(d *harness.Daemon) { d.LXC("launch", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("stop", "-f", "x") }},
	{"instance-update", func(d *harness.Daemon) { twoPools(d); d.LXC("launch", "busybox", "x") }, func(d *harness.Daemon) {
		_, _ = d.TryLXC("query", "-X", "PATCH", "/1.0/instances/x", "-d", `{"config": {"limits.processes": "90"}, "devices": {
			"d": {"type": "disk", "source": "/usr", "path": "/mnt/d"}, "v": {"type": "disk", "pool": "va", "source": "v", "path": "/mnt/v"},
			"p": {"type": "proxy", "listen": "tcp:127.0.0.1:7777", "connect": "tcp:127.0.0.1:80"}, "n": {"type": "unix-char", "path": "/dev/n", "major": "1", "minor": "3"},
			"eth0": {"type": "none"}, "eth1": {"type": "nic", "network": "lxdbr0", "name": "eth1"}}}`)
	}},
	{"instance-delete", func(d *harness.Daemon) { d.LXC("init", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("delete", "x") }},
	{"instance-snapshot", func(d *harness.Daemon) { d.LXC("launch", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("snapshot", "x") }},
	{"instance-snapshot-delete", kept, func(d *harness.Daemon) { _, _ = d.TryLXC("delete", "x/s0") }},
	{"instance-snapshot-rename", kept, func(d *harness.Daemon) { _, _ = d.TryLXC("rename", "x/s0", "x/s1") }},
	{"instance-restore", func(d *harness.Daemon) { kept(d); d.LXC("start", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("restore", "x", "s0") }},
	{"instance-rename", kept, func(d *harness.Daemon) { _, _ = d.TryLXC("rename", "x", "y") }},
	{"instance-backup", kept, func(d *harness.Daemon) {
		_, _ = d.TryLXC("query", "--wait", "-X", "POST", "-d", `{"name":"b"}`, "/1.0/instances/x/backups")
	}},
	{"instance-export", func(d *harness.Daemon) { d.LXC("launch", "busybox", "x") }, func(d *harness.Daemon) {
		_, _ = d.TryLXC("export", "x", filepath.Join(d.Dir, "tmp", "x.tar"))
		_ = os.Remove(filepath.Join(d.Dir, "tmp", "x.tar"))
	}},
	{"instance-import", func(d *harness.Daemon) {
		kept(d)
		d.LXC("export", "x", filepath.Join(d.Dir, "x.tar"))
		d.LXC("delete", "x")
	}, func(d *harness.Daemon) { _, _ = d.TryLXC("import", filepath.Join(d.Dir, "x.tar")) }},
	{"instance-refresh", func(d *harness.Daemon) {
		kept(d)
		d.LXC("copy", "x", "y")
		d.LXC("snapshot", "x", "s1")
	}, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "y", "--refresh") }},
	{"instance-send", linked, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "self:y") }},
	{"instance-receive", linked, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "self:y") }},
	{"instance-receive", linked, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "self:y", "--mode=push") }},
	{"instance-refresh", func(d *harness.Daemon) {
		linked(d)
		d.LXC("copy", "x", "y")
		d.LXC("snapshot", "x", "s1")
	}, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "self:y", "--refresh") }},
	{"profile-update", func(d *harness.Daemon) {
		_, _ = d.TryLXC("profile", "create", "px")
		d.LXC("query", "--wait", "-X", "PUT", "/1.0/profiles/px", "-d", "{}")
		d.LXC("launch", "busybox", "x", "-p", "default", "-p", "px")
	}, func(d *harness.Daemon) {
		_, _ = d.TryLXC("query", "--wait", "-X", "PUT", "/1.0/profiles/px", "-d", `{"config": {"limits.processes": "90"}, "devices": {
			"d": {"type": "disk", "source": "/usr", "path": "/mnt/d"}, "eth1": {"type": "nic", "network": "lxdbr0", "name": "eth1"}}}`)
	}},
	{"instance-rebuild", func(d *harness.Daemon) { d.LXC("init", "busybox", "x") }, func(d *harness.Daemon) { _, _ = d.TryLXC("rebuild", "busybox", "x") }},

	{"instance-create", elsewhere, func(d *harness.Daemon) { _, _ = d.TryLXC("copy", "x", "y", "-s", "vb") }},
	{"instance-move", elsewhere, func(d *harness.Daemon) { _, _ = d.TryLXC("move", "x", "y", "-s", "vb") }},
	{"instance-move", elsewhere, func(d *harness.Daemon) { _, _ = d.TryLXC("move", "x", "-s", "vb") }},
	{"instance-rename", backedUp, func(d *harness.Daemon) { _, _ = d.TryLXC("rename", "x", "y") }},
	{"instance-delete", backedUp, func(d *harness.Daemon) { _, _ = d.TryLXC("delete", "x") }},
	{"instance-backup", func(d *harness.Daemon) { kept(d); d.LXC("start", "x") }, func(d *harness.Daemon) { backUp(d, "x", "b") }},
	{"instance-backup-delete", backedUp, func(d *harness.Daemon) {
		_, _ = d.TryLXC("query", "--wait", "-X", "DELETE", "/1.0/instances/x/backups/b")
	}},
	{"instance-backup-rename", backedUp, func(d *harness.Daemon) {
		_, _ = d.TryLXC("query", "--wait", "-X", "POST", "/1.0/instances/x/backups/b", "-d", `{"name": "c"}`)
	}},

	{"volume-create", twoPools, attempt("copy", "va/v", "vb/w")},
	{"volume-create", func(d *harness.Daemon) {
		twoPools(d)
		d.LXC("storage", "volume", "export", "va", "v", filepath.Join(filepath.Dir(second), "volume.tar"))
	}, func(d *harness.Daemon) {
		attempt("import", "vb", filepath.Join(filepath.Dir(second), "volume.tar"), "w")(d)
	}},
	{"volume-delete", twoPools, attempt("delete", "va", "v")},
	{"volume-update", twoPools, attempt("set", "va", "v", "size=2GiB")},
	{"volume-rename", twoPools, attempt("rename", "va", "v", "w")},
	{"volume-move", twoPools, attempt("move", "va/v", "vb/w")},
	{"volume-refresh", func(d *harness.Daemon) {
		twoPools(d)
		d.LXC("storage", "volume", "copy", "va/v", "vb/w")
		d.LXC("storage", "volume", "snapshot", "va", "v", "s1")
	}, attempt("copy", "va/v", "vb/w", "--refresh")},
	{"volume-restore", twoPools, attempt("restore", "va", "v", "s0")},
	{"volume-snapshot", twoPools, attempt("snapshot", "va", "v", "s1")},
	{"volume-snapshot-delete", twoPools, attempt("delete", "va", "v/s0")},
	{"volume-snapshot-rename", twoPools, attempt("rename", "va", "v/s0", "v/s1")},
	{"network-create", func(*harness.Daemon) {}, func(d *harness.Daemon) {
		_, _ = d.TryLXC("network", "create", "nx", "ipv4.address=10.118.0.1/24", "ipv6.address=none")
	}},
	{"network-update", networked, func(d *harness.Daemon) {
		_, _ = d.TryLXC("network", "set", "nx", "bridge.mtu=1400", "dns.domain=x.test")
	}},
	{"network-rename", networked, func(d *harness.Daemon) { _, _ = d.TryLXC("network", "rename", "nx", "ny") }},
	{"network-delete", networked, func(d *harness.Daemon) { _, _ = d.TryLXC("network", "delete", "nx") }},
	{"network-forward", networked, func(d *harness.Daemon) {
		_, _ = d.TryLXC("network", "forward", "set", "nx", "192.0.2.1", "target_address=10.118.0.6")
	}},
	{"network-acl", networked, func(d *harness.Daemon) {
		_, _ = d.TryLXC("network", "acl", "rule", "add", "ax", "ingress", "action=drop")
	}},
}

// networked prepares a network with a forward and an ACL.
func networked(d *harness.Daemon) {
	d.LXC("network", "acl", "create", "ax")
	d.LXC("network", "create", "nx", "ipv4.address=10.118.0.1/24", "ipv6.address=none", "security.acls=ax")
	d.LXC("network", "forward", "create", "nx", "192.0.2.1", "target_address=10.118.0.5")
}

// unnetwork deletes what is left of networks.
func unnetwork(d *harness.Daemon) {
	for _, name := range []string{"nx", "ny"} {
		if code, _ := d.HTTP("GET", "/1.0/networks/"+name, ""); code == 200 {
			d.LXC("network", "delete", name)
		}
	}
	if code, _ := d.HTTP("GET", "/1.0/network-acls/ax", ""); code == 200 {
		d.LXC("network", "acl", "delete", "ax")
	}
}

// kept prepares a stopped instance with a snapshot.
func kept(d *harness.Daemon) {
	d.LXC("init", "busybox", "x")
	d.LXC("snapshot", "x", "s0")
}

// linked prepares a stopped instance with a snapshot, and a remote that is the daemon itself, by way of the network.
func linked(d *harness.Daemon) {
	kept(d)
	if !strings.Contains(d.LXC("remote", "list", "-f", "csv"), "self,") {
		d.LXC("config", "set", "core.https_address", "127.0.0.1:8443")
		d.LXC("remote", "add", "self", strings.TrimSpace(d.LXC("config", "trust", "add", "--name", "self", "-q")))
	}
}

// unnamed does something to the images that have no alias.
func unnamed(d *harness.Daemon, what string) {
	for _, f := range strings.Fields(d.LXC("image", "list", "-f", "csv", "-c", "lf")) {
		if name, ok := strings.CutPrefix(f, ","); ok {
			_, _ = d.TryLXC("image", what, name)
		}
	}
}

// elsewhere prepares a stopped instance with a snapshot in the first of two pools.
func elsewhere(d *harness.Daemon) {
	twoPools(d)
	d.LXC("init", "busybox", "x", "-s", "va")
	d.LXC("snapshot", "x", "s0")
}

// backedUp prepares a stopped instance with a snapshot and a backup.
func backedUp(d *harness.Daemon) {
	kept(d)
	backUp(d, "x", "b")
}

// backUp makes a backup that is kept, if it can.
func backUp(d *harness.Daemon, instance, name string) {
	_, _ = d.TryLXC("query", "--wait", "-X", "POST", "/1.0/instances/"+instance+"/backups", "-d", `{"name": "`+name+`"}`)
}

// second is the file of another image, for the import row.
var second string

// web is the folder of an image server, for the rows about fetching; builds are the files of its image, the older one first.
var (
	web    string
	builds []string
)

// newVersion puts a build on offer.
func newVersion(d *harness.Daemon, n int) {
	err := tree.Write(web, []tree.Image{{OS: "Busybox", Arch: "amd64", Aliases: []string{"busybox"}, Serial: []string{"20250101", "20250102"}[n], Meta: builds[n]}})
	if err != nil {
		d.LXC("no", "image", "server", err.Error()) // fails the test
	}
}

// mirrored starts an image server that the daemon d and its clients trust, and knows as mirror.
func mirrored(t *testing.T, d *harness.Daemon) {
	t.Helper()
	path, err := harness.Trust(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", path)
	web, builds = t.TempDir(), nil
	for _, body := range []string{"one", "two"} {
		builds = append(builds, harness.WriteImage(t, append(harness.Busybox(t), harness.Entry{Name: "rootfs/etc/build", Body: body})))
	}
	newVersion(d, 0)
	address, stop, err := harness.Serve(d.Netns, web)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	d.LXC("remote", "add", "mirror", address, "--protocol=simplestreams")
}

func TestCrashAtEveryStep(t *testing.T) {
	matrix(t, ready(t), func(string) bool { return true }, "before=kill", "after=kill", "before=fail", "after=fail")
}

// matrix makes the chosen operations fail at every step of theirs.
func matrix(t *testing.T, d *harness.Daemon, chosen func(kind string) bool, points ...string) {
	entries := append(harness.Busybox(t), harness.Entry{Name: "rootfs/etc/other", Body: "another image"})
	second = harness.WriteImage(t, entries)
	mirrored(t, d)
	d.LXC("launch", "busybox", "bystander")
	address(t, d, "bystander")
	bystander := state(t, d, "bystander").Pid
	before := d.Traces(t)
	for _, c := range crashes {
		if !chosen(c.kind) {
			continue
		}
		t.Run(c.kind, func(t *testing.T) {
			defer d.Use(t)()
			for _, step := range steps(t, d, c.kind, c.prepare, c.begin) {
				for _, point := range points {
					t.Run(step+"/"+point, func(t *testing.T) {
						defer d.Use(t)()
						crash(t, d, c.kind+"/"+step+"/"+point, c.prepare, c.begin)
						if s := state(t, d, "bystander"); s.Pid != bystander {
							t.Fatalf("the bystander was touched: %+v", s)
						}
						if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
							t.Fatalf("left over:\n%s", strings.Join(diff, "\n"))
						}
					})
				}
			}
		})
	}
}

// crash restarts the daemon with a failpoint, runs into it, starts the daemon again, and deletes what is there.
func crash(t *testing.T, d *harness.Daemon, point string, prepare, begin func(*harness.Daemon)) {
	prepare(d)
	d.Terminate()
	d.Start("LXD_FAILPOINT=" + point)
	begin(d)
	kill := strings.HasSuffix(point, "kill")
	if kill {
		d.WaitEnded()
	} else {
		d.Terminate()
	}
	d.Start()
	// An instance that ran is brought up again in the background; nothing else may be under way, or have failed.
	var body string
	for range 200 {
		if _, body = d.HTTP("GET", "/1.0/operations", ""); !strings.Contains(body, `"running"`) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !strings.Contains(body, `"metadata":{}`) && !strings.Contains(body, `"metadata":{"success":`) || strings.Contains(body, `"failure"`) {
		t.Errorf("operations are left: %s", body)
	}
	settle(t, d)
}

// settle checks that what is left of x is whole, and deletes it.
func settle(t *testing.T, d *harness.Daemon) {
	t.Helper()
	unnetwork(d)
	settleInstance(t, d, "x")
	settleInstance(t, d, "y")
	settleVolumes(t, d)
	settleImages(t, d)
}

// settleInstance checks that an instance is whole, with its backups, and deletes it.
func settleInstance(t *testing.T, d *harness.Daemon, name string) {
	t.Helper()
	code, body := d.HTTP("GET", "/1.0/instances/"+name, "")
	if code == 404 {
		return
	}
	var list struct{ Metadata []string }
	_, backups := d.HTTP("GET", "/1.0/instances/"+name+"/backups", "")
	if err := json.Unmarshal([]byte(backups), &list); err != nil {
		t.Fatal(err)
	}
	for _, url := range list.Metadata {
		if code, _ := d.HTTP("GET", url+"/export", ""); code != 200 {
			t.Errorf("backup %s: %d", url, code)
		}
	}
	switch {
	case strings.Contains(body, `"status":"Running"`):
		d.LXC("exec", name, "--", "true")
	default:
		// a removal that failed halfway leaves what can only be removed
		if out, err := d.TryLXC("start", name); err != nil && !strings.Contains(out, "removal was cut short, delete it") {
			t.Errorf("start: %s", out)
		}
	}
	d.LXC("delete", "-f", name)
}

// settleImages deletes the images that were made.
func settleImages(t *testing.T, d *harness.Daemon) {
	t.Helper()
	var list struct {
		Metadata []struct{ Fingerprint string }
	}
	_, body := d.HTTP("GET", "/1.0/images?recursion=1", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Metadata) > 2 {
		t.Errorf("images: %s", body)
	}
	for _, i := range list.Metadata {
		if out := d.LXC("image", "alias", "list", "-f", "csv"); !strings.Contains(out, i.Fingerprint[:12]) {
			d.LXC("image", "delete", i.Fingerprint)
		}
	}
}

func TestConcurrentLaunchesAndDeletes(t *testing.T) {
	d := ready(t)
	d.LXC("init", "busybox", "warm")
	d.LXC("delete", "warm")
	before := d.Traces(t)
	const n = 200
	answers := make(chan string, n)
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			answers <- try(d, i)
		}()
	}
	for range n {
		if a := <-answers; a != "" {
			t.Error(a)
		}
	}
	names := strings.Fields(d.LXC("list", "-f", "csv", "-c", "n"))
	for _, name := range names {
		d.LXC("delete", "-f", name)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

// try launches or deletes one of four names; "" is a success or a clear conflict.
func try(d *harness.Daemon, i int) string {
	name := fmt.Sprintf("r%d", i%4)
	method, path, body := "POST", "/1.0/instances", fmt.Sprintf(`{"name":%q,"source":{"type":"image","alias":"busybox"},"start":true}`, name)
	if i/4%2 == 1 {
		method, path, body = "DELETE", "/1.0/instances/"+name+"?force=1", ""
	}
	code, answer := d.HTTP(method, path, body)
	var env struct{ Operation, Error string }
	if err := json.Unmarshal([]byte(answer), &env); err != nil {
		return fmt.Sprintf("%s %s: %d %s", method, path, code, answer)
	}
	if env.Operation != "" {
		_, answer = d.HTTP("GET", env.Operation+"/wait", "")
		if err := json.Unmarshal([]byte(answer), &env); err != nil {
			return fmt.Sprintf("%s %s: %s", method, path, answer)
		}
	}
	for _, clear := range []string{"already exists", "busy", "not found", "running"} {
		if strings.Contains(env.Error, clear) {
			return ""
		}
	}
	return env.Error
}
