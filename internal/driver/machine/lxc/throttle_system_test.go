//go:build system

package lxc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/machine"
)

// TestThrottle limits the disk that the test's folder is on, and looks from inside.
func TestThrottle(t *testing.T) {
	m := start(t, driver(t), plan(t))
	th, ok := m.(machine.Throttler)
	if !ok {
		t.Fatal("no Throttler")
	}
	dir := folder(t)
	const file = "/sys/fs/cgroup/blkio/blkio.throttle."
	if _, err := os.Stat(file + "read_bps_device"); err != nil {
		t.Skip("needs control groups of version 1 for block devices")
	}
	read := func(what string) string {
		t.Helper()
		out, code := inside(t, m, 0, "cat "+file+what)
		if code != 0 {
			t.Fatal(out)
		}
		return strings.TrimSpace(out)
	}
	must(t, th.Throttle(t.Context(), []machine.Throttle{{Path: dir, ReadBytes: 2e6, WriteRequests: 50}, {Path: filepath.Dir(dir), ReadBytes: 1e6}}))
	if got := read("read_bps_device"); got == "" {
		t.Skip("needs a scratch folder on a block device")
	} else if !strings.HasSuffix(got, " 1000000") {
		t.Error("the lowest counts:", got)
	}
	if got := read("write_iops_device"); !strings.HasSuffix(got, " 50") {
		t.Error(got)
	}
	if got := read("write_bps_device"); got != "" {
		t.Error(got)
	}
	must(t, th.Throttle(t.Context(), nil))
	if got := read("read_bps_device") + read("write_iops_device"); got != "" {
		t.Error("limits are left:", got)
	}
	if err := th.Throttle(t.Context(), []machine.Throttle{{Path: dir + "/none", ReadBytes: 1}}); err == nil {
		t.Error("limited what is not there")
	}
}
