package policy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/network"
	"lxd/internal/policy"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

type keys = map[string]string

// world is a guarded store with a project p of that configuration, which has a pool and a profile.
func world(t testing.TB, config keys) store.Store { return guarded(t, config, policy.Guard) }

func guarded(t testing.TB, config keys, guard func(before, after store.Tx, touched []store.Ref) error) store.Store {
	st := store.NewMem(store.Options{Guard: guard})
	t.Cleanup(func() { _ = st.Close() })
	write(t, st, func(tx store.Tx) error {
		for _, err := range []error{
			project.Collection.Insert(tx, project.Record{Name: "default"}), project.Collection.Insert(tx, project.Record{Name: "p", Config: config}),
			storage.Pools.Insert(tx, storage.PoolRecord{Name: "pool", Config: keys{"volume.size": "1GiB"}}),
			profile.Collection.Insert(tx, profile.Record{Project: "p", Name: "a"}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	return st
}

func write(t testing.TB, st store.Store, fn func(store.Tx) error) {
	t.Helper()
	if err := st.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless the key forbids what fn does.
func refused(t testing.TB, st store.Store, key string, fn func(store.Tx) error) {
	t.Helper()
	if err := st.Update(t.Context(), fn); !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), key) {
		t.Errorf("not refused by %s: %v", key, err)
	}
}

func box(name string, config keys) instance.Record {
	return instance.Record{Project: "p", Name: name, Type: "container", Config: config, Pool: "pool", ProfileProject: "p", NetworkProject: "default"}
}

func add(r instance.Record) func(store.Tx) error {
	return func(tx store.Tx) error { return instance.Collection.Insert(tx, r) }
}

// TestRace: limits hold also when many ask at once.
func TestRace(t *testing.T) {
	st := world(t, keys{"limits.instances": "3"})
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() { _ = st.Update(t.Context(), add(box(fmt.Sprint("c", i), nil))) })
	}
	all.Wait()
	got, err := policy.Usage(t.Context(), st, "p")
	if err != nil || got["instances"].Usage != 3 || got["instances"].Limit != 3 {
		t.Error(got, err)
	}
	if _, err := policy.Usage(t.Context(), st, "q"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// TestWhatWasThere: an instance that is not as it should be any more can start, stop, lose what is wrong and go; it gets nothing new.
func TestWhatWasThere(t *testing.T) {
	asleep := false // as an older server was
	st := guarded(t, nil, func(before, after store.Tx, touched []store.Ref) error {
		if asleep {
			return nil
		}
		return policy.Guard(before, after, touched)
	})
	write(t, st, add(box("c", keys{"security.nesting": "true"})))
	change := func(fn func(*instance.Record)) func(store.Tx) error {
		return func(tx store.Tx) error {
			return instance.Collection.Modify(tx, "p/c", func(r *instance.Record) error { fn(r); return nil })
		}
	}
	restrict := func(tx store.Tx) error {
		return project.Collection.Modify(tx, "p", func(r *project.Record) error { r.Config = keys{"restricted": "true"}; return nil })
	}
	refused(t, st, "restricted.containers.nesting", restrict)
	asleep = true
	write(t, st, restrict)
	asleep = false
	write(t, st, change(func(r *instance.Record) { r.Run = &instance.Run{}; r.Config["volatile.x"] = "y" }))
	write(t, st, change(func(r *instance.Record) { r.Config["user.x"] = "y" }))
	refused(t, st, "restricted.containers.lowlevel", change(func(r *instance.Record) { r.Config["raw.lxc"] = "x" }))
	write(t, st, change(func(r *instance.Record) { delete(r.Config, "security.nesting") }))
	refused(t, st, "restricted.containers.nesting", change(func(r *instance.Record) { r.Config["security.nesting"] = "true" }))
	write(t, st, func(tx store.Tx) error { return instance.Collection.Delete(tx, "p/c") })
	write(t, st, func(tx store.Tx) error {
		return project.Collection.Modify(tx, "p", func(r *project.Record) error { r.Description = "new"; return nil })
	})
}

func TestProfiles(t *testing.T) {
	st := world(t, keys{"limits.cpu": "4"})
	r := box("c", nil)
	r.Profiles = []string{"a"}
	set := func(n string) func(store.Tx) error {
		return func(tx store.Tx) error {
			return profile.Collection.Modify(tx, "p/a", func(r *profile.Record) error { r.Config = keys{"limits.cpu": n}; return nil })
		}
	}
	refused(t, st, "limits.cpu", add(r))
	write(t, st, set("4"))
	write(t, st, add(r))
	refused(t, st, "limits.cpu", set("5"))
	write(t, st, set("3"))
	write(t, st, func(tx store.Tx) error { return instance.Collection.Delete(tx, "p/c") })
	write(t, st, set("9")) // nobody has it
}

func TestVolumesImagesNetworks(t *testing.T) {
	st := world(t, keys{"limits.disk": "5GiB", "limits.networks": "1", "limits.disk.pool.pool": "2GiB"})
	volume := func(name, size string) func(store.Tx) error {
		return func(tx store.Tx) error {
			return storage.Volumes.Insert(tx, storage.VolumeRecord{Pool: "pool", Type: storage.CustomVolume, Project: "p", Name: name, Config: keys{"size": size}})
		}
	}
	picture := func(fingerprint string, size int64) func(store.Tx) error {
		return func(tx store.Tx) error {
			return image.Collection.Insert(tx, image.Record{Project: "p", Fingerprint: fingerprint, Size: size})
		}
	}
	refused(t, st, "limits.disk.pool.pool", volume("a", "3GiB"))
	write(t, st, volume("a", "")) // as the pool says
	refused(t, st, "limits.disk.pool.pool", volume("b", "1025MiB"))
	refused(t, st, "limits.disk", picture("x", 5<<30))
	write(t, st, picture("x", 4<<30))
	refused(t, st, "limits.disk", volume("b", "1MiB"))
	net := func(name string) func(store.Tx) error {
		return func(tx store.Tx) error {
			return network.Collection.Insert(tx, network.Record{Project: "p", Name: name, Type: "bridge"})
		}
	}
	write(t, st, net("n1"))
	refused(t, st, "limits.networks", net("n2"))
}

// TestSnapshotsAndBackups: none is made, but those that are there can be renamed.
func TestSnapshotsAndBackups(t *testing.T) {
	st := world(t, keys{"restricted": "true", "restricted.backups": "allow", "restricted.snapshots": "allow"})
	r := box("c", nil)
	write(t, st, add(r))
	snap := func(name string) instance.Snapshot { return instance.Snapshot{Name: name, Instance: r} }
	kept := func(name string) backup.Record { return backup.Record{Project: "p", Instance: "c", Name: name} }
	both := func(name string) func(store.Tx) error {
		return func(tx store.Tx) error {
			if err := instance.Snapshots.Insert(tx, snap(name)); err != nil {
				return err
			}
			return backup.Collection.Insert(tx, kept(name))
		}
	}
	write(t, st, both("one"))
	write(t, st, func(tx store.Tx) error {
		return project.Collection.Modify(tx, "p", func(r *project.Record) error { r.Config = keys{"restricted": "true"}; return nil })
	})
	refused(t, st, "restricted.snapshots", both("two"))
	refused(t, st, "restricted.backups", both("two"))
	write(t, st, func(tx store.Tx) error {
		if err := instance.Snapshots.Delete(tx, "p/c/one"); err != nil {
			return err
		}
		if err := backup.Collection.Delete(tx, "p/c/one"); err != nil {
			return err
		}
		return both("two")(tx)
	})
}

func TestTarget(t *testing.T) {
	st := world(t, keys{"restricted": "true"})
	if err := policy.Target(t.Context(), st, "p", "m1"); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	if err := policy.Target(t.Context(), st, "default", "m1"); err != nil {
		t.Error(err)
	}
}

// TestCheap: looking at the usage of a project with ten thousand instances takes no longer than a list of them.
func TestCheap(t *testing.T) {
	st := store.NewMem(store.Options{})
	defer st.Close()
	write(t, st, func(tx store.Tx) error {
		if err := project.Collection.Insert(tx, project.Record{Name: "p", Config: keys{"limits.instances": "20000"}}); err != nil {
			return err
		}
		if err := storage.Pools.Insert(tx, storage.PoolRecord{Name: "pool"}); err != nil {
			return err
		}
		for i := range 10000 {
			if err := instance.Collection.Insert(tx, box(fmt.Sprint("c", i), keys{"limits.cpu": "1"})); err != nil {
				return err
			}
		}
		return nil
	})
	var took time.Duration
	for range 3 { // the first has to parse what a server has parsed
		began := time.Now()
		got, err := policy.Usage(context.Background(), st, "p")
		if took = time.Since(began); err != nil || got["instances"].Usage != 10000 || got["cpu"].Usage != 10000 {
			t.Fatal(got["instances"], err)
		}
	}
	t.Log(took)
	if took > time.Second {
		t.Error("it took", took)
	}
}
