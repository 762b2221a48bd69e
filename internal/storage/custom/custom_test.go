package custom_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

func parts(path string) []string { return strings.Split(path, "/") }

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"v": true, "data-1_x.y": true, "Ä": true, "v:1": true, strings.Repeat("x", 200): true,
		"": false, ".x": false, "..": false, "-x": false, "a/b": false, "a b": false, "a?b": false, "a+b": false, "x.fill": false, "a\nb": false,
		"a@b": false, `a"b`: false, strings.Repeat("x", 201): false,
	} {
		if err := custom.CheckName(name); (err == nil) != ok || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", map[string]string{"user.x": "1", "user.y": ""}))
	w.text(t, "p", "v", "one")
	wants(t, w.create("p", "v", nil), errs.Conflict, "already exists")
	wants(t, w.create("none", "v", nil), errs.NotFound, "none")
	must(t, w.keep("p", "v", ""))
	w.text(t, "p", "v", "two")
	must(t, w.run(w.svc.Update(t.Context(), at("p", "v"), api.StorageVolumePut{Restore: "v/snap0"}))) // with the volume's name, as older clients send it
	if got := w.text(t, "p", "v", "") + w.text(t, "p", "v/snap0", ""); got != "oneone" {
		t.Error("restored", got)
	}
	must(t, w.copy("p", "c", api.StorageVolumeSource{Name: "v"}))
	must(t, w.copy("q", "c", api.StorageVolumeSource{Name: "v", Pool: "p"}))
	must(t, w.copy("q", "d", api.StorageVolumeSource{Name: "v/snap0", Pool: "p"}))
	w.holds(t, "p/default/c", "p/default/c/snap0", "p/default/v", "p/default/v/snap0", "q/default/c", "q/default/c/snap0", "q/default/d")
	for _, name := range []string{"c", "c/snap0", "d"} {
		if got := w.text(t, "q", name, ""); got != "one" {
			t.Errorf("%s holds %q", name, got)
		}
	}
	must(t, w.move("q", "c", api.StorageVolumePost{Name: "e", Pool: "p"}))
	must(t, w.move("p", "e", api.StorageVolumePost{Name: "f", Project: "other"}))
	w.holds(t, "p/default/c", "p/default/c/snap0", "p/default/v", "p/default/v/snap0", "p/other/f", "p/other/f/snap0", "q/default/d")
	must(t, errors.Join(w.remove("p", "c"), w.remove("p", "v"), w.remove("q", "d")))
	w.holds(t, "p/other/f", "p/other/f/snap0")
	got := slices.Compact(w.take())
	want := []string{"storage-volume-created", "storage-volume-snapshot-created", "storage-volume-restored", "storage-volume-created",
		"storage-volume-renamed", "storage-volume-deleted"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q", got)
	}
}

func TestUUIDs(t *testing.T) {
	w := newWorld(t)
	must(t, errors.Join(w.create("p", "v", nil), w.keep("p", "v", "s"), w.copy("p", "c", api.StorageVolumeSource{Name: "v"})))
	vols, err := w.pools.ListVolumes(t.Context(), storage.Query{Project: "default"})
	must(t, err)
	seen := map[string]bool{"": true}
	for _, v := range vols {
		if u := v.Config["volatile.uuid"]; seen[u] {
			t.Errorf("%s has the UUID %q", v.Name, u)
		} else {
			seen[u] = true
		}
	}
}

// TestUsers: what an instance or profile shows is not deleted, and while an instance runs it is neither renamed nor restored.
func TestUsers(t *testing.T) {
	w := newWorld(t)
	must(t, errors.Join(w.create("p", "v", nil), w.keep("p", "v", "s0"), w.keep("p", "v", "s1")))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return profile.Collection.Insert(tx, profile.Record{Project: "default", Name: "web", VolumeProject: "default", Devices: disk("p", "v")})
	}))
	w.use(t, machine{Name: "c1", Devices: disk("p", "v/s0")})
	w.use(t, machine{Name: "c2", Profiles: []string{"web"}})
	restore := func() error {
		return w.run(w.svc.Update(t.Context(), at("p", "v"), api.StorageVolumePut{Restore: "s0"}))
	}
	drop := func(name string) error { return w.run(w.svc.DeleteSnapshot(t.Context(), at("p", "v"), name)) }
	v, _, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "v")
	if want := []string{"/1.0/instances/c1", "/1.0/profiles/web"}; err != nil || !slices.Equal(v.UsedBy, want) {
		t.Errorf("used by %q, %v", v.UsedBy, err)
	}
	wants(t, w.remove("p", "v"), errs.Invalid, "/1.0/instances/c1")
	wants(t, drop("s0"), errs.Invalid, "/1.0/instances/c1")
	wants(t, w.move("p", "v", api.StorageVolumePost{Name: "v", Project: "other"}), errs.Invalid, "in use")
	must(t, errors.Join(restore(), drop("s1")))
	for _, name := range []string{"c1", "c2"} { // the second through a profile
		m := machine{Name: name, Runs: true, Devices: disk("p", "v/s0")}
		if name == "c2" {
			m = machine{Name: name, Runs: true, Profiles: []string{"web"}}
		}
		w.use(t, m)
		wants(t, restore(), errs.Invalid, name)
		wants(t, w.move("p", "v", api.StorageVolumePost{Name: "w"}), errs.Invalid, name)
		m.Runs = false
		w.use(t, m)
	}
	must(t, w.move("p", "v", api.StorageVolumePost{Name: "w", Pool: "q"}))
	must(t, w.st.View(t.Context(), func(tx store.Tx) error {
		m, err := machines.Get(tx, "default/c1")
		if d := m.Devices["data"]; d["pool"] != "q" || d["source"] != "w/s0" {
			t.Errorf("the instance has %v", d)
		}
		r, err2 := profile.Collection.Get(tx, "default/web")
		if d := r.Devices["data"]; d["pool"] != "q" || d["source"] != "w" {
			t.Errorf("the profile has %v", d)
		}
		return errors.Join(err, err2)
	}))
	w.holds(t, "q/default/w", "q/default/w/s0")
	_, err = w.pools.MountCustom(t.Context(), "default", "q", "w/s0", "somebody")
	must(t, err)
	wants(t, w.move("q", "w", api.StorageVolumePost{Name: "x"}), errs.Invalid, "somebody")
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", map[string]string{"user.x": "1"}))
	update := func(put api.StorageVolumePut) error { return w.run(w.svc.Update(t.Context(), at("p", "v"), put)) }
	must(t, update(api.StorageVolumePut{Description: "d", Config: map[string]string{"size": "1GiB", "snapshots.pattern": "x%d", "user.z": ""}}))
	v, etag, err := w.pools.GetVolume(t.Context(), "p", "default", storage.CustomVolume, "v")
	if err != nil || v.Description != "d" || v.Config["size"] != "1GiB" || len(v.Config) != 3 || etag == nil {
		t.Errorf("%+v, %v", v, err)
	}
	for _, cfg := range []map[string]string{
		{"no.such": "1"}, {"size": "much"}, {"snapshots.schedule": "now and then"}, {"snapshots.expiry": "soon"}, {"snapshots.pattern": "{{ x }}"},
		{"security.shared": "true"}, {"security.shifted": "true", "security.unmapped": "true"}, {"volatile.uuid": "x"},
	} {
		wants(t, update(api.StorageVolumePut{Config: cfg}), errs.Invalid, "")
	}
	w.use(t, machine{Name: "c1", Devices: disk("p", "v")})
	wants(t, update(api.StorageVolumePut{Config: map[string]string{"security.unmapped": "true"}}), errs.Invalid, "security.unmapped")
	must(t, update(api.StorageVolumePut{Config: map[string]string{"security.shifted": "true"}}))
	wants(t, w.run(w.svc.Update(t.Context(), at("p", "none"), api.StorageVolumePut{})), errs.NotFound, "none")
}

func TestSnapshots(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", map[string]string{"snapshots.expiry": "1d", "snapshots.pattern": "s%d"}))
	never, later := time.Time{}, time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	must(t, w.keep("p", "v", ""))
	must(t, w.run(w.svc.Snapshot(t.Context(), at("p", "v"), api.StorageVolumeSnapshotsPost{Description: "d", ExpiresAt: &never})))
	must(t, w.run(w.svc.Snapshot(t.Context(), at("p", "v"), api.StorageVolumeSnapshotsPost{Name: "mine", ExpiresAt: &later})))
	wants(t, w.keep("p", "v", "mine"), errs.Conflict, "already exists")
	wants(t, w.keep("p", "v", "a/b"), errs.Invalid, "not allowed")
	wants(t, w.keep("p", "none", "x"), errs.NotFound, "none")
	all, urls, err := w.svc.Snapshots(t.Context(), at("p", "v"))
	must(t, err)
	if len(all) != 3 || all[0].Name != "s0" || all[1].Name != "s1" || all[2].Name != "mine" || urls[2] != "/1.0/storage-pools/p/volumes/custom/v/snapshots/mine" {
		t.Fatalf("%+v %q", all, urls)
	}
	if all[0].ExpiresAt == nil || all[0].ExpiresAt.Sub(all[0].CreatedAt) != 24*time.Hour || all[1].ExpiresAt != nil || !all[2].ExpiresAt.Equal(later) {
		t.Errorf("%+v", all)
	}
	must(t, w.run(w.svc.UpdateSnapshot(t.Context(), at("p", "v"), "s0", api.StorageVolumeSnapshotPut{Description: "new"})))
	s, etag, err := w.svc.GetSnapshot(t.Context(), at("p", "v"), "s0")
	if err != nil || s.Description != "new" || s.ExpiresAt != nil || etag == nil {
		t.Errorf("%+v, %v", s, err)
	}
	rename := func(from, to string) error {
		return w.run(w.svc.RenameSnapshot(t.Context(), at("p", "v"), from, api.StorageVolumeSnapshotPost{Name: to}))
	}
	must(t, rename("mine", "yours"))
	wants(t, rename("yours", "s0"), errs.Conflict, "already exists")
	wants(t, rename("mine", "x"), errs.NotFound, "mine")
	wants(t, rename("yours", "a/b"), errs.Invalid, "not allowed")
	w.holds(t, "p/default/v", "p/default/v/s0", "p/default/v/s1", "p/default/v/yours")
	want := []string{"storage-volume-created", "storage-volume-snapshot-created", "storage-volume-snapshot-updated", "storage-volume-snapshot-renamed"}
	if got := slices.Compact(w.take()); !slices.Equal(got, want) {
		t.Errorf("events %q", got)
	}
}

// TestTend: snapshots are taken when they are due, and go when they have expired.
func TestTend(t *testing.T) {
	w := newWorld(t)
	must(t, errors.Join(w.create("p", "hourly", map[string]string{"snapshots.schedule": "@hourly", "snapshots.expiry": "90M"}),
		w.create("p", "daily", map[string]string{"snapshots.schedule": "0 6 * * *"}), w.create("p", "never", nil)))
	hour := time.Date(2026, 1, 2, 5, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want []string
	}{
		{hour, []string{"p/default/hourly/snap0"}},
		{hour.Add(time.Minute), []string{"p/default/hourly/snap0"}},
		{hour.Add(time.Hour), []string{"p/default/daily/snap0", "p/default/hourly/snap0", "p/default/hourly/snap1"}},
		{hour.Add(90 * time.Minute), []string{"p/default/daily/snap0", "p/default/hourly/snap1"}},
	} {
		w.svc.Tend(t.Context(), c.at)
		got := slices.DeleteFunc(w.known(t), func(n string) bool { return len(parts(n)) == 3 })
		if !slices.Equal(got, c.want) {
			t.Errorf("at %s there are %q, not %q", c.at, got, c.want)
		}
	}
	w.use(t, machine{Name: "c1", Devices: disk("p", "hourly/snap1")})
	w.svc.Tend(t.Context(), hour.Add(24*time.Hour+time.Minute)) // what is shown stays
	if got := w.known(t); !slices.Contains(got, "p/default/hourly/snap1") {
		t.Error(got)
	}
	w.consistent(t)
}

func TestRefresh(t *testing.T) {
	for _, pool := range []string{"p", "q"} {
		t.Run(pool, func(t *testing.T) {
			w := newWorld(t)
			src := api.StorageVolumeSource{Name: "v", Pool: "p", Refresh: true}
			must(t, w.create("p", "v", nil))
			w.text(t, "p", "v", "one")
			must(t, errors.Join(w.keep("p", "v", "s0"), w.keep("p", "v", "s1"), w.copy(pool, "c", src)))
			w.text(t, "p", "v", "two")
			must(t, w.run(w.svc.DeleteSnapshot(t.Context(), at("p", "v"), "s0")))
			must(t, errors.Join(w.keep("p", "v", "s2"), w.copy(pool, "c", src)))
			for name, want := range map[string]string{"c": "two", "c/s1": "one", "c/s2": "two"} {
				if got := w.text(t, pool, name, ""); got != want {
					t.Errorf("%s holds %q, not %q", name, got, want)
				}
			}
			w.consistent(t)
			if all, _, err := w.svc.Snapshots(t.Context(), at(pool, "c")); len(all) != 2 || err != nil {
				t.Errorf("%+v, %v", all, err)
			}
			w.use(t, machine{Name: "c1", Runs: true, Devices: disk(pool, "c")})
			wants(t, w.copy(pool, "c", src), errs.Invalid, "c1")
		})
	}
}

func TestSources(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", nil))
	for _, c := range []struct {
		src  api.StorageVolumeSource
		kind errs.Kind
	}{
		{api.StorageVolumeSource{Type: "copy"}, errs.Invalid}, {api.StorageVolumeSource{Type: "copy", Name: "none"}, errs.NotFound},
		{api.StorageVolumeSource{Type: "copy", Name: "v/none"}, errs.NotFound}, {api.StorageVolumeSource{Type: "copy", Name: "v", Pool: "none"}, errs.NotFound},
		{api.StorageVolumeSource{Type: "copy", Name: "v", Project: "other"}, errs.NotFound}, {api.StorageVolumeSource{Type: "magic"}, errs.Invalid},
		{api.StorageVolumeSource{Type: "migration"}, errs.Unsupported},
	} {
		_, err := w.svc.Create(t.Context(), "p", "default", api.StorageVolumesPost{Name: "x", Source: c.src})
		wants(t, err, c.kind, "")
	}
	must(t, w.run(w.svc.Create(t.Context(), "q", "other", api.StorageVolumesPost{Name: "x",
		Source: api.StorageVolumeSource{Type: "copy", Name: "v", Pool: "p", Project: "default"}})))
	w.holds(t, "p/default/v", "q/other/x")
	for _, post := range []api.StorageVolumesPost{
		{Name: "x", Type: "container"}, {Name: "x", ContentType: "iso"}, {Name: "x", ContentType: "odd"}, {Name: ""},
	} {
		_, err := w.svc.Create(t.Context(), "p", "default", post)
		wants(t, err, errs.Invalid, "")
	}
	_, err := w.svc.Create(t.Context(), "p", "default", api.StorageVolumesPost{Name: "x", ContentType: "block"})
	wants(t, err, errs.Unsupported, "block")
	wants(t, w.move("p", "v", api.StorageVolumePost{Name: "w", Migration: true}), errs.Unsupported, "server")
	wants(t, w.move("p", "v", api.StorageVolumePost{Name: "v"}), errs.Conflict, "already exists")
}

func TestState(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", map[string]string{"size": "1GiB"}))
	w.text(t, "p", "v", strings.Repeat("x", 100000))
	st, err := w.svc.State(t.Context(), at("p", "v"))
	if err != nil || st.Usage == nil || st.Usage.Used < 100000 || st.Usage.Used > 1000000 || st.Usage.Total != 1<<30 {
		t.Errorf("%+v, %v", st.Usage, err)
	}
	_, err = w.svc.State(t.Context(), at("p", "none"))
	wants(t, err, errs.NotFound, "none")
}

// TestDataWithoutRecordStays: what nobody knows of may be somebody's data.
func TestDataWithoutRecordStays(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "lost", nil))
	stray := storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "stray"}
	must(t, w.pools.With(t.Context(), "p", func(p storage.Pool) error {
		return errors.Join(p.Create(t.Context(), stray, nil), p.Delete(t.Context(), storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "lost"}))
	}))
	w.daemon(t)
	must(t, errors.Join(w.ops.Recover(t.Context()), w.svc.Start(t.Context())))
	defer w.svc.Close()
	if got := w.held(t); !slices.Equal(got, []string{"p/default/stray"}) {
		t.Error(got)
	}
	wants(t, w.create("p", "stray", nil), errs.Conflict, "")
	must(t, w.remove("p", "lost"))
}

// TestRace: many make, copy, keep, rename, attach and delete the same volumes at once. Every answer is a success or a clear refusal; what an
// instance shows is there, and pools and records agree in the end.
func TestRace(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "base", nil))
	attach := func(name, volume string) error {
		err := w.st.Update(context.Background(), func(tx store.Tx) error { return machines.Insert(tx, machine{Name: name, Devices: disk("p", volume)}) })
		if err != nil {
			return err
		}
		_, err = w.pools.MountCustom(context.Background(), "default", "p", volume, "instance "+name)
		if errs.Is(err, errs.NotFound) {
			t.Errorf("%s is shown by an instance and gone: %v", volume, err)
		}
		err = errors.Join(err, w.pools.UnmountCustom(context.Background(), "default", "p", volume, "instance "+name))
		return errors.Join(err, w.st.Update(context.Background(), func(tx store.Tx) error { return machines.Delete(tx, "default/"+name) }))
	}
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for i := range 40 {
				name := fmt.Sprint("v", (n+i)%3)
				var err error
				switch (n*7 + i) % 6 {
				case 0:
					err = w.create("p", name, nil)
				case 1:
					err = w.copy("p", name, api.StorageVolumeSource{Name: "base"})
				case 2:
					err = w.remove("p", name)
				case 3:
					err = w.keep("p", name, "")
				case 4:
					err = w.move("p", name, api.StorageVolumePost{Name: fmt.Sprint("v", i%3)})
				case 5:
					err = attach(fmt.Sprint("c", n, "-", i), name)
				}
				if err != nil && !errs.Is(err, errs.Conflict) && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
					t.Errorf("%d %d: %v (%d)", n, i, err, errs.KindOf(err))
				}
			}
		})
	}
	wait.Wait()
	w.consistent(t)
}

// TestPoolStays: a pool that a volume is made in is not deleted, and projects with volumes neither.
func TestPoolStays(t *testing.T) {
	w := newWorld(t)
	w.setHook(func(kind, step, moment string) error {
		if kind == "volume-create" && step == "volume" && moment == "after" {
			wants(t, w.pools.DeletePool(context.Background(), "p"), errs.Invalid, "being made")
		}
		return nil
	})
	must(t, w.create("p", "v", nil))
	w.setHook(nil)
	wants(t, w.pools.DeletePool(t.Context(), "p"), errs.Invalid, "/1.0/storage-pools/p/volumes/custom/v")
	must(t, w.st.View(t.Context(), func(tx store.Tx) error {
		if refs := project.Collection.UsedBy(tx, "default"); len(refs) != 1 || refs[0].Collection != "storage_volume" {
			t.Errorf("%v", refs)
		}
		return nil
	}))
	must(t, w.remove("p", "v"))
	must(t, w.pools.DeletePool(t.Context(), "p"))
}

func TestWhatTheServerKeepsIsNotCopied(t *testing.T) {
	w := newWorld(t)
	must(t, w.create("p", "v", nil))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return depot.Collection.Insert(tx, depot.Record{Place: depot.Place{Sort: depot.Backups}, Pool: "p", Volume: "v"})
	}))
	for _, pool := range []string{"p", "q"} {
		wants(t, w.copy(pool, "c", api.StorageVolumeSource{Name: "v", Pool: "p"}), errs.Invalid, "in use by the server")
	}
}
