package fs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/host/fs"
)

// den is a root with a secret beside it and links that point there.
func den(t *testing.T) (*fs.Root, string) {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, dir := range []string{"root/etc", "root/deep/er", "outside"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "outside/secret"), []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/motd"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"abs": filepath.Join(top, "outside/secret"), "up": "../../../outside/secret", "in": "/etc/motd", "rel": "etc/motd", "dangling": "etc/new",
		"loop": "loop", "folder": "../outside", "etc/chain": "../rel",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := fs.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, top
}

func own() fs.Owner { return fs.Owner{UID: os.Getuid(), GID: os.Getgid(), Mode: 0o640} }

func TestFollow(t *testing.T) {
	r, _ := den(t)
	for path, want := range map[string]string{
		"/etc/motd": "hello", "in": "hello", "rel": "hello", "etc/chain": "hello", "deep/../etc/motd": "hello", "../../etc/motd": "hello",
		"abs": "no such file", "up": "no such file", "folder/secret": "no such file", "dangling": "no such file", "loop": "too many levels",
		"pipe": "neither a plain file", "etc/motd/x": "not a directory", "deep/er/..": "", ".": "",
	} {
		var got []byte
		e, err := r.Follow(path)
		if err == nil {
			var f *os.File
			if f, err = e.Open(os.O_RDONLY); err == nil {
				if st, _ := f.Stat(); !st.IsDir() {
					got, err = io.ReadAll(f)
				}
				f.Close()
			}
			e.Close()
		}
		if err != nil && (want == "" || !strings.Contains(err.Error(), want)) || err == nil && string(got) != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestFindKeepsTheLink(t *testing.T) {
	r, _ := den(t)
	e, err := r.Find("etc/chain")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if target, err := e.Readlink(); !e.Is(unix.S_IFLNK) || target != "../rel" || err != nil {
		t.Error(target, err)
	}
	if _, err := e.Open(os.O_RDONLY); err == nil {
		t.Error("a link was opened")
	}
	if err := e.Chmod(0o777); err != nil {
		t.Error(err)
	}
}

func TestMakeAndRemove(t *testing.T) {
	r, top := den(t)
	f, err := r.Create("dangling", own())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	st, err := os.Lstat(filepath.Join(top, "root/etc/new"))
	if err != nil || st.Mode() != 0o640 {
		t.Fatal("not made where the link points", err)
	}
	if _, err := r.Create("dangling", own()); !errors.Is(err, os.ErrExist) {
		t.Error("made twice", err)
	}
	if _, err := r.Create("abs", own()); !errors.Is(err, os.ErrNotExist) {
		t.Error("the link led out", err)
	}
	if err := r.Mkdir("folder/x", own()); !errors.Is(err, os.ErrNotExist) {
		t.Error("made outside", err)
	}
	for _, err := range []error{
		r.Mkdir("d", own()), r.Symlink("/outside", "d/l", own()), r.Link("etc/motd", "d/h"), r.Rename("d/h", "d/i"),
		r.Unlink("d/l"), r.Unlink("d/i"), r.Unlink("d"), r.Unlink("abs"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, gone := range []string{"d", "abs"} {
		if _, err := r.Find(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(top, "outside/secret")); string(b) != "host" {
		t.Error("the link's target was touched", err)
	}
	if err := r.Unlink("."); !errors.Is(err, unix.EBUSY) {
		t.Error("removed the root", err)
	}
}

func TestChange(t *testing.T) {
	r, top := den(t)
	e, err := r.Follow("rel")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	// The name is given to another file; the one that is held stays the one to change.
	if err := os.Rename(filepath.Join(top, "root/etc/motd"), filepath.Join(top, "root/etc/old")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "root/etc/motd"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1000, 0)
	if err := errors.Join(e.Chmod(0o4755), e.Truncate(2), e.SetTimes(at, at), e.Chown(-1, -1), e.Chown(os.Getuid(), os.Getgid())); err != nil {
		t.Fatal(err)
	}
	old, _ := os.Stat(filepath.Join(top, "root/etc/old"))
	other, _ := os.Stat(filepath.Join(top, "root/etc/motd"))
	if old.Size() != 2 || !old.ModTime().Equal(at) || other.Size() != 5 || other.Mode() != 0o644 {
		t.Error(old, other)
	}
}

// TestOwnersFromTheFirstMoment makes files as others and finds this process root again.
func TestOwnersFromTheFirstMoment(t *testing.T) {
	needRoot(t, "to make files as others")
	r, top := den(t)
	o := fs.Owner{UID: 1000007, GID: 1000008, Mode: 0o4711}
	f, err := r.Create("etc/f", o)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := errors.Join(r.Mkdir("etc/d", o), r.Symlink("x", "etc/l", o)); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{"f": 0o4711, "d": 0o4711, "l": 0o777} {
		st := look(t, filepath.Join(top, "root/etc", name))
		if st.Uid != 1000007 || st.Gid != 1000008 || st.Mode&0o7777 != mode {
			t.Errorf("%s: %d:%d %o", name, st.Uid, st.Gid, st.Mode)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "root/etc/own"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if st := look(t, filepath.Join(top, "root/etc/own")); st.Uid != 0 || st.Gid != 0 {
		t.Errorf("files of our own belong to %d:%d", st.Uid, st.Gid)
	}
}

// TestSwappedPaths exchanges folders with links to the outside while files are read, written, made and removed.
func TestSwappedPaths(t *testing.T) {
	r, top := den(t)
	a, b := filepath.Join(top, "root/deep"), filepath.Join(top, "root/trap")
	if err := os.Symlink(filepath.Join(top, "outside"), b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a, "secret"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
		}
	}()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if e, err := r.Follow("deep/secret"); err == nil {
			if f, err := e.Open(os.O_RDWR); err == nil {
				if got, _ := io.ReadAll(f); string(got) != "mine" {
					t.Errorf("read %q", got)
				}
				f.Close()
			}
			e.Close()
		}
		if f, err := r.Create("deep/made", own()); err == nil {
			f.Close()
		}
		_ = r.Mkdir("deep/d", own())
		_ = r.Unlink("deep/made")
		_ = r.Unlink("deep/d")
	}
	stop.Store(true)
	<-done
	left, err := os.ReadDir(filepath.Join(top, "outside"))
	if err != nil || len(left) != 1 {
		t.Error("the outside was changed", left, err)
	}
}

func TestGuard(t *testing.T) {
	needRoot(t, "to give files to others")
	r, top := den(t)
	const mine = 1000000
	root := filepath.Join(top, "root")
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, _ error) error { return os.Lchown(p, mine, mine) })
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"closed": 0o700, "open": 0o755, "free": 0o777} {
		dir := filepath.Join(root, name)
		if err := errors.Join(os.Mkdir(dir, mode), os.WriteFile(dir+"/private", []byte("p"), 0o600), os.WriteFile(dir+"/public", []byte("p"), 0o644),
			os.Mkdir(dir+"/sub", 0o755), os.WriteFile(dir+"/sub/public", []byte("p"), 0o644), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Guarded(fs.Guard{Owned: func(id uint32) bool { return id >= mine }}); err != nil {
		t.Fatal(err)
	}
	given := fs.Owner{UID: mine, GID: mine, Mode: 0o600}
	open := func(path string, flags int) error {
		e, err := r.Follow(path)
		if err != nil {
			return err
		}
		defer e.Close()
		f, err := e.Open(flags)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	create := func(path string) error {
		f, err := r.Create(path, given)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	chmod := func(path string) error {
		e, err := r.Find(path)
		if err != nil {
			return err
		}
		defer e.Close()
		return e.Chmod(0o777)
	}
	for what, c := range map[string]struct {
		err error
		ok  bool
	}{
		"own file":                 {open("etc/motd", os.O_RDWR), true},
		"own folder":               {create("etc/made"), true},
		"own new folder":           {r.Mkdir("etc/dir", given), true},
		"own mode":                 {chmod("etc/motd"), true},
		"host's public file":       {open("open/public", os.O_RDONLY), true},
		"host's private file":      {open("open/private", os.O_RDONLY), false},
		"write host's public file": {open("open/public", os.O_WRONLY), false},
		"host's closed folder":     {open("closed/public", os.O_RDONLY), false},
		"below a closed folder":    {open("closed/sub/public", os.O_RDONLY), false},
		"make in host's folder":    {create("open/made"), false},
		"make in a free folder":    {create("free/made"), true},
		"folder in a free folder":  {r.Mkdir("free/dir", given), true},
		"remove host's":            {r.Unlink("open/public"), false},
		"rename host's":            {r.Rename("open/public", "etc/public"), false},
		"mode of host's":           {chmod("open/public"), false},
	} {
		if (c.err == nil) != c.ok || c.err != nil && !errors.Is(c.err, os.ErrPermission) {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	kernel, err := fs.OpenRoot("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	if _, err := kernel.Guarded(fs.Guard{Owned: func(uint32) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	e, err := kernel.Find("/sys/kernel/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Open(os.O_RDONLY); !errors.Is(err, os.ErrPermission) {
		t.Error("a file of the kernel was opened", err)
	}
}
