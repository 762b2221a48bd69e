//go:build system

package system

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// TestHostileNames has a guest name its interface so that a terminal which shows it would obey.
func TestHostileNames(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	address(t, d, "c1")
	d.LXC("exec", "c1", "--", "sh", "-c", `n=$(printf '\033]0;x\007'); ip link set eth0 down; ip link set eth0 name "$n"; ip link set "$n" up; ip addr add 10.9.9.9/24 dev "$n"`)
	for _, argv := range [][]string{{"list"}, {"list", "-f", "compact"}} {
		if out := d.LXC(argv...); strings.ContainsAny(out, "\x1b\x07") || !strings.Contains(out, "10.9.9.9") {
			t.Errorf("%q: %q", argv, out)
		}
	}
	d.LXC("delete", "-f", "c1")
}

// TestHostileFreezer has a guest freeze its own first process, which keeps that from being killed.
func TestHostileFreezer(t *testing.T) {
	d := ready(t)
	d.LXC("init", "busybox", "c0") // makes the volume of the image, which stays
	before := d.Traces(t)
	d.LXC("launch", "busybox", "c1")
	d.LXC("exec", "c1", "--", "sh", "-c", `cd /sys/fs/cgroup/freezer 2>/dev/null || exit 0; mkdir own && echo 1 >own/cgroup.procs
		{ sleep 0.2; echo FROZEN >own/freezer.state; } >/dev/null 2>&1 &`)
	time.Sleep(500 * time.Millisecond)
	begun := time.Now()
	d.LXC("delete", "-f", "c1")
	if took := time.Since(begun); took > 10*time.Second {
		t.Error("it took", took)
	}
	if diff := before.Diff(d.Traces(t)); len(diff) > 0 {
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

// TestForeignInterfaceStays creates an instance as if it had an interface of the host's, and lets its start fail after its NIC was made.
func TestForeignInterfaceStays(t *testing.T) {
	d := ready(t)
	for _, argv := range [][]string{{"link", "add", "foreign0", "type", "bridge"}, {"link", "add", "foreign1", "type", "veth", "peer", "name", "foreign2"}} {
		if out, err := exec.Command("ip", append([]string{"-n", d.Netns}, argv...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	d.LXC("image", "import", harness.WriteImage(t, []harness.Entry{
		{Name: "metadata.yaml", Body: harness.Metadata}, {Name: "rootfs/", Type: '5', Mode: 0o755}, {Name: "rootfs/etc/none", Body: "x"},
	}), "--alias", "broken")
	for _, name := range []string{"foreign0", "foreign1"} {
		code, answer := d.HTTP("POST", "/1.0/instances", `{"name": "c1", "source": {"type": "image", "alias": "broken"}, "config": {"volatile.eth0.host_name": "`+name+`"}}`)
		if code != 202 {
			t.Fatal(code, answer)
		}
		eventually(t, "created", func() bool { _, err := d.TryLXC("config", "show", "c1"); return err == nil })
		time.Sleep(300 * time.Millisecond)
		if out, err := d.TryLXC("start", "c1"); err == nil {
			t.Errorf("started: %s", out)
		}
		d.LXC("delete", "-f", "c1")
		if out, err := exec.Command("ip", "-n", d.Netns, "link", "show", name).CombinedOutput(); err != nil {
			t.Errorf("%s is gone: %s", name, out)
		}
	}
}

// TestOthersOnTheHostReadNothing looks at all that a daemon with a running instance keeps, as a user of the host without rights.
func TestOthersOnTheHostReadNothing(t *testing.T) {
	d := ready(t)
	d.LXC("launch", "busybox", "c1")
	all, err := exec.Command("find", d.Dir).Output()
	if err != nil || !strings.Contains(string(all), "/rootfs/bin/busybox") {
		t.Fatal(err, string(all))
	}
	c := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c",
		`while read -r f; do if [ -d "$f" ]; then [ ! -w "$f" ] && [ ! -r "$f" ] || echo "$f"; elif [ -r "$f" ] || [ -w "$f" ] || [ -x "$f" ]; then echo "$f"; fi; done`)
	c.Stdin = strings.NewReader(string(all))
	out, err := c.Output()
	if err != nil {
		t.Skipf("setpriv: %v", err)
	}
	for f := range strings.Lines(string(out)) {
		// dnsmasq, which has few rights, reads its own; a certificate is public
		if f = strings.TrimPrefix(strings.TrimSpace(f), d.Dir+"/"); !strings.HasPrefix(f, "networks/") && f != "server.crt" {
			t.Errorf("open to others: %s", f)
		}
	}
	d.LXC("delete", "-f", "c1")
}
