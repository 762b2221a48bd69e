//go:build system

package lxc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lxd/internal/errs"
)

// TestKillOfOneThatFroze kills a container whose first process has frozen itself in a group of its own, where the kernel lets it.
func TestKillOfOneThatFroze(t *testing.T) {
	d := driver(t)
	m := start(t, d, plan(t))
	inside(t, m, 0, "cd /sys/fs/cgroup/freezer && mkdir own && echo 1 >own/cgroup.procs && { sleep 0.2; echo FROZEN >own/freezer.state; } >/dev/null 2>&1 &")
	state := filepath.Join("/proc", fmt.Sprint(m.Handle().PID), "root/sys/fs/cgroup/freezer/own/freezer.state")
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, _ := os.ReadFile(state); string(b) == "FROZEN\n" {
			break
		}
		if time.Now().After(until) {
			t.Skip("needs the freezer of control groups version 1; that of version 2 does not keep what is killed")
		}
	}
	begun := time.Now()
	if err := m.Kill(t.Context()); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

// TestNames starts machines of the names that instances and projects may have.
func TestNames(t *testing.T) {
	d := driver(t)
	for _, id := range []string{"C1", "my.project_Web-1"} {
		p := plan(t)
		p.ID = id
		if out, code := inside(t, start(t, d, p), 0, "echo up"); out != "up\n" || code != 0 {
			t.Error(id, out, code)
		}
	}
	for _, id := range []string{"", "..", ".a", "-a", "a/b", "a b", "a\nb", "é"} {
		p := plan(t)
		p.ID = id
		if _, err := d.Start(t.Context(), p); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
