package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// A snapshot of a layer shows the layer as it was: what was deleted, replaced, linked and marked in it.
func TestSnapshotOfLayer(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	b.clone(t, image(), v)
	in := func(root, name string) string { return filepath.Join(root, name) }
	root := b.mounted(t, v).Root
	err := errors.Join(
		os.Remove(in(root, "usr/ping")),
		os.RemoveAll(in(root, "usr/share/doc")), os.Mkdir(in(root, "usr/share/doc"), 0o755), os.WriteFile(in(root, "usr/share/doc/new"), nil, 0o644),
		os.Rename(in(root, "usr/share"), in(root, "usr/moved")),
		os.WriteFile(in(root, "first"), []byte("linked"), 0o600), os.Link(in(root, "first"), in(root, "second")),
		unix.Setxattr(in(root, "first"), "user.mark", []byte("yes"), 0))
	if err != nil {
		t.Fatal(err)
	}
	s := v.At("s0")
	if err := b.Pool.(storage.Snapshotter).Snapshot(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(in(root, "usr/ping"), nil, 0o600), os.RemoveAll(in(root, "usr/moved")), os.Remove(in(root, "first"))); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"snapshot", "restored"} {
		shown := s
		if at == "restored" {
			if err := b.Pool.(storage.Snapshotter).Restore(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			shown = v
		}
		root := b.mounted(t, shown).Root
		for name, there := range map[string]bool{"usr/ping": false, "usr/share": false, "usr/moved/doc/new": true, "usr/moved/doc/a": false, "usr/mine": true, "second": true} {
			if _, err := os.Lstat(in(root, name)); (err == nil) != there {
				t.Errorf("%s: %s: %v", at, name, err)
			}
		}
		var one, two unix.Stat_t
		mark := make([]byte, 8)
		n, err := unix.Getxattr(in(root, "second"), "user.mark", mark)
		if err := errors.Join(err, unix.Lstat(in(root, "first"), &one), unix.Lstat(in(root, "second"), &two)); err != nil || one.Ino != two.Ino || one.Nlink != 2 || string(mark[:max(n, 0)]) != "yes" {
			t.Errorf("%s: %v, links %d, mark %q", at, err, one.Nlink, mark[:max(n, 0)])
		}
		err = os.WriteFile(in(root, "etc2"), nil, 0o600)
		if readOnly := errors.Is(err, unix.EROFS); readOnly != (at == "snapshot") {
			t.Errorf("%s: a write says %v", at, err)
		}
		b.unmount(t, shown)
	}
}

// A plain tree is copied, and a copy is shown read-only too.
func TestSnapshotOfPlain(t *testing.T) {
	b := newBed(t, "")
	v := instance("c1")
	v.Plain = true
	if err := b.Create(t.Context(), v, small); err != nil {
		t.Fatal(err)
	}
	b.mounted(t, v)
	if err := b.Pool.(storage.Snapshotter).Snapshot(t.Context(), v.At("s0")); err != nil {
		t.Fatal(err)
	}
	root := b.mounted(t, v.At("s0")).Root
	if err := os.WriteFile(filepath.Join(root, "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Error("a write to the snapshot says", err)
	}
	if uid, _ := owner(t, filepath.Join(root, "usr/mine")); uid != 1001000 {
		t.Errorf("owner %d", uid)
	}
	if there, err := mount.At(root); err != nil || !there {
		t.Error(there, err)
	}
}

// What a crash leaves of snapshots is cleared away when the pool is opened, and what is whole stays.
func TestSnapshotLeftovers(t *testing.T) {
	b := newBed(t, "")
	if err := b.Create(t.Context(), instance("c1"), small); err != nil {
		t.Fatal(err)
	}
	if err := b.Pool.(storage.Snapshotter).Snapshot(t.Context(), instance("c1").At("s0")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), os.MkdirAll(filepath.Join(b.dir, ".snapshots/orphan/s0/upper"), 0o700)); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if l, _ := os.ReadDir(filepath.Join(b.dir, ".snapshots")); len(l) != 1 {
		t.Error(l)
	}
	// a rename that was cut short after the state was written
	state(t, filepath.Join(b.dir, "containers/c1"), "name", "c2")
	if all, err := b.Volumes(t.Context()); err != nil || len(all) != 1 || all[0].Name != "c1" {
		t.Error(all, err)
	}
	if err := b.Pool.(storage.Renamer).Rename(t.Context(), instance("c1"), instance("c2")); err != nil {
		t.Fatal(err)
	}
	if names, err := b.Pool.(storage.Snapshotter).Snapshots(t.Context(), instance("c2")); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
}
