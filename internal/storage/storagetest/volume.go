package storagetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

func createOnce(t *testing.T, b *bench) {
	v := instance("c1")
	b.create(t, v, "one")
	wants(t, b.pool.Create(t.Context(), v, fill("two")), errs.Conflict)
	b.holds(t, v, "one")
	b.list(t, "c1")
	all, _ := b.pool.Volumes(t.Context())
	if got := all[0]; got.Type != v.Type || got.Project != v.Project || got.Source != "" {
		t.Errorf("listed as %+v", got)
	}
}

func createEmpty(t *testing.T, b *bench) {
	if err := b.pool.Create(t.Context(), instance("c1"), nil); err != nil {
		t.Fatal(err)
	}
	m := b.mount(t, instance("c1"))
	if l, err := os.ReadDir(m.Root); err != nil || len(l) != 0 {
		t.Errorf("root has %v, %v", l, err)
	}
}

func failedFill(t *testing.T, b *bench) {
	broken := errors.New("broken")
	for _, v := range []storage.Volume{instance("c1"), image("i")} {
		err := b.pool.Create(t.Context(), v, func(ctx context.Context, root string) error {
			return errors.Join(fill("x")(ctx, root), broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("error = %v", err)
		}
		b.list(t)
		b.create(t, v, "again")
		b.delete(t, v)
	}
}

func cancelledFill(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	err := b.pool.Create(ctx, instance("c1"), func(ctx context.Context, root string) error {
		cancel()
		return errors.Join(fill("x")(ctx, root), ctx.Err())
	})
	wants(t, err, errs.Canceled)
	b.list(t)
}

func hostileRoot(t *testing.T, b *bench) {
	for _, target := range []string{"/", "/etc", "."} {
		err := b.pool.Create(t.Context(), image("i"), func(_ context.Context, root string) error {
			return os.Symlink(target, filepath.Join(root, "rootfs"))
		})
		wants(t, err, errs.Invalid)
		b.list(t)
	}
}

func badNames(t *testing.T, b *bench) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden", "/abs"} {
		wants(t, b.pool.Create(t.Context(), storage.Volume{Type: storage.ContainerVolume, Name: name}, nil), errs.Invalid)
	}
	b.list(t)
}

func projects(t *testing.T, b *bench) {
	other := instance("c1")
	other.Project = "other"
	b.create(t, instance("c1"), "mine")
	b.create(t, other, "theirs")
	b.holds(t, instance("c1"), "mine")
	b.holds(t, other, "theirs")
	b.delete(t, other)
	b.holds(t, instance("c1"), "mine")
}

func deleteAnything(t *testing.T, b *bench) {
	v := instance("c1")
	b.delete(t, v)
	b.create(t, v, "x")
	b.mount(t, v)
	b.delete(t, v)
	b.delete(t, v)
	b.list(t)
	b.create(t, v, "y")
	b.holds(t, v, "y")
}

func mountTwice(t *testing.T, b *bench) {
	v := instance("c1")
	b.create(t, image("i"), "x")
	b.clone(t, image("i"), v)
	one, two := b.mount(t, v), b.mount(t, v)
	if one != two {
		t.Errorf("%+v and %+v", one, two)
	}
	if err := b.pool.Unmount(t.Context(), v); err != nil {
		t.Error(err)
	}
	if err := b.pool.Unmount(t.Context(), v); err != nil {
		t.Error(err)
	}
	b.holds(t, v, "x")
}

func mountMissing(t *testing.T, b *bench) {
	_, err := b.pool.Mount(t.Context(), instance("c1"))
	wants(t, err, errs.NotFound)
	if err := b.pool.Unmount(t.Context(), instance("c1")); err != nil {
		t.Errorf("unmount: %v", err)
	}
}

func usage(t *testing.T, b *bench) {
	used, total, err := b.pool.Usage(t.Context())
	if err != nil || total == 0 || used > total {
		t.Errorf("%d of %d, %v", used, total, err)
	}
}

func reopen(t *testing.T, b *bench) {
	b.create(t, image("i"), "x")
	b.create(t, instance("c1"), "y")
	b.clone(t, image("i"), instance("c2"))
	b.mount(t, instance("c2"))
	if err := b.pool.Close(); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	b.list(t, "i", "c1", "c2")
	b.holds(t, instance("c1"), "y")
	b.holds(t, instance("c2"), "x")
}

func destroy(t *testing.T, b *bench) {
	b.create(t, instance("c1"), "x")
	if err := b.pool.Close(); err != nil {
		t.Fatal(err)
	}
	wants(t, b.driver.Destroy(t.Context(), b.dir, b.cfg), errs.Invalid)
	b.open(t)
	b.holds(t, instance("c1"), "x")
	b.delete(t, instance("c1"))
	if err := b.pool.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.driver.Destroy(t.Context(), b.dir, b.cfg); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(b.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pool's folder is still there: %v", err)
	}
	b.open(t)
	b.list(t)
}
