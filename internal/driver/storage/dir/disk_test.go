package dir_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// TestFullDisk: filling and cloning on a full file system fails with an error that says so, leaves nothing, and deleting still works.
func TestFullDisk(t *testing.T) {
	at := loop(t, 24, "mkfs.ext4", "-q", "-N", "400")
	b := newBed(t, at)
	big := func(_ context.Context, root string) error {
		p := filepath.Join(root, "rootfs")
		return errors.Join(os.Mkdir(p, 0o755), os.WriteFile(filepath.Join(p, "big"), bytes.Repeat([]byte("x"), 64<<20), 0o644))
	}
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("error = %v", err)
		}
	}
	full(b.Create(t.Context(), image(), big))
	b.clean(t, "after a failed create")
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	b.clone(t, image(), instance("c1"))
	b.mounted(t, instance("c1"))
	var err error
	for i := 0; err == nil && i < 1000; i++ { // until there is no room for one more file
		err = os.WriteFile(filepath.Join(at, "waste"+strings.Repeat("w", i%200)+string(rune('a'+i/200))), []byte("x"), 0o600)
	}
	_, err = b.Pool.(storage.Cloner).Clone(t.Context(), image(), instance("c2"))
	full(err)
	if l, _ := os.ReadDir(filepath.Join(b.dir, ".tmp")); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
	if err := b.Delete(t.Context(), instance("c1")); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	if err := errors.Join(b.Delete(t.Context(), image()), b.Close()); err != nil {
		t.Error(err)
	}
	if l, _ := os.ReadDir(filepath.Join(b.dir, ".trash")); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
}

// TestReflink: where the file system can share bytes, a plain copy takes no space.
func TestReflink(t *testing.T) {
	at := loop(t, 400, "mkfs.xfs", "-q")
	b := newBed(t, at)
	err := b.Create(t.Context(), image(), func(ctx context.Context, root string) error {
		return errors.Join(small(ctx, root), os.WriteFile(filepath.Join(root, "rootfs/big"), bytes.Repeat([]byte("x"), 64<<20), 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	before, _, err := b.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := instance("c1")
	v.Plain = true
	b.clone(t, image(), v)
	m := b.mounted(t, v)
	unix.Sync()
	after, _, _ := b.Usage(t.Context())
	if grown := int64(after) - int64(before); grown > 8<<20 {
		t.Errorf("a plain copy of 64 MiB took %d bytes", grown)
	}
	if uid, _ := owner(t, filepath.Join(m.Root, "usr/mine")); uid != 1001000 {
		t.Errorf("owner %d", uid)
	}
	if there, _ := mount.At(m.Root); there {
		t.Error("the plain copy is a layer")
	}
}

// TestXFSLayers: layers work on xfs as on ext4.
func TestXFSLayers(t *testing.T) {
	b := newBed(t, loop(t, 400, "mkfs.xfs", "-q"))
	if err := b.Create(t.Context(), image(), small); err != nil {
		t.Fatal(err)
	}
	b.clone(t, image(), instance("c1"))
	m := b.mounted(t, instance("c1"))
	if there, _ := mount.At(m.Root); !there {
		t.Error("not a layer")
	}
	if err := os.Rename(filepath.Join(m.Root, "usr/share"), filepath.Join(m.Root, "usr/moved")); err != nil {
		t.Error(err)
	}
	b.unmount(t, instance("c1"))
	m = b.mounted(t, instance("c1"))
	if got, err := os.ReadFile(filepath.Join(m.Root, "usr/moved/doc/a")); string(got) != "a" {
		t.Errorf("%q, %v", got, err)
	}
	b.clean(t, "xfs")
}
