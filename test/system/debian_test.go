//go:build system

package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

// foreign runs Debian's own lxc 5.0.2, a client that shares no code with ours.
func foreign(t *testing.T, d *harness.Daemon, stdin string, args ...string) (string, error) {
	t.Helper()
	const lxc = "/usr/bin/lxc"
	if _, err := os.Stat(lxc); err != nil {
		t.Skip("needs Debian's lxc: install lxd-client")
	}
	c := exec.Command(lxc, args...)
	c.Env = append(os.Environ(), "LXD_DIR="+d.Dir, "LXD_CONF="+filepath.Dir(d.Dir)+"/foreign", "HOME="+filepath.Dir(d.Dir))
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestDebiansClient(t *testing.T) {
	d := harness.New(t)
	d.Start()
	d.Init()
	must := func(args ...string) string {
		t.Helper()
		out, err := foreign(t, d, "", args...)
		if err != nil {
			t.Fatalf("lxc %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return out
	}
	contains := func(out, want string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	contains(must("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox"), "fingerprint")
	contains(must("image", "list"), "busybox")
	contains(must("image", "info", "busybox"), "Architecture: x86_64")
	// a server of version 6.7 names the new instance where this client does not look
	if out, err := foreign(t, d, "", "init", "busybox", "c1"); err == nil || !strings.Contains(out, "Didn't get any affected image") {
		t.Errorf("init: %v %s", err, out)
	}
	must("start", "c1")
	address(t, d, "c1")
	contains(must("list"), "RUNNING")
	contains(must("list", "--fast"), "c1")
	contains(must("list", "-f", "json"), `"name":"c1"`)
	contains(must("info", "c1"), "Status: RUNNING")
	contains(must("exec", "c1", "--", "hostname"), "c1")
	if out, err := foreign(t, d, "over stdin", "exec", "c1", "--", "cat"); err != nil || out != "over stdin" {
		t.Errorf("exec with stdin: %q %v", out, err)
	}
	if _, err := foreign(t, d, "", "exec", "c1", "--", "sh", "-c", "exit 42"); err == nil || err.(*exec.ExitError).ExitCode() != 42 {
		t.Errorf("exit code: %v", err)
	}
	must("config", "set", "c1", "user.colour", "blue")
	contains(must("config", "get", "c1", "user.colour"), "blue")
	contains(must("config", "show", "c1"), "user.colour: blue")
	must("config", "set", "c1", "limits.memory", "128MiB")
	contains(must("config", "device", "list", "c1", "--project", "default"), "")
	must("profile", "create", "p1")
	must("profile", "set", "p1", "user.x", "1")
	must("profile", "add", "c1", "p1")
	contains(must("profile", "show", "p1"), "/1.0/instances/c1")
	must("profile", "remove", "c1", "p1")
	must("profile", "delete", "p1")
	must("exec", "c1", "--", "sh", "-c", "echo shown > /dev/console")
	contains(must("console", "c1", "--show-log"), "shown")
	contains(must("network", "list"), "lxdbr0")
	contains(must("network", "show", "lxdbr0"), "ipv4.address")
	contains(must("network", "list-leases", "lxdbr0"), "c1")
	contains(must("network", "info", "lxdbr0"), "Name: lxdbr0")
	contains(must("storage", "list"), "dir")
	contains(must("storage", "show", "default"), "driver: dir")
	contains(must("storage", "info", "default"), "name: default")
	contains(must("storage", "volume", "list", "default"), "c1")
	contains(must("operation", "list"), "")
	contains(must("query", "/1.0"), "api_extensions")
	contains(must("project", "list"), "default")
	must("exec", "c1", "--", "sh", "-c", "echo one > /root/f")
	must("snapshot", "c1", "before")
	must("exec", "c1", "--", "sh", "-c", "echo two > /root/f")
	contains(must("info", "c1"), "before")
	contains(must("config", "show", "c1/before"), "busybox")
	if out, err := foreign(t, d, "", "copy", "c1/before", "c2"); err != nil && !strings.Contains(out, "affected") {
		t.Errorf("copy: %v %s", err, out)
	}
	must("start", "c2")
	contains(must("exec", "c2", "--", "cat", "/root/f"), "one")
	must("delete", "-f", "c2")
	must("restore", "c1", "before")
	contains(must("exec", "c1", "--", "cat", "/root/f"), "one")
	must("rename", "c1/before", "c1/after")
	must("delete", "c1/after")
	must("restart", "-f", "c1")
	must("stop", "-f", "c1")
	contains(must("list", "c1"), "STOPPED")
	must("delete", "c1")
	fingerprint, _, _ := strings.Cut(must("image", "list", "busybox", "-f", "csv", "-c", "F"), "\n")
	must("image", "alias", "create", "other", fingerprint)
	contains(must("image", "alias", "list"), "other")
	must("image", "delete", "busybox")
}
