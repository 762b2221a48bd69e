//go:build system

package system

import (
	"os/exec"
	"strings"
	"testing"

	"lxd/test/harness"
)

// readyOnBtrfs is a daemon whose instances are in a btrfs pool, which is in a file of that size.
func readyOnBtrfs(t *testing.T, size string) *harness.Daemon {
	t.Helper()
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		t.Skip("needs btrfs-progs")
	}
	d := harness.New(t)
	d.Start()
	d.LXC("storage", "create", "fast", "btrfs", "size="+size)
	d.LXC("network", "create", "lxdbr0")
	d.LXC("profile", "device", "add", "default", "root", "disk", "path=/", "pool=fast")
	d.LXC("profile", "device", "add", "default", "eth0", "nic", "network=lxdbr0", "name=eth0")
	d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	return d
}

// sh runs a shell script in an instance.
func sh(d *harness.Daemon, name, script string) string {
	return strings.TrimSpace(d.LXC("exec", name, "--", "sh", "-c", script))
}

func TestBtrfsInstances(t *testing.T) {
	d := readyOnBtrfs(t, "512MiB")
	before := d.Traces(t)
	d.LXC("launch", "busybox", "c1")
	if got := sh(d, "c1", "echo one > /root/f; stat -c %u /root/f; cat /proc/self/uid_map"); !strings.HasPrefix(got, "0\n") || !strings.Contains(got, "1000000") {
		t.Errorf("owner and map: %q", got)
	}
	d.LXC("snapshot", "c1", "s0")
	sh(d, "c1", "echo two > /root/f")
	d.LXC("copy", "c1", "c2")
	d.LXC("copy", "c1/s0", "c3")
	d.LXC("start", "c2", "c3")
	for name, want := range map[string]string{"c1": "two", "c2": "two", "c3": "one"} {
		if got := sh(d, name, "cat /root/f"); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	d.LXC("restore", "c1", "s0")
	if got := sh(d, "c1", "cat /root/f"); got != "one" {
		t.Errorf("restored %q", got)
	}
	d.LXC("stop", "-f", "c2")
	d.LXC("rename", "c2", "c4")
	d.LXC("start", "c4")
	if got := sh(d, "c4", "cat /root/f"); got != "two" {
		t.Errorf("renamed %q", got)
	}
	if info := d.LXC("info", "c4"); !strings.Contains(info, "s0") {
		t.Errorf("no snapshot in %s", info)
	}
	d.Terminate() // instances run on
	d.Start()
	if got := sh(d, "c3", "echo three > /root/f; cat /root/f"); got != "three" {
		t.Errorf("after a restart: %q", got)
	}
	d.LXC("snapshot", "c3", "late")
	d.Kill()
	d.Start()
	d.LXC("delete", "-f", "c1", "c3", "c4")
	if diff := before.Diff(d.Traces(t)); len(diff) > 2 { // the image's volume stays
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
	d.LXC("image", "delete", "busybox")
	d.LXC("profile", "device", "remove", "default", "root")
	d.LXC("storage", "delete", "fast")
	for _, trace := range d.Traces(t) {
		if strings.Contains(trace, "fast") {
			t.Errorf("left of the pool: %s", trace)
		}
	}
}
