package storagetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

// keeper is a pool that can do all that snapshots need.
type keeper interface {
	storage.Pool
	storage.Cloner
	storage.Snapshotter
	storage.Renamer
}

func (b *bench) keeper(t *testing.T) keeper {
	t.Helper()
	k, ok := b.pool.(keeper)
	if !ok {
		t.Skip("the driver keeps no snapshots")
	}
	return k
}

// write changes what fill wrote.
func (b *bench) write(t *testing.T, v storage.Volume, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.mount(t, v).Root, "etc", "name"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// began makes an instance that holds "one", and "two" since the snapshot s0 was taken.
func (b *bench) began(t *testing.T, v storage.Volume) keeper {
	t.Helper()
	k := b.keeper(t)
	if _, err := b.pool.Mount(t.Context(), image("i")); errs.Is(err, errs.NotFound) {
		b.create(t, image("i"), "x")
	}
	b.clone(t, image("i"), v)
	b.write(t, v, "one")
	if err := k.Snapshot(t.Context(), v.At("s0")); err != nil {
		t.Fatal(err)
	}
	b.write(t, v, "two")
	return k
}

func (b *bench) kept(t *testing.T, v storage.Volume, want ...string) {
	t.Helper()
	got, err := b.keeper(t).Snapshots(t.Context(), v)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("snapshots of %s: %v, %v; want %v", v.Name, got, err, want)
	}
}

func (b *bench) unmount(t *testing.T, v storage.Volume) {
	t.Helper()
	if err := b.pool.Unmount(t.Context(), v); err != nil {
		t.Error(err)
	}
}

func snapshotKeeps(t *testing.T, b *bench) {
	v := instance("c1")
	k := b.began(t, v)
	if err := k.Snapshot(t.Context(), v.At("s1")); err != nil { // of a mounted volume
		t.Fatal(err)
	}
	b.kept(t, v, "s0", "s1")
	b.list(t, "i", "c1")
	for snapshot, text := range map[string]string{"s0": "one", "s1": "two"} {
		b.holds(t, v.At(snapshot), text)
		b.unmount(t, v.At(snapshot))
	}
	b.holds(t, v, "two")
	wants(t, k.Snapshot(t.Context(), v.At("s1")), errs.Conflict)
	wants(t, k.Snapshot(t.Context(), instance("missing").At("s1")), errs.NotFound)
	_, err := k.Mount(t.Context(), v.At("missing"))
	wants(t, err, errs.NotFound)
	for _, name := range []string{".", "..", "a/b", "../x"} {
		wants(t, k.Snapshot(t.Context(), v.At(name)), errs.Invalid)
	}
	b.kept(t, v, "s0", "s1")
}

func snapshotGoes(t *testing.T, b *bench) {
	v := instance("c1")
	b.began(t, v)
	b.mount(t, v.At("s0"))
	for range 2 {
		b.delete(t, v.At("s0"))
	}
	b.delete(t, instance("missing").At("s0"))
	b.unmount(t, instance("missing").At("s0"))
	b.kept(t, v)
	b.holds(t, v, "two")
	_, err := b.keeper(t).Snapshots(t.Context(), instance("missing"))
	wants(t, err, errs.NotFound)
}

func restores(t *testing.T, b *bench) {
	v := instance("c1")
	k := b.began(t, v)
	for _, text := range []string{"two", "three"} {
		b.write(t, v, text)
		if err := os.WriteFile(filepath.Join(b.mount(t, v).Root, "etc", "late"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Restore(t.Context(), v.At("s0")); err != nil {
			t.Fatal(err)
		}
		b.holds(t, v, "one")
		if _, err := os.Lstat(filepath.Join(b.mount(t, v).Root, "etc", "late")); !errors.Is(err, os.ErrNotExist) {
			t.Error("what came after the snapshot is still there:", err)
		}
		b.unmount(t, v)
	}
	b.write(t, v, "four")
	b.holds(t, v.At("s0"), "one")
	b.unmount(t, v.At("s0"))
	b.kept(t, v, "s0")
	wants(t, k.Restore(t.Context(), v.At("missing")), errs.NotFound)
	b.holds(t, v, "four")
}

func renames(t *testing.T, b *bench) {
	v, to := instance("c1"), instance("c2")
	k := b.began(t, v)
	b.unmount(t, v)
	for range 2 {
		if err := k.Rename(t.Context(), v, to); err != nil {
			t.Fatal(err)
		}
		if err := k.Rename(t.Context(), to.At("s0"), to.At("s1")); err != nil {
			t.Fatal(err)
		}
	}
	b.list(t, "i", "c2")
	b.kept(t, to, "s1")
	b.holds(t, to, "two")
	b.holds(t, to.At("s1"), "one")
	b.unmount(t, to)
	b.unmount(t, to.At("s1"))
	b.began(t, v)
	b.unmount(t, v)
	wants(t, k.Rename(t.Context(), v, to), errs.Conflict)
	wants(t, k.Rename(t.Context(), instance("no"), instance("nope")), errs.NotFound)
	b.holds(t, v, "two")
	b.unmount(t, v)
	if err := errors.Join(k.Rename(t.Context(), to, instance("c3")), k.Restore(t.Context(), instance("c3").At("s1"))); err != nil {
		t.Error(err)
	}
	b.holds(t, instance("c3"), "one")
}

func copiesWithSnapshots(t *testing.T, b *bench) {
	v, to := instance("c1"), instance("c2")
	b.began(t, v)
	b.clone(t, v, to)
	b.kept(t, to)
	b.clone(t, v.At("s0"), to.At("s0"))
	b.clone(t, v.At("s0"), instance("c3"))
	b.delete(t, v)
	b.delete(t, image("i"))
	b.kept(t, to, "s0")
	b.holds(t, to, "two")
	b.holds(t, instance("c3"), "one")
	b.unmount(t, to)
	if err := b.keeper(t).Restore(t.Context(), to.At("s0")); err != nil {
		t.Fatal(err)
	}
	b.holds(t, to, "one")
}

func snapshotsGoWithTheirVolume(t *testing.T, b *bench) {
	v := instance("c1")
	b.began(t, v)
	b.mount(t, v.At("s0"))
	b.delete(t, v)
	b.clone(t, image("i"), v)
	b.kept(t, v)
	b.delete(t, v)
	b.delete(t, image("i"))
	b.gone(t, image("i"), true)
}

func imageLivesForSnapshots(t *testing.T, b *bench) {
	v := instance("c1")
	k := b.began(t, v)
	b.delete(t, image("i"))
	b.unmount(t, v)
	plain := v
	plain.Plain = true
	b.holds(t, plain, "two") // depends on the image no more, but the snapshot does
	b.unmount(t, plain)
	if err := k.Restore(t.Context(), v.At("s0")); err != nil {
		t.Fatal(err)
	}
	b.holds(t, v, "one")
	b.delete(t, v.At("s0"))
	b.delete(t, v)
	b.gone(t, image("i"), true)
}

func snapshotsOutliveClosing(t *testing.T, b *bench) {
	v := instance("c1")
	b.began(t, v)
	if err := b.pool.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	b.kept(t, v, "s0")
	b.holds(t, v.At("s0"), "one")
}

// manySnapshots takes, restores and deletes snapshots of several volumes at once.
func manySnapshots(t *testing.T, b *bench) {
	k := b.keeper(t)
	b.create(t, image("i"), "x")
	var wg sync.WaitGroup
	for i := range 8 {
		v := instance(fmt.Sprint("c", i))
		b.clone(t, image("i"), v)
		wg.Go(func() {
			for n := range 4 {
				s := v.At(fmt.Sprint("s", n))
				if err := errors.Join(k.Snapshot(t.Context(), s), k.Restore(t.Context(), s)); err != nil {
					t.Error(err)
				}
			}
			if err := k.Delete(t.Context(), v.At("s0")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		b.kept(t, instance(fmt.Sprint("c", i)), "s1", "s2", "s3")
	}
}
