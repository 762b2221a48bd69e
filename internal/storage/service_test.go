package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// flaky is a driver whose next Open can be made to fail.
type flaky struct {
	*mem.Driver
	fail error
	// modest pools fill nothing by themselves.
	modest bool
}

// modest is a pool that is no Filler.
type modest struct {
	storage.Pool
	storage.Cloner
	storage.Snapshotter
	storage.Renamer
}

func (f *flaky) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	p, err := f.Driver.Open(ctx, dir, cfg)
	if err != nil || !f.modest {
		return p, err
	}
	return modest{p, p.(storage.Cloner), p.(storage.Snapshotter), p.(storage.Renamer)}, nil
}

// world is a storage service on the memory store and driver.
type world struct {
	more    []storage.Driver
	st      store.Store
	svc     *storage.Service
	driver  *flaky
	dir     string
	actions []string
	unpacks atomic.Int64
	// unpack, if set, replaces what the unpacking of an image does.
	unpack func(ctx context.Context, root string, progress func(string)) error
	// gone says that images are not there any more.
	gone bool
}

func newWorld(t *testing.T, more ...storage.Driver) *world {
	t.Helper()
	w := &world{driver: &flaky{Driver: mem.New("dir")}, more: more, dir: t.TempDir()}
	w.st = store.NewMem(store.Options{OnAnnounce: func(ev any) { w.actions = append(w.actions, ev.(event.Change).Action) }})
	t.Cleanup(func() { w.st.Close() })
	for _, name := range []string{"default", "other", "shared"} {
		cfg := map[string]string{"features.storage.volumes": "true"}
		if name == "shared" {
			cfg["features.storage.volumes"] = "false"
		}
		must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
			return project.Collection.Insert(tx, project.Record{Name: name, Config: cfg})
		}))
	}
	w.restart(t)
	return w
}

// restart makes a new service on what is stored, as after a crash.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.svc = storage.New(storage.Deps{
		Store: w.st, Drivers: append([]storage.Driver{w.driver}, w.more...), Dir: w.dir, Location: "none", Warnings: warning.New(warning.Deps{Store: w.st}),
		Now:  func() time.Time { return time.Unix(1, 0) },
		Kept: func(store.Tx, string) (bool, error) { return !w.gone, nil },
		Unpack: func(ctx context.Context, fp, root string, progress func(string)) error {
			w.unpacks.Add(1)
			if w.unpack != nil {
				return w.unpack(ctx, root, progress)
			}
			return errors.Join(os.Mkdir(filepath.Join(root, "rootfs"), 0o755), os.WriteFile(filepath.Join(root, "rootfs", "of"), []byte(fp), 0o644))
		},
	})
	must(t, w.svc.Start(t.Context()))
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

func (w *world) pool(t *testing.T, name string) {
	t.Helper()
	must(t, w.svc.CreatePool(t.Context(), api.StoragePoolsPost{Name: name, Driver: "dir"}))
}

func instance(name string) storage.Volume {
	return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name}
}

func TestPoolLife(t *testing.T) {
	w := newWorld(t)
	post := api.StoragePoolsPost{Name: "p", Driver: "dir"}
	post.Description, post.Config = "mine", map[string]string{"user.x": "1", "source": ""}
	must(t, w.svc.CreatePool(t.Context(), post))
	p, etag, err := w.svc.GetPool(t.Context(), "p")
	if err != nil || p.Status != "Created" || p.Driver != "dir" || p.Description != "mine" || p.Config["user.x"] != "1" || len(p.Config) != 1 || len(p.UsedBy) != 0 || p.Locations[0] != "none" {
		t.Errorf("%+v, %v", p, err)
	}
	must(t, w.svc.UpdatePool(t.Context(), "p", api.StoragePoolPut{Description: "yours", Config: map[string]string{"user.y": "2"}}))
	p, changed, _ := w.svc.GetPool(t.Context(), "p")
	if p.Description != "yours" || p.Config["user.y"] != "2" || p.Config["user.x"] != "" {
		t.Errorf("%+v", p)
	}
	if len(etag.([]any)) != 4 || etag.([]any)[2] == changed.([]any)[2] {
		t.Errorf("etag %v and %v", etag, changed)
	}
	if names, versions, err := w.svc.InUse(t.Context()); err != nil || len(names) != 1 || names[0] != "dir" || versions[0] != "1" {
		t.Errorf("in use: %v %v, %v", names, versions, err)
	}
	if all := w.svc.Supported(); len(all) != 1 || all[0].Name != "dir" || all[0].Version != "1" || all[0].Remote {
		t.Errorf("supported: %+v", all)
	}
	if all, err := w.svc.ListPools(t.Context()); err != nil || len(all) != 1 || all[0].Name != "p" {
		t.Errorf("%v, %v", all, err)
	}
	r, err := w.svc.Resources(t.Context(), "p")
	if err != nil || r.Space.Total != 1000 {
		t.Errorf("%+v, %v", r, err)
	}
	must(t, w.svc.DeletePool(t.Context(), "p"))
	_, _, err = w.svc.GetPool(t.Context(), "p")
	wants(t, err, errs.NotFound, "p")
	if got := strings.Join(w.actions, " "); got != "storage-pool-created storage-pool-updated storage-pool-deleted" {
		t.Errorf("events %s", got)
	}
	if l, _ := os.ReadDir(w.dir); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
}

func TestPoolRefusals(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	for name, c := range map[string]struct {
		post api.StoragePoolsPost
		kind errs.Kind
		text string
	}{
		"taken":          {api.StoragePoolsPost{Name: "p", Driver: "dir"}, errs.Conflict, "exists"},
		"no name":        {api.StoragePoolsPost{Driver: "dir"}, errs.Invalid, "missing"},
		"bad name":       {api.StoragePoolsPost{Name: "a/b", Driver: "dir"}, errs.Invalid, "a/b"},
		"dots":           {api.StoragePoolsPost{Name: "..", Driver: "dir"}, errs.Invalid, "first character"},
		"long name":      {api.StoragePoolsPost{Name: strings.Repeat("a", 64), Driver: "dir"}, errs.Invalid, "63"},
		"no driver":      {api.StoragePoolsPost{Name: "q"}, errs.Invalid, "one of dir"},
		"unknown driver": {api.StoragePoolsPost{Name: "q", Driver: "zfs"}, errs.Invalid, "one of dir"},
		"unknown keys":   {api.StoragePoolsPost{Name: "q", Driver: "dir", StoragePoolPut: api.StoragePoolPut{Config: map[string]string{"bad": "1", "worse": "2"}}}, errs.Invalid, "worse"},
		"newline":        {api.StoragePoolsPost{Name: "q", Driver: "dir", StoragePoolPut: api.StoragePoolPut{Config: map[string]string{"source": "/x\ny"}}}, errs.Invalid, "control character"},
	} {
		t.Run(name, func(t *testing.T) { wants(t, w.svc.CreatePool(t.Context(), c.post), c.kind, c.text) })
	}
	wants(t, w.svc.UpdatePool(t.Context(), "p", api.StoragePoolPut{Config: map[string]string{"source": "/elsewhere"}}), errs.Invalid, "cannot change")
	wants(t, w.svc.UpdatePool(t.Context(), "q", api.StoragePoolPut{}), errs.NotFound, "q")
	wants(t, w.svc.DeletePool(t.Context(), "q"), errs.NotFound, "q")
	_, err := w.svc.Resources(t.Context(), "q")
	wants(t, err, errs.NotFound, "q")
}

func TestPoolThatDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	w.driver.fail = errs.Newf(errs.Invalid, "source is not empty")
	wants(t, w.svc.CreatePool(t.Context(), api.StoragePoolsPost{Name: "p", Driver: "dir"}), errs.Invalid, "not empty")
	if all, _ := w.svc.ListPools(t.Context()); len(all) != 0 {
		t.Errorf("left: %v", all)
	}
	w.driver.fail = nil
	w.pool(t, "p")
	w.driver.fail = errors.New("disk gone")
	w.restart(t)
	if p, _, err := w.svc.GetPool(t.Context(), "p"); err != nil || p.Status != "Unavailable" {
		t.Errorf("%s, %v", p.Status, err)
	}
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return storage.Pools.Modify(tx, "p", func(r *storage.PoolRecord) error { r.Driver = "unheard of"; return nil })
	}))
	w.restart(t) // the others are to be had all the same
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return storage.Pools.Modify(tx, "p", func(r *storage.PoolRecord) error { r.Driver, r.Deleting = "unheard of", true; return nil })
	}))
	w.restart(t)
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return storage.Pools.Modify(tx, "p", func(r *storage.PoolRecord) error { r.Driver, r.Deleting = "dir", false; return nil })
	}))
	w.restart(t)
	_, err := w.svc.Mount(t.Context(), "p", instance("c1"))
	wants(t, err, errs.Unavailable, "disk gone")
}

// TestPoolThatComesBack is a pool whose disk is away for a while: the administrator is told, and it is used again without a restart.
func TestPoolThatComesBack(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	warned := func(want ...string) {
		t.Helper()
		all, err := warning.New(warning.Deps{Store: w.st}).List(t.Context())
		must(t, err)
		var got []string
		for _, a := range all {
			got = append(got, a.Type+" "+a.EntityURL+" "+a.Status+" "+a.LastMessage)
		}
		if !slices.Equal(got, want) {
			t.Errorf("warnings %q, want %q", got, want)
		}
	}
	w.driver.fail = errors.New("disk gone")
	w.restart(t)
	warned("Storage pool unavailable /1.0/storage-pools/p new disk gone")
	w.svc.Retry(t.Context())
	_, err := w.svc.Mount(t.Context(), "p", instance("c1"))
	wants(t, err, errs.Unavailable, "disk gone")
	w.driver.fail = nil
	w.svc.Retry(t.Context())
	must(t, w.svc.CreateEmpty(t.Context(), "p", instance("c1")))
	warned("Storage pool unavailable /1.0/storage-pools/p resolved disk gone")
	must(t, w.svc.Delete(t.Context(), "p", instance("c1")))
	must(t, w.svc.DeletePool(t.Context(), "p"))
	warned()
}

func TestPoolInUse(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	must(t, w.svc.CreateFromImage(t.Context(), "p", instance("c1"), "fp"))
	p, _, _ := w.svc.GetPool(t.Context(), "p")
	if got := strings.Join(p.UsedBy, " "); got != "/1.0/instances/c1 /1.0/images/fp" {
		t.Errorf("used by %s", got)
	}
	wants(t, w.svc.DeletePool(t.Context(), "p"), errs.Invalid, "/1.0/instances/c1")
	must(t, w.svc.Delete(t.Context(), "p", instance("c1")))
	must(t, w.svc.DeletePool(t.Context(), "p")) // the cached image goes with it
	wants(t, w.svc.CreateEmpty(t.Context(), "p", instance("c1")), errs.NotFound, "p")
	must(t, w.svc.Delete(t.Context(), "p", instance("c1")))
}

func TestPoolAfterCrash(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "half")
	w.pool(t, "going")
	w.pool(t, "fine")
	must(t, w.svc.EnsureImage(t.Context(), nil, "going", "fp"))
	must(t, w.svc.EnsureImage(t.Context(), nil, "fine", "fp"))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(
			storage.Pools.Modify(tx, "half", func(r *storage.PoolRecord) error { r.Status = "Pending"; return nil }),
			storage.Pools.Modify(tx, "going", func(r *storage.PoolRecord) error { r.Deleting = true; return nil }),
			storage.Volumes.Delete(tx, "fine/image/default/fp")) // killed between volume and record
	}))
	w.restart(t)
	all, err := w.svc.ListPools(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "fine" {
		t.Errorf("%+v, %v", all, err)
	}
	if l, _ := os.ReadDir(filepath.Join(w.dir, "fine", "image")); len(l) != 0 {
		t.Errorf("an image without a record is left: %v", l)
	}
	if l, _ := os.ReadDir(w.dir); len(l) != 1 {
		t.Errorf("left: %v", l)
	}
	must(t, w.svc.EnsureImage(t.Context(), nil, "fine", "fp"))
	must(t, os.RemoveAll(filepath.Join(w.dir, "fine")))
	w.driver.Driver = mem.New("dir") // all volumes are lost
	w.restart(t)
	if vols, _ := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "fine", Project: "default", All: true}); len(vols) != 0 {
		t.Errorf("a record without an image is left: %v", vols)
	}
	must(t, w.svc.EnsureImage(t.Context(), nil, "fine", "fp"))
}

func TestVolumes(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	must(t, w.svc.CreateFromImage(t.Context(), "p", instance("c1"), "fp"))
	wants(t, w.svc.CreateFromImage(t.Context(), "p", instance("c1"), "fp"), errs.Conflict, "c1")
	wants(t, w.svc.CreateEmpty(t.Context(), "missing", instance("c1")), errs.NotFound, "missing")
	other := storage.Volume{Type: storage.ContainerVolume, Project: "other", Name: "a"}
	must(t, w.svc.CreateEmpty(t.Context(), "p", other))
	must(t, w.svc.Copy(t.Context(), "p", instance("c1"), instance("c2")))
	broken := errors.New("broken")
	err := w.svc.CreateFilled(t.Context(), "p", instance("c3"), func(context.Context, string) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
	m, err := w.svc.Mount(t.Context(), "p", instance("c2"))
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(m.Root, "of")); string(b) != "fp" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, w.svc.Unmount(t.Context(), "p", instance("c2")))
	_, _, err = w.svc.VolumeUsage(t.Context(), "p", instance("c2"))
	wants(t, err, errs.Unsupported, "")
	must(t, w.svc.Resize(t.Context(), "p", instance("c2"), 1))
	for _, c := range []struct {
		project string
		typ     storage.VolumeType
		all     bool
		want    string
	}{
		{"default", "", false, "container/c1 container/c2 image/fp"},
		{"other", "", false, "container/a"},
		{"other", "", true, "container/a container/c1 container/c2 image/fp"},
		{"default", storage.ImageVolume, false, "image/fp"},
		{"shared", storage.CustomVolume, false, ""},
	} {
		vols, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: c.project, Type: c.typ, All: c.all})
		must(t, err)
		var names []string
		for _, v := range vols {
			names = append(names, v.Type+"/"+v.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.project, c.typ, got, c.want)
		}
	}
	_, err = w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: "default", Type: "odd"})
	wants(t, err, errs.Invalid, "odd")
	v, etag, err := w.svc.GetVolume(t.Context(), "p", "other", storage.ContainerVolume, "a")
	if err != nil || v.ContentType != "filesystem" || v.UsedBy[0] != "/1.0/instances/a?project=other" || v.Location != "none" || etag == nil {
		t.Errorf("%+v, %v", v, err)
	}
	_, _, err = w.svc.GetVolume(t.Context(), "p", "default", storage.ContainerVolume, "a")
	wants(t, err, errs.NotFound, "a")
	for range 2 {
		must(t, w.svc.Delete(t.Context(), "p", other))
	}
	must(t, w.svc.Close())
}

// TestImageIsUnpackedOnce: all who want it wait for one unpacking, and see its progress.
func TestImageIsUnpackedOnce(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	gate := make(chan struct{})
	w.unpack = func(_ context.Context, _ string, progress func(string)) error {
		progress("Unpack: 50%")
		<-gate
		return nil
	}
	ops := op.NewManager(t.Context(), op.Options{Store: w.st})
	var running []*op.Operation
	for range 8 {
		o, err := ops.Start(t.Context(), op.Spec{Kind: "k", Run: func(ctx context.Context, task *op.Task) error {
			return w.svc.EnsureImage(ctx, task, "p", "fp")
		}})
		must(t, err)
		running = append(running, o)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		seen := 0
		for _, o := range running {
			if o.API().Metadata["create_instance_from_image_unpack_progress"] == "Unpack: 50%" {
				seen++
			}
		}
		if seen == len(running) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d see the progress", seen, len(running))
		}
	}
	close(gate)
	for _, o := range running {
		must(t, o.Wait(t.Context()))
	}
	if n := w.unpacks.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
	must(t, w.svc.DeleteImage(t.Context(), "fp"))
	must(t, w.svc.DeleteImage(t.Context(), "fp"))
	must(t, w.svc.EnsureImage(t.Context(), nil, "p", "fp"))
	if n := w.unpacks.Load(); n != 2 {
		t.Errorf("unpacked %d times", n)
	}
}

// TestImageDeletedWhileItIsUnpacked: nothing of it stays, since nothing would remove it.
func TestImageDeletedWhileItIsUnpacked(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	w.gone = true
	if err := w.svc.EnsureImage(t.Context(), nil, "p", "fp"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	w.gone = false
	if vols, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: "default", All: true}); len(vols) > 0 || err != nil {
		t.Error(vols, err)
	}
	must(t, w.svc.EnsureImage(t.Context(), nil, "p", "fp"))
	if n := w.unpacks.Load(); n != 2 {
		t.Errorf("unpacked %d times: the volume had stayed", n)
	}
}

// TestOneWhoGivesUpDoesNotStopTheOthers: the leader is cancelled, another takes over.
func TestOneWhoGivesUpDoesNotStopTheOthers(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	began := make(chan struct{}, 2)
	w.unpack = func(ctx context.Context, _ string, _ func(string)) error {
		began <- struct{}{}
		if w.unpacks.Load() == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { wants(t, w.svc.EnsureImage(ctx, nil, "p", "fp"), errs.Canceled, "") })
	<-began
	for range 3 {
		wg.Go(func() {
			if err := w.svc.EnsureImage(t.Context(), nil, "p", "fp"); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	wg.Wait()
	if n := w.unpacks.Load(); n != 2 {
		t.Errorf("unpacked %d times", n)
	}
}

func TestFailedUnpackIsToldToAll(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	w.unpack = func(context.Context, string, func(string)) error {
		return errs.Newf(errs.Invalid, "archive is damaged")
	}
	wants(t, w.svc.CreateFromImage(t.Context(), "p", instance("c1"), "fp"), errs.Invalid, "damaged")
	if vols, _ := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: "default", All: true}); len(vols) != 0 {
		t.Errorf("left: %v", vols)
	}
	w.unpack = nil
	must(t, w.svc.CreateFromImage(t.Context(), "p", instance("c1"), "fp"))
}
