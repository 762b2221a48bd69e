//go:build system

package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

// plain tells whether the container's root is a tree of its own, and not a layer on its image.
func plain(t *testing.T, d *harness.Daemon, name string) bool {
	t.Helper()
	return !strings.HasPrefix(in(t, d, name, "awk '$2 == \"/\" {print $1, $3}' /proc/mounts"), "overlay")
}

// TestContainerInContainer runs the programs under test inside of a guest, and a guest of theirs.
func TestContainerInContainer(t *testing.T) {
	d := guests(t)
	before := d.Traces(t)
	d.LXC("launch", "debian", "outer", "-c", "security.nesting=true")
	up(t, d, "outer")
	if !plain(t, d, "outer") {
		t.Error("the root of a container that runs containers is an overlay")
	}
	in(t, d, "outer", `mkdir -p /l/d /u /w /m; echo low > /l/d/x; mount -t overlay -o lowerdir=/l,upperdir=/u,workdir=/w,userxattr overlay /m
		echo new > /m/d/x; test $(cat /l/d/x /u/d/x | tr '\n' ' ' | tr -d ' ') = lownew; umount /m`)

	for _, program := range []string{"lxd", "lxc", "lxd-lxc"} {
		send(t, d, "outer", filepath.Join(os.Getenv("LXD_TEST_BIN"), program), "/usr/local/bin/"+program, "755")
	}
	send(t, d, "outer", harness.WriteImage(t, harness.Busybox(t)), "/root/busybox.tar.gz", "644")
	in(t, d, "outer", `cat > /etc/systemd/system/lxd.service <<'UNIT'
[Service]
ExecStart=/usr/local/bin/lxd --debug --logfile /root/lxd.log
ExecStop=/usr/local/bin/lxd shutdown
KillMode=process
Delegate=yes
TasksMax=infinity
UNIT
		systemctl daemon-reload; systemctl start lxd; lxd waitready --timeout=30; lxd init --auto; lxc image import /root/busybox.tar.gz --alias busybox`)
	in(t, d, "outer", "lxc launch busybox inner; lxc launch busybox other -c limits.processes=40")
	if got := in(t, d, "outer", "lxc list -f csv -c ns"); got != "inner,RUNNING\nother,RUNNING" {
		t.Errorf("inside: %q: %s", got, in(t, d, "outer", "lxc info --show-log inner; tail -n 20 /root/lxd.log"))
	}
	ids := strings.Fields(in(t, d, "outer", "lxc exec inner -- cat /proc/self/uid_map"))
	if len(ids) != 3 || ids[0] != "0" || ids[1] == "0" {
		t.Errorf("the id map of the inner container: %v", ids)
	}
	in(t, d, "outer", `for i in $(seq 100); do ip=$(lxc list ^inner$ -f csv -c 4 | cut -d' ' -f1); [ -z "$ip" ] || break; sleep 0.1; done
		for i in $(seq 100); do lxc exec other -- nslookup inner.lxd 2>/dev/null | grep -q $ip && break; sleep 0.1; done # it sets itself up too
		ping -c1 -W5 $ip; lxc exec other -- ping -c1 -W5 $ip; lxc exec other -- nslookup inner.lxd | grep -q $ip`)
	in(t, d, "outer", `test "$(echo through | lxc exec inner -- cat)" = through; lxc exec inner -- sh -c 'touch /x && stat -c %u /x' | grep -qx 0
		! lxc exec inner -- sh -c 'exit 9'; lxc restart -f inner; lxc exec inner -- ls /x
		lxc config set other limits.memory=32MiB
		! lxc exec other -- dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null`)

	d.LXC("restart", "outer") // with what runs in it
	up(t, d, "outer")
	in(t, d, "outer", "systemctl start lxd; lxd waitready --timeout=30; for i in $(seq 100); do lxc exec inner -- ls /x 2>/dev/null && break; sleep 0.1; done; lxc exec inner -- ls /x; lxc delete -f inner other; lxc image delete busybox; lxc list -f csv | wc -l | grep -qx 0")
	d.LXC("delete", "-f", "outer")
	if diff := before.Diff(d.Traces(t)); len(diff) > 1 { // the image's volume may stay cached
		t.Errorf("left over:\n%s", strings.Join(diff, "\n"))
	}
}

// TestNestingOnAndOff: the root changes its form at the next start, and keeps what is in it.
func TestNestingOnAndOff(t *testing.T) {
	d := guests(t)
	d.LXC("launch", "debian", "c1")
	up(t, d, "c1")
	if plain(t, d, "c1") {
		t.Skip("this file system cannot carry layers, so that there is nothing to change")
	}
	in(t, d, "c1", `echo kept > /root/kept; chown 1234:1234 /root/kept; rm -r /usr/share/common-licenses; cp /bin/sleep /usr/local/bin/s
		setcap cap_net_raw+ep /usr/local/bin/s; mv /usr/share/doc /usr/share/docs; ln /root/kept /root/kept2; mkfifo /root/fifo`)
	check := func() {
		t.Helper()
		in(t, d, "c1", `test "$(cat /root/kept; stat -c %u:%g:%h /root/kept)" = "kept
1234:1234:2"; test ! -e /usr/share/common-licenses; getcap /usr/local/bin/s | grep -q cap_net_raw=ep; test -d /usr/share/docs/bash; test ! -e /usr/share/doc
			test -p /root/fifo; test -u /usr/bin/passwd; test $(stat -c %u:%g /etc/shadow /home | tr '\n' ' ' | tr -d ' ') = 0:420:0`)
	}
	d.LXC("config", "set", "c1", "security.nesting=true")
	check()
	d.LXC("restart", "c1")
	up(t, d, "c1")
	if !plain(t, d, "c1") {
		t.Error("still a layer")
	}
	check()
	in(t, d, "c1", "echo later > /root/later")
	d.LXC("config", "set", "c1", "security.nesting=false")
	d.LXC("restart", "c1")
	up(t, d, "c1")
	check()
	in(t, d, "c1", "grep -q later /root/later")
	d.LXC("launch", "debian", "c2", "-c", "security.nesting=true") // the image is still whole
	up(t, d, "c2")
	in(t, d, "c2", "test -d /usr/share/doc/bash; test ! -e /root/kept")
}
