//go:build system

package lxc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/machine"
)

// TestSystemd boots a whole distribution, from a folder that is unpacked as root or mapped by an image's own tools.
func TestSystemd(t *testing.T) {
	source := os.Getenv("LXD_TEST_ROOTFS")
	if source == "" {
		t.Skip("needs LXD_TEST_ROOTFS, the folder of an unpacked systemd distribution")
	}
	p := plan(t)
	must(t, os.RemoveAll(p.Root))
	if out, err := exec.Command("cp", "-a", source, p.Root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Chmod(p.Root, 0o755))
	p.RootShifted, p.Nesting = false, true
	p.Limits = machine.Limits{MemoryBytes: 512 << 20, Processes: 500}
	d := driver(t)
	begin := time.Now()
	m := start(t, d, p)
	state := ""
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, _ := inside(t, m, 0, "PATH=/usr/bin:/bin systemctl is-system-running 2>/dev/null")
		if state = strings.TrimSpace(out); state == "running" || state == "degraded" {
			break
		}
	}
	failed, _ := inside(t, m, 0, "PATH=/usr/bin:/bin systemctl --failed --no-legend --plain; cat /proc/1/cgroup | head -3; ls /dev /dev/.lxc")
	t.Logf("%s after %v: %s", state, time.Since(begin), failed)
	if state != "running" && state != "degraded" {
		t.Error("not up")
	}
	begin = time.Now()
	if err := m.Stop(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	t.Log("stopped in", time.Since(begin))
	log, err := os.ReadFile(filepath.Join(p.LogDir, "console.log"))
	must(t, err)
	if len(log) == 0 {
		t.Error("the console shows nothing")
	}
	// and a reboot
	m, err = d.Start(t.Context(), p)
	must(t, err)
	time.Sleep(2 * time.Second)
	inside(t, m, 0, "PATH=/usr/sbin:/usr/bin:/sbin:/bin systemctl reboot")
	select {
	case <-m.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("does not reboot")
	}
	if !m.Exit().Reboot {
		t.Error("the reboot was taken for a stop")
	}
}
