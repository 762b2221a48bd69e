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

func (b *bench) filler(t *testing.T) storage.Filler {
	t.Helper()
	f, ok := b.pool.(storage.Filler)
	if !ok {
		t.Skip("the driver leaves it to what lies above to fill volumes that are there")
	}
	return f
}

func fills(t *testing.T, b *bench) {
	f, v := b.filler(t), instance("c1")
	b.began(t, v)
	b.delete(t, image("i")) // lives for the volume and its snapshot
	if err := os.WriteFile(filepath.Join(b.mount(t, v).Root, "etc", "late"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"three", "four"} {
		if err := f.Fill(t.Context(), v, fill(text)); err != nil {
			t.Fatal(err)
		}
		b.holds(t, v, text)
		if _, err := os.Lstat(filepath.Join(b.mount(t, v).Root, "etc", "late")); !errors.Is(err, os.ErrNotExist) {
			t.Error("what was there before is there still:", err)
		}
		b.unmount(t, v)
	}
	b.write(t, v, "five")
	b.holds(t, v.At("s0"), "one")
	b.unmount(t, v.At("s0"))
	b.kept(t, v, "s0")
	if err := b.keeper(t).Restore(t.Context(), v.At("s0")); err != nil {
		t.Fatal(err)
	}
	b.holds(t, v, "one")
	b.unmount(t, v)
	wants(t, f.Fill(t.Context(), instance("missing"), fill("x")), errs.NotFound)
	b.list(t, "c1")
}

func fillsSnapshots(t *testing.T, b *bench) {
	f, k, v := b.filler(t), b.keeper(t), instance("c1")
	b.create(t, v, "now")
	for _, name := range []string{"s0", "s1"} {
		if err := f.Fill(t.Context(), v.At(name), fill(name)); err != nil {
			t.Fatal(err)
		}
	}
	b.kept(t, v, "s0", "s1")
	for _, name := range []string{"s0", "s1"} {
		b.holds(t, v.At(name), name)
		b.unmount(t, v.At(name))
	}
	b.holds(t, v, "now")
	b.unmount(t, v)
	if err := k.Restore(t.Context(), v.At("s1")); err != nil {
		t.Fatal(err)
	}
	b.holds(t, v, "s1")
	wants(t, f.Fill(t.Context(), v.At("s0"), fill("x")), errs.Conflict)
	wants(t, f.Fill(t.Context(), instance("missing").At("s0"), fill("x")), errs.NotFound)
	wants(t, f.Fill(t.Context(), v.At("a/b"), fill("x")), errs.Invalid)
	b.holds(t, v.At("s0"), "s0")
}

func failsToFill(t *testing.T, b *bench) {
	f, v := b.filler(t), instance("c1")
	b.create(t, v, "now")
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("broken")
	for _, at := range []storage.Volume{v, v.At("s0")} {
		err := f.Fill(ctx, at, func(ctx context.Context, root string) error {
			return errors.Join(fill("half")(ctx, root), broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		err = f.Fill(ctx, at, func(_ context.Context, root string) error { return os.Symlink("/etc", filepath.Join(root, "rootfs")) })
		wants(t, err, errs.Invalid)
	}
	cancel()
	b.kept(t, v)
	b.holds(t, v, "now")
	b.unmount(t, v)
}
