package btrfs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/btrfs"
)

// disk makes a small btrfs in a file and mounts it.
func disk(t *testing.T) func(string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts")
	}
	if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		t.Skip("needs btrfs-progs")
	}
	top, err := os.MkdirTemp("/var/tmp", "btrfs test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	img, at := filepath.Join(top, "img"), filepath.Join(top, "at")
	for _, c := range [][]string{{"truncate", "-s", "300M", img}, {"mkfs.btrfs", "-q", img}, {"mkdir", at}, {"mount", "-o", "loop", img, at}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs loop devices: %v: %v %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return func(s string) string { return filepath.Join(at, s) }
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestOn(t *testing.T) {
	at := disk(t)
	for path, want := range map[string]bool{at(""): true, "/proc": false} {
		if got, err := btrfs.On(path); err != nil || got != want {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if _, err := btrfs.On(at("missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestSubvolumesComeAndGo(t *testing.T) {
	at := disk(t)
	must(t, btrfs.Create(at("a")), os.WriteFile(at("a/f"), []byte("x"), 0o600), os.Mkdir(at("d"), 0o700))
	for path, want := range map[string]bool{"a": true, "d": false, "a/f": false, "missing": false} {
		if got, err := btrfs.IsSubvolume(at(path)); err != nil || got != want {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if err := btrfs.Create(at("a")); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	must(t, btrfs.SnapshotReadOnly(at("a"), at("s")))
	if err := os.WriteFile(at("s/g"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
	must(t, btrfs.Snapshot(at("s"), at("w")), os.WriteFile(at("w/f"), []byte("y"), 0o600))
	if b, err := os.ReadFile(at("s/f")); string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	one, err := btrfs.ID(at("a"))
	two, err2 := btrfs.ID(at("s"))
	if err != nil || err2 != nil || one == two || one < 256 {
		t.Error(one, two, err, err2)
	}
	for range 2 {
		must(t, btrfs.Destroy(at("s")), btrfs.Destroy(at("w")), btrfs.Destroy(at("a")), btrfs.Destroy(at("no/where")))
	}
	if l, _ := os.ReadDir(at("")); len(l) != 1 {
		t.Error(l)
	}
}

func TestNestedSubvolumes(t *testing.T) {
	at := disk(t)
	must(t, btrfs.Create(at("a")), os.MkdirAll(at("a/x/y"), 0o700), btrfs.Create(at("a/x/y/b")), os.Mkdir(at("a/x/y/b/z"), 0o700),
		btrfs.Create(at("a/x/y/b/z/c")), os.WriteFile(at("a/x/y/b/z/c/f"), []byte("deep"), 0o600), btrfs.Create(at("a/d")))
	want := []string{"x/y/b", "x/y/b/z/c", "d"}
	if got, err := btrfs.Within(at("a")); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	must(t, btrfs.Snapshot(at("a"), at("s")), btrfs.Seal(at("s"), true), os.Rename(at("a/d"), at("a/e")))
	for _, path := range []string{"s/f", "s/x/f", "s/x/y/b/f", "s/x/y/b/z/c/f"} {
		if err := os.WriteFile(at(path), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, err := os.ReadFile(at("s/x/y/b/z/c/f")); string(b) != "deep" {
		t.Errorf("%q, %v", b, err)
	}
	if got, err := btrfs.Within(at("s")); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	must(t, btrfs.Destroy(at("s")), btrfs.Destroy(at("a")))
	if l, _ := os.ReadDir(at("")); len(l) != 0 {
		t.Error(l)
	}
}

// TestManyNested: the kernel tells of 255 subvolumes at a time.
func TestManyNested(t *testing.T) {
	at := disk(t)
	must(t, btrfs.Create(at("a")))
	const n = 600
	for i := range n {
		must(t, btrfs.Create(at(fmt.Sprint("a/", i))))
	}
	if got, err := btrfs.Within(at("a")); err != nil || len(got) != n {
		t.Errorf("%d, %v", len(got), err)
	}
	must(t, btrfs.Destroy(at("a")))
}

func TestQuota(t *testing.T) {
	at := disk(t)
	must(t, btrfs.Create(at("a")), os.WriteFile(at("a/f"), make([]byte, 4<<20), 0o600), btrfs.DropStaleQuotas(at("")))
	if _, err := btrfs.Usage(at("a")); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Error(err)
	}
	if err := btrfs.Limit(at("a"), 1); !errors.Is(err, btrfs.ErrNoQuota) {
		t.Error(err)
	}
	for range 2 {
		must(t, btrfs.EnableQuota(at("")))
	}
	must(t, btrfs.Limit(at("a"), 10<<20))
	for i := range 100 { // more subvolumes than one answer of the kernel's has
		must(t, btrfs.Create(at(fmt.Sprint("n", i))))
	}
	unix.Sync()
	q, err := btrfs.Usage(at("a"))
	if err != nil || q.Used < 4<<20 || q.Used > 5<<20 || q.Own < 4<<20 || q.Limit != 10<<20 {
		t.Errorf("%+v, %v", q, err)
	}
	if err := os.WriteFile(at("a/g"), make([]byte, 20<<20), 0o600); !errors.Is(err, unix.EDQUOT) {
		t.Error(err)
	}
	must(t, btrfs.Limit(at("a"), 0), os.WriteFile(at("a/g"), make([]byte, 20<<20), 0o600))
	if q, err := btrfs.Usage(at("a")); err != nil || q.Limit != 0 {
		t.Errorf("%+v, %v", q, err)
	}
	must(t, btrfs.Destroy(at("a")), btrfs.DropStaleQuotas(at("")))
	if q, err := btrfs.Usage(at("n99")); err != nil || q.Limit != 0 {
		t.Errorf("%+v, %v", q, err)
	}
}
