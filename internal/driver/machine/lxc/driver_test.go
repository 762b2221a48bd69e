package lxc_test

import (
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/errs"
)

func TestNewNeedsItsHelper(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		t.Skip("needs control groups:", err)
	}
	notOne := filepath.Join(t.TempDir(), "lxd-lxc")
	if err := os.WriteFile(notOne, []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/no/such/lxd-lxc", notOne} {
		if _, err := lxc.New(path); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
