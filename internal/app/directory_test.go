package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/errs"
)

func TestDirectoryIsHeldByOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDirectory(dir); !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "upload"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err = openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if e, _ := os.ReadDir(d.join("tmp")); len(e) != 0 {
		t.Error("tmp was not emptied")
	}
	for name, mode := range map[string]os.FileMode{"": 0o711, "database": 0o700, "storage-pools": 0o711} {
		if fi, err := os.Stat(d.join(name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%q: %v %v", name, fi.Mode(), err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := listenUnix(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 || fi.Mode()&os.ModeSocket == 0 {
		t.Error(fi.Mode(), err)
	}
	if _, err := listenUnix(path, "no-such-group-here"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if _, err := listenUnix(filepath.Join(dir, strings.Repeat("x", 110)), ""); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
