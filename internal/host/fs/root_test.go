package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
)

// trap is a root whose links all try to lead out, and a secret beside it.
func trap(t *testing.T) (*fs.Root, string) {
	t.Helper()
	top := t.TempDir()
	in := filepath.Join(top, "in")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(in, "etc"), 0o755),
		os.WriteFile(filepath.Join(top, "secret"), []byte("outside"), 0o600),
		os.WriteFile(filepath.Join(in, "secret"), []byte("inside"), 0o600),
		os.Symlink("../secret", filepath.Join(in, "up")),
		os.Symlink("/secret", filepath.Join(in, "abs")),
		os.Symlink("../../../../../../"+top+"/secret", filepath.Join(in, "far")),
		os.Symlink("/proc/self/root", filepath.Join(in, "magic")),
		os.Symlink("/", filepath.Join(in, "etc", "top")),
		os.Symlink("new", filepath.Join(in, "dangling")),
		unix.Mkfifo(filepath.Join(in, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := fs.OpenRoot(in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, top
}

func TestRootStaysInside(t *testing.T) {
	r, _ := trap(t)
	for path, want := range map[string]string{
		"secret": "inside", "/secret": "inside", "../secret": "inside", "up": "inside", "abs": "inside", "etc/top/secret": "inside",
		"etc/../../secret": "inside", "far": "", "magic/etc/passwd": "", "missing": "",
	} {
		b, err := r.ReadFile(path, 100)
		if string(b) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, b, err, want)
		}
	}
}

func TestRootOpensPlainFilesOnly(t *testing.T) {
	r, _ := trap(t)
	done := make(chan error, 1)
	go func() { _, err := r.Open("pipe"); done <- err }()
	select {
	case err := <-done:
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("pipe: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a pipe blocked the open")
	}
	if _, err := r.ReadFile("secret", 3); !errs.Is(err, errs.Invalid) {
		t.Errorf("limit: %v", err)
	}
	if _, err := r.OpenFile("secret", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("exclusive: %v", err)
	}
}

func TestRootWrites(t *testing.T) {
	r, top := trap(t)
	for _, path := range []string{"up", "abs", "etc/top/secret", "a/b/c", "dangling", "../../x", "far2"} {
		if err := r.WriteFile(path, []byte(path), 0o640); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if b, err := r.ReadFile(path, 100); string(b) != path {
			t.Errorf("%s reads %q, %v", path, b, err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(top, "secret")); string(b) != "outside" {
		t.Errorf("outside has %q", b)
	}
	if l, _ := os.ReadDir(top); len(l) != 2 {
		t.Errorf("outside has %v", l)
	}
}

func TestRootChangesNamesInsideOnly(t *testing.T) {
	r, top := trap(t)
	if err := r.Remove("etc/top/up"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(top, "in", "up")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the link is still there")
	}
	for _, path := range []string{"..", "etc/..", "etc/top/.."} {
		if err := r.Remove(path); !errs.Is(err, errs.Invalid) {
			t.Errorf("remove %s: %v", path, err)
		}
		if _, err := r.Lstat(path); !errs.Is(err, errs.Invalid) {
			t.Errorf("lstat %s: %v", path, err)
		}
	}
	if err := r.MkdirAll("etc/top/x/y", 0o700); err != nil {
		t.Error(err)
	}
	sub, err := r.Sub("x")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if st, err := sub.Lstat("y"); err != nil || st.Mode != unix.S_IFDIR|0o700 {
		t.Errorf("y: %v, %v", st.Mode, err)
	}
	if err := sub.Remove("y"); err != nil {
		t.Error(err)
	}
}
