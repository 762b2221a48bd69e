package custom_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/store"
)

// machine stands for an instance: it refers to volumes through its devices.
type machine struct {
	Name     string
	Runs     bool
	Devices  profile.Devices
	Profiles []string
}

var machines = store.Collection[machine]{
	Name: "instance", Key: func(m machine) string { return "default/" + m.Name },
	Refs: func(m machine) []store.Ref {
		refs := profile.DeviceRefs(profile.Owners{Volume: "default"}, m.Devices)
		for _, p := range m.Profiles {
			refs = append(refs, store.Ref{Collection: "profile", Key: "default/" + p})
		}
		return refs
	},
}

// instances is what the service sees of them.
type instances struct{}

func (instances) Runs(tx store.Tx, key string) (bool, error) {
	m, err := machines.Get(tx, key)
	return m.Runs, err
}

func (instances) ChangeDevices(tx store.Tx, key string, change func(map[string]string)) error {
	return machines.Modify(tx, key, func(m *machine) error {
		for _, cfg := range m.Devices {
			change(cfg)
		}
		return nil
	})
}

// world is the service on the memory store and driver, with the pools p and q, and the project other beside the default one.
type world struct {
	st     store.Store
	driver *mem.Driver
	dir    string
	pools  *storage.Service
	ops    *op.Manager
	svc    *custom.Service

	mu      sync.Mutex
	hook    op.Hook
	actions []string
	now     time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{driver: mem.New("dir"), dir: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.st = store.NewMem(store.Options{OnAnnounce: func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.actions = append(w.actions, ev.(event.Change).Action)
	}})
	t.Cleanup(func() { w.st.Close() })
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		for _, name := range []string{"default", "other"} {
			r := project.Record{Name: name, Config: map[string]string{"features.storage.volumes": "true"}}
			if err := project.Collection.Insert(tx, r); err != nil {
				return err
			}
		}
		return nil
	}))
	w.daemon(t)
	for _, name := range []string{"p", "q"} {
		must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: name, Driver: "dir"}))
	}
	w.take()
	return w
}

// daemon makes new services on what is stored, as after a crash.
func (w *world) daemon(t *testing.T) {
	t.Helper()
	clock := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now = w.now.Add(time.Second)
		return w.now
	}
	w.pools = storage.New(storage.Deps{Store: w.st, Drivers: []storage.Driver{w.driver}, Dir: w.dir, Location: "none"})
	must(t, w.pools.Start(t.Context()))
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.st, Location: "none", Hook: func(kind, step, moment string) error {
		w.mu.Lock()
		h := w.hook
		w.mu.Unlock()
		if h == nil {
			return nil
		}
		return h(kind, step, moment)
	}})
	w.svc = custom.New(t.Context(), custom.Deps{Store: w.st, Ops: w.ops, Pools: w.pools, Instances: instances{}, Location: "none", Now: clock})
	for kind, r := range w.svc.Recoverers() {
		w.ops.Register(kind, r)
	}
}

func (w *world) setHook(h op.Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = h
}

// take returns the events since the last time.
func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.actions
	w.actions = nil
	return a
}

// run starts work and waits for it.
func (w *world) run(s op.Spec, err error) error {
	if err != nil {
		return err
	}
	o, err := w.ops.Start(context.Background(), s)
	if err != nil {
		return err
	}
	return o.Wait(context.Background())
}

// at names a volume as the default project calls it.
func at(pool, name string) storage.Name {
	return storage.Name{Pool: pool, Project: "default", Type: storage.CustomVolume, Name: name}
}

func (w *world) create(pool, name string, cfg map[string]string) error {
	post := api.StorageVolumesPost{Name: name}
	post.Config = cfg
	return w.run(w.svc.Create(context.Background(), pool, "default", post))
}

func (w *world) copy(pool, name string, src api.StorageVolumeSource) error {
	src.Type = "copy"
	return w.run(w.svc.Create(context.Background(), pool, "default", api.StorageVolumesPost{Name: name, Source: src}))
}

func (w *world) keep(pool, name, snapshot string) error {
	return w.run(w.svc.Snapshot(context.Background(), at(pool, name), api.StorageVolumeSnapshotsPost{Name: snapshot}))
}

func (w *world) remove(pool, name string) error {
	return w.run(w.svc.Delete(context.Background(), pool, "default", name))
}

func (w *world) move(pool, name string, post api.StorageVolumePost) error {
	return w.run(w.svc.Move(context.Background(), at(pool, name), post))
}

// text sets or reads what a volume, or NAME/SNAPSHOT, holds.
func (w *world) text(t *testing.T, pool, name, set string) string {
	t.Helper()
	m, err := w.pools.MountCustom(t.Context(), "default", pool, name, "test")
	must(t, err)
	file := filepath.Join(m.Root, "text")
	if set != "" {
		must(t, os.WriteFile(file, []byte(set), 0o600))
	}
	b, err := os.ReadFile(file)
	must(t, errors.Join(err, w.pools.UnmountCustom(t.Context(), "default", pool, name, "test")))
	return string(b)
}

// use makes an instance with a disk, and returns how to change it.
func (w *world) use(t *testing.T, m machine) {
	t.Helper()
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error { return machines.Put(tx, m) }))
}

func disk(pool, source string) profile.Devices {
	return profile.Devices{"data": {"type": "disk", "pool": pool, "source": source, "path": "/data"}}
}

// held is what the pools hold, and known is what the records tell of.
func (w *world) held(t *testing.T) (all []string) {
	t.Helper()
	for _, name := range []string{"p", "q"} {
		must(t, w.pools.With(t.Context(), name, func(p storage.Pool) error {
			vols, err := p.Volumes(t.Context())
			for _, v := range vols {
				path := name + "/" + v.Project + "/" + v.Name
				all = append(all, path)
				kept, e := p.(storage.Snapshotter).Snapshots(t.Context(), v)
				err = errors.Join(err, e)
				for _, s := range kept {
					all = append(all, path+"/"+s)
				}
			}
			return err
		}))
	}
	slices.Sort(all)
	return all
}

func (w *world) known(t *testing.T) (all []string) {
	t.Helper()
	vols, err := w.pools.ListVolumes(t.Context(), storage.Query{Project: "default", All: true})
	must(t, err)
	for _, v := range vols {
		all = append(all, v.Pool+"/"+v.Project+"/"+v.Name)
	}
	slices.Sort(all)
	return all
}

// consistent fails unless pools and records agree.
func (w *world) consistent(t *testing.T) {
	t.Helper()
	if held, known := w.held(t), w.known(t); !slices.Equal(held, known) {
		t.Errorf("the pools hold %q, and the records tell of %q", held, known)
	}
}

// holds fails unless pools and records have these volumes.
func (w *world) holds(t *testing.T, want ...string) {
	t.Helper()
	w.consistent(t)
	if got := w.known(t); !slices.Equal(got, want) {
		t.Errorf("there is %q, not %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, k errs.Kind, text string) {
	t.Helper()
	if !errs.Is(err, k) || !strings.Contains(err.Error(), text) {
		t.Errorf("error = %v (kind %d), want kind %d with %q", err, errs.KindOf(err), k, text)
	}
}
