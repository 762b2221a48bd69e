//go:build system

package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostilePlaces has a container exchange folders with links to the host while disks and nodes come and go there.
func TestHostilePlaces(t *testing.T) {
	d := ready(t)
	swap := filepath.Join(t.TempDir(), "swap")
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", swap, "testdata/swap.c").CombinedOutput(); err != nil {
		t.Skipf("the guest's program cannot be built, install gcc and libc6-dev: %v: %s", err, out)
	}
	victim, shared := filepath.Join(filepath.Dir(d.Dir), "victim"), filepath.Join(filepath.Dir(d.Dir), "shared")
	for _, dir := range []string{victim, shared} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.LXC("launch", "busybox", "c1")
	d.LXC("file", "push", "--mode", "0755", swap, "c1/swap")
	before := mountsOf(t, "self")
	script := fmt.Sprintf("mkdir -p /r/d /r/e; ln -s %s /r/dl; ln -s %s%s /r/el; "+
		"/swap /r/d /r/dl & /swap /r/e /r/el & while true; do ln -sfn /proc/1/root /r/m; ln -sfn /dev /r/m; mount -t tmpfs x /r/d/in 2>/dev/null; done",
		victim, strings.Repeat("../", 40), victim[1:])
	guest := d.Command(filepath.Join(os.Getenv("LXD_TEST_BIN"), "lxc"), "exec", "c1", "--", "sh", "-c", script)
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guest.Process.Kill(); _ = guest.Wait() }()
	eventually(t, "swaps", func() bool {
		out, _ := d.TryLXC("exec", "c1", "--", "readlink", "/r/d")
		return strings.TrimSpace(out) != ""
	})
	added, refused := 0, 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		for _, argv := range [][]string{
			{"disk", "source=" + shared, "path=/r/d/in"}, {"disk", "source=" + shared, "path=/r/e/in"}, {"disk", "source=" + shared, "path=/r/d"},
			{"unix-char", "source=/dev/null", "path=/r/m/x"}, {"unix-char", "source=/dev/null", "path=/r/e/y"},
		} {
			if _, err := d.TryLXC(append([]string{"config", "device", "add", "c1", "x"}, argv...)...); err != nil {
				refused++
				continue
			}
			added++
			d.LXC("config", "device", "remove", "c1", "x")
		}
	}
	list, err := os.ReadDir(victim)
	if err != nil || len(list) > 0 {
		t.Fatalf("the host is touched: %v %v", list, err)
	}
	if after := mountsOf(t, "self"); after != before {
		t.Errorf("mounts of the host changed:\n%s\nbefore:\n%s", after, before)
	}
	if added < 10 {
		t.Errorf("only %d added, %d refused", added, refused)
	}
	t.Logf("%d added and removed, %d refused", added, refused)
	d.LXC("delete", "-f", "c1")
}

// mountsOf lists the mounts that a process sees below the test's folders.
func mountsOf(t *testing.T, pid string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "/victim") || strings.Contains(line, "/shared") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestDevicesOutliveTheDaemon kills a daemon, and takes away with the next what the first has plugged.
func TestDevicesOutliveTheDaemon(t *testing.T) {
	d := ready(t)
	d.LXC("init", "busybox", "c0")
	before := d.Traces(t)
	node := filepath.Join(filepath.Dir(d.Dir), "late")
	d.LXC("launch", "busybox", "c1")
	d.LXC("config", "device", "add", "c1", "u", "disk", "source=/usr", "path=/mnt/u", "readonly=true")
	d.LXC("config", "device", "add", "c1", "n", "unix-char", "source="+node, "path=/dev/late", "required=false")
	d.Kill()
	if out, err := exec.Command("mknod", node, "c", "10", "237").CombinedOutput(); err != nil {
		t.Fatal(string(out), err)
	}
	d.Start()
	eventually(t, "the node that came meanwhile", func() bool {
		_, err := d.TryLXC("exec", "c1", "--", "sh", "-c", "test -c /dev/late")
		return err == nil
	})
	d.LXC("exec", "c1", "--", "sh", "-c", "test -d /mnt/u/bin")
	d.LXC("config", "device", "remove", "c1", "u")
	d.LXC("config", "device", "remove", "c1", "n")
	if out, err := d.TryLXC("exec", "c1", "--", "sh", "-c", "test -e /mnt/u/bin || test -e /dev/late"); err == nil {
		t.Error("still there:", out)
	}
	d.LXC("delete", "-f", "c1")
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}
