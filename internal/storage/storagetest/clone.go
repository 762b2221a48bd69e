package storagetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

func cloneKeeps(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	dependent := b.clone(t, image("i"), instance("c1"))
	b.holds(t, instance("c1"), "x")
	b.list(t, "i", "c1")
	all, _ := b.pool.Volumes(t.Context())
	for _, v := range all {
		if v.Name == "c1" && (v.Source == "i") != dependent {
			t.Errorf("depends: %v, but is listed as %+v", dependent, v)
		}
	}
}

func cloneApart(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	b.clone(t, image("i"), instance("c1"))
	b.clone(t, image("i"), instance("c2"))
	root := b.mount(t, instance("c1")).Root
	err := errors.Join(
		os.WriteFile(filepath.Join(root, "etc", "name"), []byte("changed"), 0o644),
		os.Rename(filepath.Join(root, "etc"), filepath.Join(root, "moved")),
		os.Mkdir(filepath.Join(root, "etc"), 0o755),
		os.Rename(filepath.Join(root, "moved", "name"), filepath.Join(root, "etc", "name")),
		os.Remove(filepath.Join(root, "moved")))
	if err != nil {
		t.Fatal(err)
	}
	b.holds(t, instance("c1"), "changed")
	b.holds(t, instance("c2"), "x")
	b.holds(t, image("i"), "x")
	if err := b.pool.Unmount(t.Context(), instance("c1")); err != nil {
		t.Error(err)
	}
	b.holds(t, instance("c1"), "changed")
}

func cloneRefuses(t *testing.T, b *bench) {
	c, ok := b.pool.(storage.Cloner)
	if !ok {
		t.Skip("the driver does not clone")
	}
	_, err := c.Clone(t.Context(), image("missing"), instance("c1"))
	wants(t, err, errs.NotFound)
	b.create(t, image("i"), "x")
	b.create(t, instance("c1"), "y")
	_, err = c.Clone(t.Context(), image("i"), instance("c1"))
	wants(t, err, errs.Conflict)
	b.holds(t, instance("c1"), "y")
	b.list(t, "i", "c1")
}

func cloneOfClone(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	b.clone(t, image("i"), instance("c1"))
	root := b.mount(t, instance("c1")).Root
	if err := os.WriteFile(filepath.Join(root, "etc", "name"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.clone(t, instance("c1"), instance("c2"))
	b.holds(t, instance("c2"), "changed")
	b.delete(t, instance("c1"))
	b.delete(t, image("i"))
	b.holds(t, instance("c2"), "changed")
}

func dependents(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	if !b.clone(t, image("i"), instance("c1")) {
		t.Skip("the driver's clones do not depend on their image")
	}
	b.clone(t, image("i"), instance("c2"))
	b.delete(t, image("i"))
	b.list(t, "c1", "c2")
	b.holds(t, instance("c1"), "x")
	_, err := b.pool.(storage.Cloner).Clone(t.Context(), image("i"), instance("c3"))
	wants(t, err, errs.NotFound)
	_, err = b.pool.Mount(t.Context(), image("i"))
	wants(t, err, errs.NotFound)
	b.gone(t, image("i"), false)
	b.delete(t, instance("c1"))
	b.gone(t, image("i"), false)
	b.holds(t, instance("c2"), "x")
	b.delete(t, instance("c2"))
	b.gone(t, image("i"), true)
}

func plainClone(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	plain := instance("c1")
	plain.Plain = true
	if b.clone(t, image("i"), plain) {
		t.Error("the plain clone depends on its image")
	}
	b.delete(t, image("i"))
	b.holds(t, plain, "x")
	b.gone(t, image("i"), true)
}

func becomesPlain(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	b.clone(t, image("i"), instance("c1"))
	root := b.mount(t, instance("c1")).Root
	if err := os.WriteFile(filepath.Join(root, "etc", "name"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.pool.Unmount(t.Context(), instance("c1")); err != nil {
		t.Fatal(err)
	}
	b.delete(t, image("i"))
	plain := instance("c1")
	plain.Plain = true
	b.holds(t, plain, "changed")
	b.gone(t, image("i"), true)
	b.holds(t, instance("c1"), "changed")
}

func many(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			v := instance(fmt.Sprint("c", i))
			b.cycle(t, v)
			if i%2 == 0 {
				b.delete(t, v)
			}
		})
	}
	wg.Wait()
	all, err := b.pool.Volumes(t.Context())
	if err != nil || len(all) != 13 {
		t.Errorf("%d volumes, %v", len(all), err)
	}
}

// cycle clones, mounts and unmounts a volume; unlike clone it may run beside the test.
func (b *bench) cycle(t *testing.T, v storage.Volume) {
	c, ok := b.pool.(storage.Cloner)
	if !ok {
		t.Error("the driver does not clone")
		return
	}
	if _, err := c.Clone(t.Context(), image("i"), v); err != nil {
		t.Error(err)
		return
	}
	for range 2 {
		m, err := b.pool.Mount(t.Context(), v)
		if err == nil {
			_, err = os.Stat(filepath.Join(m.Root, "etc", "name"))
		}
		if err := errors.Join(err, b.pool.Unmount(t.Context(), v)); err != nil {
			t.Error(err)
		}
	}
}

// contended lets many fight for one name: every answer is a success or a clear refusal, and nothing is left over.
func contended(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	c, ok := b.pool.(storage.Cloner)
	if !ok {
		t.Skip("the driver does not clone")
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 5 {
				_, cloned := c.Clone(t.Context(), image("i"), instance("c"))
				_, mounted := b.pool.Mount(t.Context(), instance("c"))
				deleted := b.pool.Delete(t.Context(), instance("c"))
				if cloned != nil && !errs.Is(cloned, errs.Conflict) || mounted != nil && !errs.Is(mounted, errs.NotFound) || deleted != nil {
					t.Errorf("clone %v, mount %v, delete %v", cloned, mounted, deleted)
				}
			}
		})
	}
	wg.Wait()
	b.delete(t, instance("c"))
	b.list(t, "i")
}
