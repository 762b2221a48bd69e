package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// counting counts the unmounts that reach the driver.
type counting struct {
	*mem.Driver
	unmounts int
}

type countingPool struct {
	storage.Pool
	storage.Snapshotter
	d *counting
}

func (d *counting) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	p, err := d.Driver.Open(ctx, dir, cfg)
	return countingPool{p, p.(storage.Snapshotter), d}, err
}

func (p countingPool) Unmount(ctx context.Context, v storage.Volume) error {
	p.d.unmounts++
	return p.Pool.Unmount(ctx, v)
}

func custom(name string) storage.Volume {
	return storage.Volume{Type: storage.CustomVolume, Project: "default", Name: name}
}

func TestCustomVolumesAreMountedByUsers(t *testing.T) {
	w := newWorld(t)
	d := &counting{Driver: mem.New("dir")}
	w.svc = storage.New(storage.Deps{Store: w.st, Drivers: []storage.Driver{d}, Dir: t.TempDir()})
	w.pool(t, "tank")
	vol := custom("v")
	raw := custom("raw")
	raw.Config = map[string]string{"security.unmapped": "true"}
	must(t, errors.Join(w.svc.CreateEmpty(t.Context(), "tank", vol), w.svc.CreateEmpty(t.Context(), "tank", raw),
		w.svc.Snapshot(t.Context(), "tank", vol.At("s0"))))
	mount := func(proj, name, user string) storage.Mounted {
		t.Helper()
		m, err := w.svc.MountCustom(t.Context(), proj, "tank", name, user)
		must(t, err)
		return m
	}
	unmount := func(name, user string, want int) {
		t.Helper()
		must(t, w.svc.UnmountCustom(t.Context(), "default", "tank", name, user))
		if d.unmounts != want {
			t.Errorf("%d unmounts after %s, want %d", d.unmounts, user, want)
		}
	}
	wants(t, w.svc.Resize(t.Context(), "tank", vol, 1), errs.Unsupported, "quotas") // such a pool it is
	one, two := mount("default", "v", "a"), mount("shared", "v", "b")               // a project without volumes of its own sees those of the default one
	if one != two || one.Shifted || mount("default", "v", "a") != one {
		t.Errorf("%+v and %+v", one, two)
	}
	if snap := mount("default", "v/s0", "c"); snap.Root == one.Root {
		t.Error("the snapshot is the volume")
	}
	if !mount("default", "raw", "d").Shifted {
		t.Error("the owners of an unmapped volume are to be mapped")
	}
	unmounts := func(name, user string, want int) { t.Helper(); unmount(name, user, d.unmounts+want) }
	busy := func(fn func(context.Context) error) error { return w.svc.Quiet(t.Context(), "tank", vol, fn) }
	wants(t, busy(func(context.Context) error { t.Error("called"); return nil }), errs.Invalid, "in use by a, b")
	unmounts("v", "a", 0)
	unmounts("v", "a", 0)
	unmounts("v", "b", 1)
	unmounts("v", "b", 1) // as after a crash: the driver finds nothing to do
	wants(t, busy(func(context.Context) error { t.Error("called"); return nil }), errs.Invalid, "in use by c")
	unmounts("v/s0", "c", 1)
	unmounts("gone", "c", 0)
	ran := false
	must(t, busy(func(ctx context.Context) error {
		ran = true
		for _, name := range []string{"v", "v/s0"} {
			_, err := w.svc.MountCustom(ctx, "default", "tank", name, "late")
			wants(t, err, errs.Conflict, "being changed")
		}
		wants(t, busy(func(context.Context) error { return nil }), errs.Conflict, "being changed")
		return nil
	}))
	if !ran {
		t.Error("not called")
	}
	for _, c := range []struct{ proj, pool, name, text string }{
		{"default", "tank", "gone", `volume "gone"`}, {"default", "nowhere", "v", `pool "nowhere"`}, {"other", "tank", "v", `volume "v"`},
		{"default", "tank", "v/gone", "not in the storage pool"},
	} {
		_, err := w.svc.MountCustom(t.Context(), c.proj, c.pool, c.name, "x")
		wants(t, err, errs.NotFound, c.text)
	}
}

// TestMountRace: whoever has a volume mounted has it, however many come and go.
func TestMountRace(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "tank")
	must(t, w.svc.CreateEmpty(t.Context(), "tank", custom("v")))
	var wait sync.WaitGroup
	for _, user := range []string{"a", "b", "c", "d"} {
		wait.Go(func() {
			for range 50 {
				m, err := w.svc.MountCustom(t.Context(), "default", "tank", "v", user)
				if err == nil {
					err = os.WriteFile(filepath.Join(m.Root, user), nil, 0o600)
				}
				if err = errors.Join(err, w.svc.UnmountCustom(t.Context(), "default", "tank", "v", user)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	must(t, w.svc.Quiet(t.Context(), "tank", custom("v"), func(context.Context) error { return nil }))
}
