//go:build system

package system

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/test/harness"
)

// TestRemoteClients reaches a daemon over its network address with our client and with Debian's, each made known by a token.
func TestRemoteClients(t *testing.T) {
	d := harness.New(t)
	d.Start()
	d.Init()
	d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	d.LXC("launch", "busybox", "c1")
	d.LXC("config", "set", "core.https_address=127.0.0.1:8443")
	ours := func(args ...string) *exec.Cmd {
		return d.Command(append([]string{filepath.Join(harness.Bin(t), "lxc")}, args...)...)
	}
	debians := func(args ...string) *exec.Cmd {
		c := d.Command(append([]string{"/usr/bin/lxc"}, args...)...)
		c.Env = append(c.Env, "LXD_CONF="+filepath.Dir(d.Dir)+"/foreign")
		return c
	}
	for name, client := range map[string]func(args ...string) *exec.Cmd{"ours": ours, "debians": debians} {
		t.Run(name, func(t *testing.T) {
			if name == "debians" {
				foreign(t, d, "", "version") // skips where there is none
			}
			defer d.Use(t)()
			must := func(want string, args ...string) {
				t.Helper()
				out, err := client(args...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("lxc %s: %v: no %q in %s", strings.Join(args, " "), err, want, out)
				}
			}
			token := strings.TrimSpace(d.LXC("config", "trust", "add", "--name", name, "-q"))
			must("", "remote", "add", "box", token)
			must("RUNNING", "list", "box:")
			must("c1", "exec", "box:c1", "--", "hostname")
			must("Status: RUNNING", "info", "box:c1")
			must(name, "config", "trust", "list", "box:")
			must("lxdbr0", "network", "list", "box:")
			must("busybox", "image", "list", "box:")
			c := client("exec", "box:c1", "--", "cat")
			c.Stdin = strings.NewReader("over the network")
			if out, err := c.CombinedOutput(); err != nil || string(out) != "over the network" {
				t.Errorf("exec with stdin: %v %s", err, out)
			}
			if err := client("exec", "box:c1", "--", "sh", "-c", "exit 42").Run(); err == nil || err.(*exec.ExitError).ExitCode() != 42 {
				t.Errorf("exit code: %v", err)
			}
			must("", "stop", "-f", "box:c1")
			must("", "start", "box:c1")
			must("", "remote", "remove", "box")
		})
	}
	// whoever is trusted already needs no token, and uses none up
	token := strings.TrimSpace(d.LXC("config", "trust", "add", "--name", "last", "-q"))
	if out, err := ours("remote", "add", "box", token).CombinedOutput(); err != nil || !strings.Contains(d.LXC("config", "trust", "list-tokens"), "last") {
		t.Errorf("the token was used up: %v %s", err, out)
	}
}
