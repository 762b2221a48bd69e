//go:build system

package dir_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/host/idmap"
	"lxd/internal/machine"
	"lxd/internal/storage"
)

// boot starts a container on a mounted volume.
func boot(t *testing.T, m storage.Mounted, nesting bool) machine.Machine {
	t.Helper()
	helper, err := filepath.Abs("../../../../bin/lxd-lxc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(helper); err != nil {
		t.Skip("needs the container helper; run make build: ", err)
	}
	d, err := lxc.New(helper)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	top := scratchDir(t)
	p := machine.Plan{ID: "dirtest", Name: "c1", RunDir: filepath.Join(top, "run"), LogDir: filepath.Join(top, "log"),
		Root: m.Root, RootShifted: m.Shifted, Nesting: nesting, Limits: machine.Limits{MemoryBytes: 512 << 20}}
	for _, r := range idmap.Default() {
		p.IDMap = append(p.IDMap, machine.IDRange(r))
	}
	for _, f := range []string{p.RunDir, p.LogDir} {
		if err := os.Mkdir(f, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c, err := d.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Kill(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run starts a shell script in a container and returns what it prints and its exit code.
func run(t *testing.T, m machine.Machine, script string) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/sh", "-c", script}, Stdout: w, Stderr: w,
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "HOME=/root", "LC_ALL=C"}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(r)
	code, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), code
}

// TestSystemdOnALayer boots a whole distribution on a layer, installs a package in it, and finds all of that again after a restart.
func TestSystemdOnALayer(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), debian(t)); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	b.clone(t, image(), v)
	m := boot(t, b.mounted(t, v), false)
	up(t, m)
	for _, script := range []string{
		`mkdir -p /tmp/p/DEBIAN /tmp/p/etc/systemd/system; printf '[Service]\nExecStart=/bin/sleep 1000\n' >/tmp/p/etc/systemd/system/own.service
printf 'Package: own\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <n@example.org>\nDescription: test\n' >/tmp/p/DEBIAN/control
dpkg-deb -b /tmp/p /tmp/own.deb && apt-get -o APT::Sandbox::User=root install -y /tmp/own.deb`,
		"systemctl daemon-reload && systemctl start own && systemctl is-active own",
		"useradd -m joe && su joe -c 'touch ~/x && test -O ~/x'",
		"systemd-tmpfiles --create; systemctl list-units --failed --no-legend",
	} {
		if out, code := run(t, m, script); code != 0 {
			t.Errorf("%s: %d: %s", script, code, out)
		}
	}
	if err := m.Stop(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	b.unmount(t, v)
	m = boot(t, b.mounted(t, v), false)
	up(t, m)
	if out, code := run(t, m, "dpkg -s own && test -O /root && su joe -c 'test -O ~/x'"); code != 0 {
		t.Errorf("after a restart: %s", out)
	}
	if err := m.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	b.clean(t, "after the container")
}

// up waits until the distribution has booted.
func up(t *testing.T, m machine.Machine) {
	t.Helper()
	state := ""
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if state, _ = run(t, m, "systemctl is-system-running 2>/dev/null"); state == "running" || state == "degraded" {
			return
		}
	}
	t.Fatalf("not up: %q", state)
}
