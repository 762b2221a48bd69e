package run_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/host/run"
)

// jailed runs a line of shell in a jail, with a folder that it may write to and one that it may read.
func jailed(t *testing.T, line string, change func(*run.Jail)) (r run.Report, out string, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	out, in := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(in, "f"), []byte("shown"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := run.Jail{Path: "/usr/bin/sh", Args: []string{"-c", line}, Dir: t.TempDir(), Memory: 1 << 30, FileSize: 1 << 20, Time: 10 * time.Second,
		Binds: []run.Bind{{From: out, Name: "out", Writable: true}, {From: in, Name: "in"}}}
	if change != nil {
		change(&j)
	}
	r, err = j.Run(t.Context())
	return r, out, err
}

func TestJail(t *testing.T) {
	r, out, err := jailed(t, "cat /in/f > /out/f && chown 5:6 /out/f && id -u >&2", nil)
	if err != nil || r.Code != 0 || r.Stderr != "0\n" {
		t.Fatalf("%+v %v", r, err)
	}
	if b, err := os.ReadFile(out + "/f"); err != nil || string(b) != "shown" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), filepath.Dir(out)) {
		t.Errorf("a mount is seen from outside: %v", err)
	}
}

// TestJailHolds tries what a program that was turned against us would.
func TestJailHolds(t *testing.T) {
	for name, line := range map[string]string{
		"files of the host":  "cat /etc/hostname || ls /work /var /root /home /proc/1 /sys/kernel",
		"writing what it is": "echo x > /in/f",
		"writing programs":   "touch /usr/bin/x",
		"a file of its own":  "touch /x",
		"a node":             "mknod /out/sda b 8 0",
		"a mount":            "mount -t tmpfs none /out",
		"a way out":          "chroot /out /x || unshare -m true && chroot / true",
		"the network":        "test $(cat /sys/class/net/*/ifindex 2>/dev/null | wc -l) -gt 0 || getent hosts localhost >/dev/null && false",
		"a large file":       "head -c 2000000 /dev/zero > /out/f || head -c 2000000 /usr/bin/perl > /out/f",
		"more rights":        "setpriv --dump 2>&1 | grep sys_admin",
		"killing others":     "kill -9 " + "1 && false; kill -0 " + "2",
	} {
		if r, _, err := jailed(t, line, nil); err != nil || r.Code == 0 {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	begun := time.Now()
	_, _, err := jailed(t, "sleep 100", func(j *run.Jail) { j.Time = 200 * time.Millisecond })
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("one that takes too long: %v", err)
	}
	if _, _, err := jailed(t, "true", func(j *run.Jail) { j.Path = "/nothing" }); err == nil {
		t.Error("a program that is not there")
	}
	if _, _, err := jailed(t, "true", func(j *run.Jail) { j.Binds = append(j.Binds, run.Bind{From: "/proc/self/nothing/at/all", Name: "x"}) }); err != nil {
		t.Errorf("what is not there is not shown: %v", err)
	}
}
func BenchmarkJail(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		r, err := run.Jail{Path: "/usr/bin/true", Dir: dir, Memory: 1 << 30, FileSize: 1 << 20, Time: 10 * time.Second}.Run(b.Context())
		if err != nil || r.Code != 0 {
			b.Fatal(r, err)
		}
	}
}
