//go:build system

package system

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
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

// TestCrashOnBtrfs is the part of the matrix of crashes in which volumes come, change and go.
func TestCrashOnBtrfs(t *testing.T) {
	volumes := []string{"instance-create", "instance-delete", "instance-snapshot", "instance-snapshot-rename", "instance-restore", "instance-rename", "instance-rebuild"}
	matrix(t, readyOnBtrfs(t, "512MiB"), func(kind string) bool { return slices.Contains(volumes, kind) }, "before=kill", "after=kill")
}

// TestBtrfsQuota: the size of a root disk holds inside, changes while the instance runs, and shows in its state.
func TestBtrfsQuota(t *testing.T) {
	d := readyOnBtrfs(t, "1GiB")
	d.LXC("launch", "busybox", "c1", "-d", "root,size=64MiB")
	write := func(mib int) string {
		return sh(d, "c1", fmt.Sprintf("dd if=/dev/zero of=/root/big bs=1M count=%d 2>&1; rm -f /root/big; sync", mib))
	}
	if out := write(40); strings.Contains(out, "rror") || strings.Contains(out, "uota") {
		t.Errorf("40 of 64 MiB: %s", out)
	}
	if out := write(100); !strings.Contains(out, "quota exceeded") {
		t.Errorf("100 of 64 MiB: %s", out)
	}
	d.LXC("config", "device", "set", "c1", "root", "size=256MiB")
	if out := write(100); strings.Contains(out, "quota exceeded") {
		t.Errorf("100 of 256 MiB: %s", out)
	}
	if _, body := d.HTTP("GET", "/1.0/instances/c1/state", ""); !regexp.MustCompile(`"disk":\{"root":\{"usage":[1-9]\d{5,},"total":268435456\}`).MatchString(body) {
		t.Errorf("state of the disk: %s", body)
	}
	sh(d, "c1", "dd if=/dev/zero of=/root/kept bs=1M count=100 2>&1; true")
	d.LXC("snapshot", "c1", "s0")
	d.LXC("copy", "c1", "c2") // with the same size
	d.LXC("start", "c2")
	if out := sh(d, "c2", "dd if=/dev/zero of=/root/more bs=1M count=200 2>&1; true"); !strings.Contains(out, "quota exceeded") {
		t.Errorf("300 of 256 MiB in a copy: %s", out)
	}
	d.LXC("restore", "c1", "s0")
	if out := sh(d, "c1", "dd if=/dev/zero of=/root/more bs=1M count=200 2>&1; true"); !strings.Contains(out, "quota exceeded") {
		t.Errorf("300 of 256 MiB after a restore: %s", out)
	}
	d.LXC("stop", "-f", "c1")
	d.LXC("start", "c1") // full as it is
	d.LXC("config", "device", "unset", "c1", "root", "size")
	sh(d, "c1", "dd if=/dev/zero of=/root/more bs=1M count=200 2>&1; true")
	if out, err := d.TryLXC("config", "device", "set", "c1", "root", "size=nonsense"); err == nil {
		t.Errorf("a size was taken: %s", out)
	}
}

// TestBtrfsInside: a container makes subvolumes of its own, which go along with its snapshots and copies.
func TestBtrfsInside(t *testing.T) {
	d := readyOnBtrfs(t, "512MiB")
	before := d.Traces(t)
	d.LXC("launch", "busybox", "c1")
	// as the container's root, below its root
	inside := func(args ...string) {
		t.Helper()
		pid := state(t, d, "c1").Pid
		args[len(args)-1] = fmt.Sprintf("/proc/%d/root%s", pid, args[len(args)-1])
		out, err := exec.Command("nsenter", append([]string{fmt.Sprintf("--user=/proc/%d/ns/user", pid), "btrfs"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("btrfs %v: %v: %s", args, err, out)
		}
	}
	inside("subvolume", "create", "/root/own")
	inside("subvolume", "create", "/root/gone")
	sh(d, "c1", "echo x > /root/gone/x; rm -r /root/gone")
	sh(d, "c1", "echo one > /root/own/f")
	d.LXC("snapshot", "c1", "s0")
	sh(d, "c1", "echo two > /root/own/f")
	d.LXC("copy", "c1", "c2")
	d.LXC("start", "c2")
	if got := sh(d, "c2", "cat /root/own/f"); got != "two" {
		t.Errorf("the copy holds %q", got)
	}
	d.LXC("restore", "c1", "s0")
	if got := sh(d, "c1", "cat /root/own/f; echo three > /root/own/f"); got != "one" {
		t.Errorf("restored %q", got)
	}
	d.LXC("delete", "c1/s0")
	d.LXC("delete", "-f", "c1", "c2")
	if diff := before.Diff(d.Traces(t)); len(diff) > 2 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
	out, err := exec.Command("btrfs", "subvolume", "list", d.Dir+"/storage-pools/fast").CombinedOutput()
	if err != nil || strings.Count(string(out), "\n") != 1 { // the image
		t.Errorf("subvolumes: %s, %v", out, err)
	}
}

// TestBtrfsFull: a pool without space fails what needs some, says why, and keeps nothing of it.
func TestBtrfsFull(t *testing.T) {
	d := readyOnBtrfs(t, "300MiB")
	d.LXC("launch", "busybox", "c1")
	d.LXC("launch", "busybox", "bystander")
	if out := sh(d, "c1", "dd if=/dev/urandom of=/root/big bs=1M count=400 2>&1; dd if=/dev/urandom of=/root/small bs=4k count=4000 2>&1; sync"); !strings.Contains(out, "No space left") {
		t.Fatalf("not full: %s", out)
	}
	big := append(harness.Busybox(t), harness.Entry{Name: "rootfs/root/large", Body: strings.Repeat("0123456789", 5<<20)})
	d.LXC("image", "import", harness.WriteImage(t, big), "--alias", "large")
	before := d.Traces(t)
	if out, err := d.TryLXC("init", "large", "c2"); err == nil || !strings.Contains(out, "is full") {
		t.Errorf("unpacked into a full pool: %v %s", err, out)
	}
	// these need little: they work, or say why not
	for _, c := range [][]string{{"snapshot", "c1", "s0"}, {"copy", "c1", "c3"}, {"restore", "c1", "s0"}} {
		if out, err := d.TryLXC(c...); err != nil && !strings.Contains(out, "is full") && !strings.Contains(out, "not found") {
			t.Errorf("%q: %s", c, out)
		}
	}
	_, _ = d.TryLXC("delete", "c3")
	_, _ = d.TryLXC("delete", "c1/s0")
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		for _, line := range diff { // the restored instance runs again, with another monitor
			if !strings.Contains(line, "process") && !strings.Contains(line, "link") && !strings.Contains(line, "snapshots") {
				t.Errorf("left over: %s", line)
			}
		}
	}
	d.LXC("storage", "set", "fast", "size=600MiB")
	d.LXC("init", "large", "c2")
	d.LXC("delete", "-f", "c1", "c2")
	if got := sh(d, "bystander", "echo alive"); got != "alive" {
		t.Errorf("the bystander says %q", got)
	}
}

// TestBtrfsPools: pools are made, grown, shown and deleted, also by a client that shares no code with ours.
func TestBtrfsPools(t *testing.T) {
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		t.Skip("needs btrfs-progs")
	}
	d := harness.New(t)
	d.Start()
	before := d.Traces(t)
	if out, err := foreign(t, d, "", "storage", "create", "theirs", "btrfs", "size=300MiB"); err != nil {
		t.Errorf("Debian's client: %v: %s", err, out)
	}
	d.LXC("storage", "create", "ours", "btrfs")
	if out := d.LXC("storage", "show", "ours"); !strings.Contains(out, "size: ") || !strings.Contains(out, "source: "+d.Dir+"/disks/ours.img") {
		t.Errorf("defaults: %s", out)
	}
	if out := d.LXC("storage", "info", "theirs", "--bytes"); !strings.Contains(out, `total space: "314572800"`) {
		t.Errorf("info: %s", out)
	}
	d.LXC("storage", "set", "theirs", "size=400MiB")
	if out := d.LXC("storage", "info", "theirs", "--bytes"); !strings.Contains(out, `total space: "419430400"`) {
		t.Errorf("grown: %s", out)
	}
	for _, c := range [][]string{{"storage", "set", "theirs", "size=310MiB"}, {"storage", "set", "theirs", "source=/x"},
		{"storage", "create", "bad", "btrfs", "size=1MiB"}, {"storage", "create", "bad", "btrfs", "source=" + d.Dir}} {
		if out, err := d.TryLXC(c...); err == nil {
			t.Errorf("%q was taken: %s", c, out)
		}
	}
	if out, err := d.TryLXC("storage", "create", "sub", "btrfs", "source="+d.Dir+"/storage-pools/sub"); err == nil {
		d.LXC("storage", "delete", "sub") // the test's own folder is on btrfs
	} else if !strings.Contains(out, "not on a btrfs file system") {
		t.Errorf("own folder: %s", out)
	}
	d.Kill()
	d.Start()
	for _, name := range []string{"theirs", "ours"} {
		if out := d.LXC("storage", "list", "-f", "csv"); !strings.Contains(out, name+",btrfs") || !strings.Contains(out, "CREATED") {
			t.Errorf("after a crash: %s", out)
		}
		d.LXC("storage", "delete", name)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

// TestCopyBetweenPools: owners, what lies beside the root, and snapshots come along, wherever a copy goes.
func TestCopyBetweenPools(t *testing.T) {
	d := readyOnBtrfs(t, "400MiB")
	d.LXC("storage", "create", "slow", "dir")
	d.LXC("storage", "create", "fast2", "btrfs", "size=400MiB")
	d.LXC("launch", "busybox", "c1", "-s", "slow")
	sh(d, "c1", "echo one > /root/f; chown 1000:1001 /root/f; chmod 4755 /root/f; mkdir -p /root/d; ln /root/f /root/d/g")
	d.LXC("snapshot", "c1", "s0")
	sh(d, "c1", "echo two > /root/f; chown 1000:1001 /root/f; chmod 4755 /root/f")
	last := "c1"
	for i, pool := range []string{"fast", "fast2", "slow", "fast"} {
		name := fmt.Sprint("copy", i)
		if i == 1 {
			d.LXC("copy", last, name, "-s", pool) // of a running one
			d.LXC("delete", "-f", last)
		} else {
			d.LXC("copy", last, name, "-s", pool)
		}
		d.LXC("start", name)
		if got := sh(d, name, "stat -c '%u:%g %a %h' /root/d/g; cat /root/f"); got != "1000:1001 4755 2\ntwo" {
			t.Errorf("%s on %s: %q", name, pool, got)
		}
		last = name
	}
	if out := d.LXC("config", "show", last); !strings.Contains(out, "pool: fast") {
		t.Errorf("%s", out)
	}
	d.LXC("restore", last, "s0")
	if got := sh(d, last, "stat -c '%u:%g %a %h' /root/d/g; cat /root/f"); got != "1000:1001 4755 2\none" {
		t.Errorf("restored: %q", got)
	}
	d.LXC("copy", "c1/s0", "old", "-s", "fast2")
	d.LXC("start", "old")
	if got := sh(d, "old", "cat /root/f"); got != "one" {
		t.Errorf("copy of a snapshot: %q", got)
	}
}
