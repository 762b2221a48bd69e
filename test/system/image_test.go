//go:build system

package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/client/simplestreams/tree"
	"lxd/test/harness"
)

// client is one of the two programs, with a configuration of its own, in the network of a daemon.
type client struct {
	t    *testing.T
	d    *harness.Daemon
	path string
	env  []string
}

func (c client) run(args ...string) (string, error) {
	cmd := c.d.Command(append([]string{c.path}, args...)...)
	cmd.Env = append(cmd.Env, c.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// launch makes an instance of a remote image and starts it. Debian's client, which is older than the API that it speaks here, does not find
// the name of what it made.
func (c client) launch(image, instance string) {
	c.t.Helper()
	out, err := c.run("init", image, instance)
	if err != nil && !strings.Contains(out, "Didn't get any affected image") {
		c.t.Fatalf("%s init %s: %v: %s", c.path, image, err, out)
	}
	c.must("start", instance)
}

func (c client) must(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("%s %s: %v: %s", c.path, strings.Join(args, " "), err, out)
	}
	return out
}

// clients are ours and, where it is installed, Debian's. Both trust the authority of tests.
func clients(t *testing.T, d *harness.Daemon) map[string]client {
	t.Helper()
	authority, err := harness.Trust(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"SSL_CERT_FILE=" + authority}
	all := map[string]client{"ours": {t, d, filepath.Join(harness.Bin(t), "lxc"), append(env, "LXD_CONF="+t.TempDir())}}
	if _, err := exec.LookPath("/usr/bin/lxc"); err == nil {
		all["debians"] = client{t, d, "/usr/bin/lxc", append(env, "LXD_CONF="+t.TempDir())}
	}
	return all
}

// twoServers are two daemons that reach each other: the second is in the network namespace of the first.
func twoServers(t *testing.T) (d, other *harness.Daemon, env string) {
	t.Helper()
	authority, err := harness.Trust(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env = "SSL_CERT_FILE=" + authority
	d, other = harness.New(t), harness.New(t)
	other.Netns = d.Netns
	for i, one := range []*harness.Daemon{d, other} {
		one.Start(env)
		one.LXC("config", "set", "core.https_address=127.0.0.1:"+[]string{"8443", "9443"}[i])
		one.LXC("storage", "create", "default", "dir")
		one.LXC("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default")
	}
	return d, other, env
}

// TestImagesBetweenServers copies images between two of our servers, with our client and with Debian's, in all ways that there are, and starts
// what came of it.
func TestImagesBetweenServers(t *testing.T) {
	d, other, _ := twoServers(t)
	d.LXC("image", "import", harness.WriteImage(t, harness.Busybox(t)), "--alias", "busybox")
	for name, c := range clients(t, d) {
		for remote, one := range map[string]*harness.Daemon{"a": d, "b": other} {
			token := strings.TrimSpace(one.LXC("config", "trust", "add", "--name", name, "-q"))
			c.must("remote", "add", remote, token)
		}
		for _, mode := range []string{"pull", "push", "relay"} {
			c.must("image", "copy", "a:busybox", "b:", "--mode", mode, "--alias", mode, "--copy-aliases")
			if out := other.LXC("image", "list", "-f", "csv", "-c", "L"); !strings.Contains(out, "busybox") || !strings.Contains(out, mode) {
				t.Errorf("%s, %s: %s", name, mode, out)
			}
			if mode == "relay" {
				other.LXC("launch", "busybox", "c1")
				other.LXC("exec", "c1", "--", "true")
				other.LXC("delete", "-f", "c1")
			}
			other.LXC("image", "delete", mode)
		}
		c.launch("a:busybox", "b:c2")
		if out := other.LXC("image", "list", "-f", "json"); !strings.Contains(out, `"cached":true`) {
			t.Errorf("%s: not cached: %s", name, out)
		}
		other.LXC("publish", "c2", "--force", "--alias", "published")
		c.must("image", "copy", "b:published", "a:", "--alias", name)
		d.LXC("launch", name, "c3")
		d.LXC("exec", "c3", "--", "true")
		d.LXC("delete", "-f", "c3")
		other.LXC("delete", "-f", "c2")
		for _, i := range strings.Fields(other.LXC("image", "list", "-f", "csv", "-c", "f")) {
			other.LXC("image", "delete", i)
		}
		d.LXC("image", "delete", name)
	}
}

// TestImageServer has an image server, over https: both clients list it, and our daemon launches from it for them, also squashfs.
func TestImageServer(t *testing.T) {
	d, _, _ := twoServers(t)
	web, root := t.TempDir(), t.TempDir()
	whole := harness.WriteImage(t, harness.Busybox(t))
	if out, err := exec.Command("tar", "-C", root, "-xf", whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := func(name string) string { return filepath.Join(root, name) }
	for _, c := range [][]string{{"tar", "-C", root, "-cJf", file("meta.tar.xz"), "metadata.yaml"},
		{"mksquashfs", file("rootfs"), file("root.squashfs"), "-quiet", "-noappend", "-no-progress", "-comp", "xz"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs %s: %v: %s", c[0], err, out)
		}
	}
	images := []tree.Image{
		{OS: "Busybox", Release: "1", Arch: "amd64", Aliases: []string{"busybox", "default"}, Serial: "20250101_0000", Meta: file("meta.tar.xz"), Root: file("root.squashfs")},
		{OS: "Busybox", Release: "whole", Arch: "amd64", Aliases: []string{"whole"}, Serial: "20250101_0000", Meta: whole},
	}
	if err := tree.Write(web, images); err != nil {
		t.Fatal(err)
	}
	address, stop, err := harness.Serve(d.Netns, web)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for name, c := range clients(t, d) {
		token := strings.TrimSpace(d.LXC("config", "trust", "add", "--name", name, "-q"))
		c.must("remote", "add", "box", token)
		c.must("remote", "add", "mirror", address, "--protocol=simplestreams")
		if out := c.must("image", "list", "mirror:", "-f", "csv"); !strings.Contains(out, "Busybox 1 amd64") || !strings.Contains(out, "whole") {
			t.Errorf("%s: %s", name, out)
		}
		for _, alias := range []string{"busybox", "whole"} {
			c.launch("mirror:"+alias, "box:m1")
			d.LXC("exec", "m1", "--", "true")
			d.LXC("delete", "-f", "m1")
		}
		c.must("image", "copy", "mirror:busybox", "box:", "--alias", "mine", "--auto-update")
		if out := d.LXC("image", "info", "mine"); !strings.Contains(out, "Auto update: enabled") || !strings.Contains(out, "Server: "+address) {
			t.Errorf("%s: %s", name, out)
		}
		if out := c.must("image", "refresh", "box:mine"); !strings.Contains(out, "up to date") {
			t.Errorf("%s: %s", name, out)
		}
		for _, i := range strings.Fields(d.LXC("image", "list", "-f", "csv", "-c", "f")) {
			d.LXC("image", "delete", i)
		}
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "tmp")); err != nil {
		t.Error(err)
	}
}
