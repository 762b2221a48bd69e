package etcd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/store/etcd"
)

// blob is a record of any size.
type blob struct{ Name, Body string }

var blobs = store.Collection[blob]{Name: "blob", Key: func(b blob) string { return b.Name }}

func write(t *testing.T, s store.Store, name string, size int) error {
	t.Helper()
	return s.Update(t.Context(), func(tx store.Tx) error {
		return blobs.Put(tx, blob{Name: name, Body: strings.Repeat("x", size)})
	})
}

// TestDiskFull fills the disk under a store: it refuses further writes and says why, keeps all that it acknowledged, and goes on
// once there is room.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 48<<20)
	s := open(t, dir, store.Options{})
	filler := filepath.Join(dir, "filler")
	if err := fill(filler); err == nil {
		t.Fatal("the disk is not full")
	}
	kept := 0
	var err error
	for ; kept < 1000; kept++ {
		if err = write(t, s, fmt.Sprintf("b%03d", kept), 32<<10); err != nil {
			break
		}
	}
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("after %d writes: %v", kept, err)
	}
	if kept == 0 {
		t.Fatal("nothing could be written on a full disk, not even what would make room")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := write(t, s, "after", 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{})
	defer s.Close()
	for i := range kept {
		if !has(t, s, fmt.Sprintf("b%03d", i)) {
			t.Fatalf("write %d of %d was acknowledged and is gone", i, kept)
		}
	}
	if !has(t, s, "after") {
		t.Fatal("the write after there was room is gone")
	}
}

func has(t *testing.T, s store.Store, name string) (ok bool) {
	t.Helper()
	if err := s.View(t.Context(), func(tx store.Tx) error { ok = blobs.Has(tx, name); return nil }); err != nil {
		t.Fatal(err)
	}
	return ok
}

// fill writes until the disk has no room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for buf := make([]byte, 1<<20); len(buf) > 0; {
		if _, err = f.Write(buf); err != nil {
			buf = buf[:len(buf)/2]
		}
	}
	return err
}

func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestBrokenFiles: files that are not a database make Open fail with a reason; the daemon lives to report it.
func TestBrokenFiles(t *testing.T) {
	for name, file := range map[string]string{"database": "member/snap/db", "log": "member/wal"} {
		t.Run(name, func(t *testing.T) {
			dir := contested(t)
			s := open(t, dir, store.Options{})
			if err := write(t, s, "a", 10); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, filepath.Join(dir, file))
			_, err := etcd.Open(t.Context(), etcd.Config{Dir: dir}, store.Options{})
			if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), dir) {
				t.Fatal(err)
			}
		})
	}
}

// contested is a folder that a failed server may still write to for a moment when the test ends.
func contested(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "broken")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error("the folder cannot be removed")
	})
	return dir
}

// spoil overwrites the beginning of a file, or of all files in a directory.
func spoil(t *testing.T, path string) {
	t.Helper()
	files, err := filepath.Glob(path + "/*")
	if err != nil || len(files) == 0 {
		files = []string{path}
	}
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(strings.Repeat("garbage", 2000))); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}

// TestManyRevisions: a log long enough to be cut is still read back.
func TestManyRevisions(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	for i := range 3000 {
		if err := write(t, s, "same", i%10); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{})
	defer s.Close()
	if !has(t, s, "same") {
		t.Fatal("the record is gone after its log was shortened")
	}
}
