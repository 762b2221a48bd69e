//go:build system

package system

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/test/harness"
)

// inVolume is the path of a file in a custom volume of a dir pool.
func inVolume(d *harness.Daemon, pool, volume, file string) string {
	return filepath.Join(d.Dir, "storage-pools", pool, "custom", "default_"+volume, "rootfs", file)
}

// twoPools prepares the pools va and vb, with the volume v, which holds a file, and a snapshot of it in the first.
func twoPools(d *harness.Daemon) {
	d.LXC("storage", "create", "va", "dir")
	d.LXC("storage", "create", "vb", "dir")
	d.LXC("storage", "volume", "create", "va", "v", "size=1GiB")
	if err := os.WriteFile(inVolume(d, "va", "v", "file"), []byte("content"), 0o600); err != nil {
		panic(err)
	}
	d.LXC("storage", "volume", "snapshot", "va", "v", "s0")
}

// settleVolumes checks that what is left of v is whole, and deletes it and the pools.
func settleVolumes(t *testing.T, d *harness.Daemon) {
	t.Helper()
	if code, _ := d.HTTP("GET", "/1.0/storage-pools/va", ""); code == 404 {
		return
	}
	for _, v := range volumes(t, d) {
		if strings.Contains(v.Name, "/") {
			continue
		}
		if b, err := os.ReadFile(inVolume(d, v.Pool, v.Name, "file")); string(b) != "content" {
			t.Errorf("volume %s in pool %s: %q, %v", v.Name, v.Pool, b, err)
		}
		d.LXC("storage", "volume", "delete", v.Pool, v.Name)
	}
	for _, pool := range []string{"va", "vb"} {
		for _, dir := range []string{"custom/*", ".tmp/*", ".snapshots/*/*"} {
			if left, _ := filepath.Glob(filepath.Join(d.Dir, "storage-pools", pool, dir)); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		}
		d.LXC("storage", "delete", pool)
	}
}

type volume struct{ Pool, Name string }

// volumes are the custom volumes and their snapshots.
func volumes(t *testing.T, d *harness.Daemon) []volume {
	t.Helper()
	var list struct{ Metadata []volume }
	_, body := d.HTTP("GET", "/1.0/storage-volumes/custom?recursion=1", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err, body)
	}
	return list.Metadata
}

// attempt is an lxc storage volume command that may fail.
func attempt(args ...string) func(d *harness.Daemon) {
	return func(d *harness.Daemon) { _, _ = d.TryLXC(append([]string{"storage", "volume"}, args...)...) }
}

// smallPool makes a pool on a file system of that many MiB.
func smallPool(t *testing.T, d *harness.Daemon, name string, size int) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(d.Dir), "small-"+name)
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	d.LXC("storage", "create", name, "dir", "source="+dir)
}

// TestVolumesOnAFullPool: what does not fit leaves nothing behind, and what was there stays as it was.
func TestVolumesOnAFullPool(t *testing.T) {
	d := harness.New(t)
	d.Start()
	smallPool(t, d, "full", 8)
	d.LXC("storage", "create", "big", "dir")
	d.LXC("storage", "volume", "create", "full", "v")
	d.LXC("storage", "volume", "create", "big", "w")
	for _, v := range []volume{{"full", "v"}, {"big", "w"}} {
		for i := range 5 {
			if err := os.WriteFile(inVolume(d, v.Pool, v.Name, fmt.Sprint("f", i)), []byte(strings.Repeat(fmt.Sprint(i), 1<<20)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.LXC("storage", "volume", "create", "full", "empty")
	before, known := d.Traces(t), volumes(t, d)
	for _, args := range [][]string{
		{"snapshot", "full", "v"}, {"copy", "full/v", "full/other"}, {"copy", "big/w", "full/other"}, {"move", "big/w", "full/w"},
		{"copy", "big/w", "full/empty", "--refresh"},
	} {
		out, err := d.TryLXC(append([]string{"storage", "volume"}, args...)...)
		if err == nil || !strings.Contains(out, "full: free some space") && !strings.Contains(out, "no space left") {
			t.Errorf("%q: %v %s", args, err, out)
		}
		if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
			t.Errorf("%q left over:\n%s", args, strings.Join(diff, "\n"))
		}
		if now := volumes(t, d); len(now) != len(known) {
			t.Errorf("%q: volumes %v", args, now)
		}
	}
	for _, v := range []volume{{"full", "v"}, {"big", "w"}} {
		if b, err := os.ReadFile(inVolume(d, v.Pool, v.Name, "f4")); len(b) != 1<<20 || err != nil {
			t.Errorf("%s lost what it held: %d bytes, %v", v.Name, len(b), err)
		}
	}
	if err := os.Remove(inVolume(d, "full", "v", "f4")); err != nil {
		t.Fatal(err)
	}
	d.LXC("storage", "volume", "delete", "full", "v")
	d.LXC("storage", "volume", "copy", "big/w", "full/v") // there is room again
}

// TestVolumesOverTheirQuota: a copy into a volume that is too small for it leaves nothing behind.
func TestVolumesOverTheirQuota(t *testing.T) {
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		t.Skip("needs btrfs-progs")
	}
	d := harness.New(t)
	d.Start()
	d.LXC("storage", "create", "big", "dir")
	d.LXC("storage", "create", "fast", "btrfs", "size=256MiB")
	d.LXC("storage", "volume", "create", "big", "w")
	if err := os.WriteFile(inVolume(d, "big", "w", "file"), []byte(strings.Repeat("x", 16<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.LXC("storage", "volume", "create", "fast", "v", "size=4MiB")
	d.LXC("storage", "volume", "snapshot", "fast", "v", "s0")
	d.LXC("storage", "volume", "set", "fast", "v", "size=8MiB")
	before := d.Traces(t)
	code, body := d.HTTP("POST", "/1.0/storage-pools/fast/volumes/custom", `{"name":"c","config":{"size":"4MiB"},"source":{"type":"copy","name":"w","pool":"big"}}`)
	var env struct{ Operation string }
	if err := json.Unmarshal([]byte(body), &env); err != nil || code != 202 {
		t.Fatal(code, body)
	}
	_, body = d.HTTP("GET", env.Operation+"/wait", "")
	if !strings.Contains(body, "too small") {
		t.Error(body)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
	if now := volumes(t, d); len(now) != 3 {
		t.Errorf("volumes %v", now)
	}
	d.LXC("storage", "volume", "copy", "big/w", "fast/c")
}

// TestVolumesInContainers: two running containers share a volume, each with its own owners; what they use stays, and Debian's client works with it.
func TestVolumesInContainers(t *testing.T) {
	d := ready(t)
	d.LXC("init", "busybox", "warm")
	d.LXC("delete", "warm")
	before := d.Traces(t)
	d.LXC("storage", "volume", "create", "default", "data")
	for _, name := range []string{"c1", "c2"} {
		d.LXC("launch", "busybox", name)
		d.LXC("storage", "volume", "attach", "default", "data", name, "/srv")
	}
	if got := sh(d, "c1", "echo hello > /srv/file; stat -c %u /srv/file"); got != "0" {
		t.Errorf("the owner inside is %q", got)
	}
	if got := sh(d, "c2", "cat /srv/file; stat -c %u /srv/file; rm /srv/file; echo two > /srv/two"); got != "hello\n0" {
		t.Errorf("the other container sees %q", got)
	}
	d.LXC("storage", "volume", "snapshot", "default", "data", "s0")
	for _, args := range [][]string{
		{"delete", "default", "data"}, {"restore", "default", "data", "s0"}, {"rename", "default", "data", "other"},
	} {
		if out, err := d.TryLXC(append([]string{"storage", "volume"}, args...)...); err == nil || !strings.Contains(out, "in use") {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	d.Kill() // a new daemon knows it too
	d.Start()
	if out, err := d.TryLXC("storage", "volume", "restore", "default", "data", "s0"); err == nil {
		t.Errorf("restored below running containers: %s", out)
	}
	for _, name := range []string{"c1", "c2"} {
		d.LXC("storage", "volume", "detach", "default", "data", name)
	}
	if out := sh(d, "c1", "rm -f /srv/two; ls /srv 2>&1; true"); strings.Contains(out, "two") {
		t.Errorf("after detaching it there is %q", out)
	}
	d.LXC("storage", "volume", "attach", "default", "data/s0", "c1", "old", "/old")
	if got := sh(d, "c1", "cat /old/two; touch /old/x 2>/dev/null || echo read-only"); got != "two\nread-only" {
		t.Errorf("of the snapshot the container sees %q", got)
	}
	d.LXC("delete", "-f", "c1", "c2")
	d.LXC("storage", "volume", "restore", "default", "data", "s0")
	if b, err := os.ReadFile(inVolume(d, "default", "data", "two")); string(b) != "two\n" {
		t.Errorf("restored %q, %v", b, err)
	}
	d.LXC("storage", "volume", "delete", "default", "data")
	volumesOfDebian(t, d)
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

// volumesOfDebian has Debian's client make, attach, list, keep and delete a volume. It does not wait for the server where it was synchronous then.
func volumesOfDebian(t *testing.T, d *harness.Daemon) {
	d.LXC("launch", "busybox", "c1")
	for _, step := range []struct{ args, want string }{
		{"create default theirs", ""}, {"attach default theirs c1 /srv", ""}, {"snapshot default theirs s0", ""}, {"list default", "theirs"},
		{"show default theirs", "name: theirs"}, {"detach default theirs c1", ""}, {"delete default theirs/s0", ""}, {"delete default theirs", ""},
	} {
		eventually(t, step.args, func() bool {
			out, err := foreign(t, d, "", append([]string{"storage", "volume"}, strings.Fields(step.args)...)...)
			if err != nil {
				t.Logf("%s: %v %s", step.args, err, out)
			}
			return err == nil && strings.Contains(out, step.want)
		})
	}
	eventually(t, "gone", func() bool { return len(volumes(t, d)) == 0 })
	d.LXC("delete", "-f", "c1")
}
