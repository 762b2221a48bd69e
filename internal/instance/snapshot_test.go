package instance_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// keep takes a snapshot.
func (w *world) keep(t *testing.T, name, snapshot string) error {
	return w.run(w.svc.Snapshot(t.Context(), "default", name, api.InstanceSnapshotsPost{Name: snapshot}))
}

// kept checks the names of an instance's snapshots.
func (w *world) kept(t *testing.T, name string, want ...string) (all []api.InstanceSnapshot) {
	t.Helper()
	all, urls, err := w.svc.ListSnapshots(t.Context(), "default", name)
	if err != nil || len(all) != len(want) || len(urls) != len(want) {
		t.Fatalf("%v %v; want %v", urls, err, want)
	}
	for i, s := range all {
		if s.Name != want[i] || urls[i] != "/1.0/instances/"+name+"/snapshots/"+want[i] {
			t.Errorf("%s at %s, want %s", s.Name, urls[i], want[i])
		}
	}
	return all
}

func (w *world) set(t *testing.T, name string, config map[string]string) {
	t.Helper()
	put, _, err := w.svc.Writable(t.Context(), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	put.Config = maps.Clone(put.Config)
	maps.Copy(put.Config, config)
	if err := w.svc.UpdateNow(t.Context(), "default", name, put); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotLife(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.set(t, "c1", map[string]string{"user.a": "1"})
	w.forgetActions()
	for _, name := range []string{"", "", "mine"} {
		if err := w.keep(t, "c1", name); err != nil {
			t.Fatal(err)
		}
	}
	w.wantActions(t, "instance-snapshot-created", "instance-snapshot-created", "instance-snapshot-created")
	all := w.kept(t, "c1", "snap0", "snap1", "mine")
	s := all[0]
	if s.Size != -1 || !s.ExpiresAt.IsZero() || s.Config["user.a"] != "1" || s.ExpandedDevices["root"]["pool"] != "tank" || len(s.Devices) != 0 || s.CreatedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	later := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := w.run(w.svc.UpdateSnapshot(t.Context(), "default", "c1", "snap0", api.InstanceSnapshotPut{ExpiresAt: later})); err != nil {
		t.Fatal(err)
	}
	got, etag, err := w.svc.GetSnapshot(t.Context(), "default", "c1", "snap0")
	if err != nil || !got.ExpiresAt.Equal(later) || len(etag.([]any)) != 1 {
		t.Errorf("%+v %v %v", got, etag, err)
	}
	if err := w.run(w.svc.RenameSnapshot(t.Context(), "default", "c1", "mine", api.InstanceSnapshotPost{Name: "yours"})); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "snap1")); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, "instance-snapshot-updated", "instance-snapshot-renamed", "instance-snapshot-deleted")
	w.kept(t, "c1", "snap0", "yours")
	full, _, err := w.svc.Full(t.Context(), "default", "c1", instance.Fields{})
	if err != nil || len(full.Snapshots) != 2 || full.Status != "Running" {
		t.Errorf("%+v %v", full, err)
	}
	if err := w.remove(t, "c1", true); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, "instance-stopped", "instance-snapshot-deleted", "instance-snapshot-deleted", "instance-deleted")
	w.clean(t)
}

func TestSnapshotRefusals(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	if err := w.keep(t, "c1", "s0"); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		do   func() error
		kind errs.Kind
	}{
		"taken":      {func() error { return w.keep(t, "c1", "s0") }, errs.Conflict},
		"bad name":   {func() error { return w.keep(t, "c1", "a/b") }, errs.Invalid},
		"of nothing": {func() error { return w.keep(t, "nope", "s") }, errs.NotFound},
		"rename to taken": {func() error {
			_, err := w.svc.RenameSnapshot(t.Context(), "default", "c1", "s0", api.InstanceSnapshotPost{Name: "s0"})
			return err
		}, errs.Conflict},
		"rename to bad": {func() error {
			_, err := w.svc.RenameSnapshot(t.Context(), "default", "c1", "s0", api.InstanceSnapshotPost{Name: "+"})
			return err
		}, errs.Invalid},
		"rename missing": {func() error {
			_, err := w.svc.RenameSnapshot(t.Context(), "default", "c1", "s9", api.InstanceSnapshotPost{Name: "x"})
			return err
		}, errs.NotFound},
		"delete missing":  {func() error { _, err := w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s9"); return err }, errs.NotFound},
		"get missing":     {func() error { _, _, err := w.svc.GetSnapshot(t.Context(), "default", "c1", "s9"); return err }, errs.NotFound},
		"list of nothing": {func() error { _, _, err := w.svc.ListSnapshots(t.Context(), "default", "nope"); return err }, errs.NotFound},
		"stateful": {func() error {
			_, err := w.svc.Snapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{Stateful: true})
			return err
		}, errs.Unsupported},
		"restore missing": {func() error {
			_, err := w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s9"})
			return err
		}, errs.NotFound},
		"rebuild": {func() error {
			_, err := w.svc.Rebuild(t.Context(), "default", "c1", api.InstanceRebuildPost{Source: request("").Source})
			return err
		}, errs.Invalid},
		"copy of nothing":  {func() error { return w.copy(t, "nope", "c2") }, errs.NotFound},
		"copy of snapshot": {func() error { return w.copy(t, "c1/s9", "c2") }, errs.NotFound},
		"copy to taken":    {func() error { return w.copy(t, "c1", "c1") }, errs.Conflict},
	} {
		is(t, what, c.do(), c.kind)
	}
	w.kept(t, "c1", "s0")
}

func TestRestore(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.set(t, "c1", map[string]string{"user.a": "1"})
	if err := w.keep(t, "c1", "s0"); err != nil {
		t.Fatal(err)
	}
	w.set(t, "c1", map[string]string{"user.a": "2", "user.b": "x"})
	before := w.get(t, "c1")
	pid := w.host.get("default_c1")
	w.forgetActions()
	if err := w.run(w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s0"})); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, "instance-restored", "instance-started")
	a := w.get(t, "c1")
	if a.Status != "Running" || w.host.get("default_c1") == pid || a.Config["user.a"] != "1" || a.Config["user.b"] != "" {
		t.Errorf("%+v", a)
	}
	for key, same := range map[string]bool{"volatile.uuid": true, "volatile.eth0.hwaddr": true, "volatile.uuid.generation": false} {
		if (a.Config[key] == before.Config[key]) != same || a.Config[key] == "" {
			t.Errorf("%s was %q and is %q", key, before.Config[key], a.Config[key])
		}
	}
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s0"})); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); a.Status != "Stopped" || a.Config["volatile.last_state.power"] != "STOPPED" {
		t.Errorf("%+v", a)
	}
	w.kept(t, "c1", "s0")
}

// copy makes an instance from another.
func (w *world) copy(t *testing.T, from, to string, change ...func(*api.InstancesPost)) error {
	post := api.InstancesPost{Name: to, Source: api.InstanceSource{Type: api.SourceTypeCopy, Source: from}}
	for _, c := range change {
		c(&post)
	}
	return w.create(t, post)
}

func TestCopy(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.set(t, "c1", map[string]string{"user.a": "1", "limits.processes": "50"})
	for _, s := range []string{"s0", "s1"} {
		if err := w.keep(t, "c1", s); err != nil {
			t.Fatal(err)
		}
	}
	w.set(t, "c1", map[string]string{"user.a": "2"})
	err := w.copy(t, "c1", "c2", func(p *api.InstancesPost) {
		p.Config = map[string]string{"limits.processes": "60", "volatile.uuid": "forged"}
	})
	if err != nil {
		t.Fatal(err)
	}
	from, to := w.get(t, "c1"), w.get(t, "c2")
	if to.Status != "Stopped" || to.Config["user.a"] != "2" || to.Config["limits.processes"] != "60" || !slices.Equal(to.Profiles, from.Profiles) ||
		to.Config["volatile.base_image"] != from.Config["volatile.base_image"] || to.Config["image.os"] != "Debian" {
		t.Errorf("%+v", to)
	}
	for _, key := range []string{"volatile.uuid", "volatile.eth0.hwaddr"} {
		if to.Config[key] == from.Config[key] || to.Config[key] == "" || to.Config[key] == "forged" {
			t.Errorf("%s of the copy is %q", key, to.Config[key])
		}
	}
	w.kept(t, "c2", "s0", "s1")
	if err := w.copy(t, "c1", "c3", func(p *api.InstancesPost) { p.Source.InstanceOnly = true; p.Start = true }); err != nil {
		t.Fatal(err)
	}
	w.kept(t, "c3")
	if err := w.copy(t, "c1/s0", "c4"); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c4"); a.Config["user.a"] != "1" {
		t.Errorf("%+v", a.Config)
	}
	w.consistent(t)
	w.failing(t, "copy")
	if err := w.copy(t, "c1", "c5"); err == nil {
		t.Error("copied")
	}
	w.consistent(t)
	for _, name := range []string{"c1", "c2", "c3", "c4"} {
		if err := w.remove(t, name, true); err != nil {
			t.Fatal(err)
		}
	}
	w.clean(t)
}

// TestCopyToAnotherPool: snapshots come along, and what brings one back leaves the copy in its pool.
func TestCopyToAnotherPool(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	for _, s := range []string{"s0", "s1"} {
		if err := w.keep(t, "c1", s); err != nil {
			t.Fatal(err)
		}
	}
	err := w.st.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(storage.Pools.Put(tx, storage.PoolRecord{Name: "fast1"}), storage.Pools.Put(tx, storage.PoolRecord{Name: "fast2"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	in := func(pool string) func(*api.InstancesPost) {
		return func(p *api.InstancesPost) {
			p.Devices = map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": pool}}
		}
	}
	for _, c := range []struct{ from, to, pool string }{{"c1", "c2", "fast1"}, {"c2", "c3", "fast2"}, {"c1/s0", "c4", "fast1"}} {
		if err := w.copy(t, c.from, c.to, in(c.pool)); err != nil {
			t.Fatalf("%s to %s: %v", c.from, c.pool, err)
		}
		if got := w.get(t, c.to); got.Devices["root"]["pool"] != c.pool {
			t.Errorf("%s: %+v", c.to, got.Devices)
		}
	}
	for _, name := range []string{"c2", "c3"} {
		w.kept(t, name, "s0", "s1")
		if err := w.run(w.svc.Update(t.Context(), "default", name, api.InstancePut{Restore: "s0"})); err != nil {
			t.Errorf("restore %s: %v", name, err)
		}
	}
	for _, what := range []string{"volume", "fill"} {
		w.failing(t, what)
		if err := w.copy(t, "c1", "c5", in("fast1")); err == nil {
			t.Errorf("copied without %s", what)
		}
	}
	w.failing(t, "stream")
	if err := w.copy(t, "c2", "c5", in("fast2")); err == nil {
		t.Error("copied without a stream")
	}
	for _, name := range []string{"c1", "c2", "c3", "c4"} {
		if err := w.remove(t, name, true); err != nil {
			t.Fatal(err)
		}
	}
	w.clean(t)
}

func TestRenameWithSnapshots(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	if err := w.keep(t, "c1", "s0"); err != nil {
		t.Fatal(err)
	}
	is(t, "running", w.run(w.svc.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})), errs.Invalid, "stop it")
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	w.forgetActions()
	if err := w.run(w.svc.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, "instance-renamed")
	w.kept(t, "c2", "s0")
	w.consistent(t)
	if err := w.state(t, "c2", "start", 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.svc.Get(t.Context(), "default", "c1"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// What an instance and its snapshots name is that of the project that they have come to.
func TestMoveToAnotherProject(t *testing.T) {
	w := newWorld(t)
	err := w.st.Update(t.Context(), func(tx store.Tx) error {
		var all []error
		for _, p := range []string{"a", "b"} {
			all = append(all, project.Collection.Insert(tx, project.Record{Name: p, Config: map[string]string{"features.storage.volumes": "true"}}))
			all = append(all, storage.Volumes.Insert(tx, storage.VolumeRecord{Pool: "tank", Type: storage.CustomVolume, Project: p, Name: "data", ContentType: "filesystem"}))
		}
		return errors.Join(all...)
	})
	if err != nil {
		t.Fatal(err)
	}
	post := request("c1")
	post.Devices = instance.Devices{"d": {"type": "disk", "pool": "tank", "source": "data", "path": "/data"}}
	if err := w.run(w.svc.Create(t.Context(), "a", post)); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.svc.Snapshot(t.Context(), "a", "c1", api.InstanceSnapshotsPost{Name: "s0"})); err != nil {
		t.Fatal(err)
	}
	copied := request("c2")
	copied.Source = api.InstanceSource{Type: api.SourceTypeCopy, Source: "c1", Project: "a"}
	if err := w.run(w.svc.Create(t.Context(), "b", copied)); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.svc.Rename(t.Context(), "a", "c1", api.InstancePost{Name: "c1", Project: "b"})); err != nil {
		t.Fatal(err)
	}
	err = w.st.View(t.Context(), func(tx store.Tx) error {
		for _, name := range []string{"b/c1", "b/c2"} {
			r, err := instance.Collection.Get(tx, name)
			snap, e := instance.Snapshots.Get(tx, name+"/s0")
			if err != nil || e != nil || r.VolumeProject != "b" || snap.Instance.VolumeProject != "b" {
				t.Errorf("%s: %q %q %v %v", name, r.VolumeProject, snap.Instance.VolumeProject, err, e)
			}
		}
		if users := storage.Users(tx, "tank/custom/a/data"); len(users) > 0 {
			t.Errorf("the volume of the old project is in use by %v", users)
		}
		if users := storage.Users(tx, "tank/custom/b/data"); len(users) != 2 {
			t.Errorf("users %v", users)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A snapshot stays mounted until the last who reads it has gone; one that goes, or is exchanged, meanwhile is no good to its readers.
func TestReadersOfSnapshots(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	open := func(name string) (done func() error) {
		t.Helper()
		c, err := w.svc.Content(t.Context(), "default", name)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := c.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tree.Close
	}
	mounted := func() bool {
		return slices.ContainsFunc(w.host.left(), func(s string) bool { return strings.HasPrefix(s, "mount ") })
	}
	if err := w.keep(t, "c1", "s0"); err != nil {
		t.Fatal(err)
	}
	first, second := open("c1/s0"), open("c1/s0")
	if err := first(); err != nil || !mounted() {
		t.Error("the first to go takes it away from the other:", err)
	}
	if err := second(); err != nil || mounted() {
		t.Error(err, "it is still mounted")
	}
	for what, c := range map[string]struct {
		open   string
		change func() error
	}{
		"restored": {"c1", func() error { return w.run(w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s0"})) }},
		"renamed": {"c1/s0", func() error {
			return errors.Join(w.run(w.svc.RenameSnapshot(t.Context(), "default", "c1", "s0", api.InstanceSnapshotPost{Name: "s1"})),
				w.run(w.svc.RenameSnapshot(t.Context(), "default", "c1", "s1", api.InstanceSnapshotPost{Name: "s0"})))
		}},
		"deleted": {"c1/s9", func() error { return w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s9")) }},
	} {
		if err := w.keep(t, "c1", "s9"); err != nil {
			t.Fatal(err)
		}
		done := open(c.open)
		if err := c.change(); err != nil {
			t.Fatal(what, err)
		}
		is(t, what, done(), errs.Conflict, "meanwhile")
		_ = w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s9"))
	}
	if err := w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s0")); err != nil {
		t.Fatal(err)
	}
	done := open("c1")
	if err := w.run(w.svc.Rebuild(t.Context(), "default", "c1", api.InstanceRebuildPost{Source: request("").Source})); err != nil {
		t.Fatal(err)
	}
	is(t, "rebuilt", done(), errs.Conflict, "meanwhile")
}

func TestRebuild(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Source = api.InstanceSource{Type: api.SourceTypeNone}
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	w.set(t, "c1", map[string]string{"user.a": "1", "image.os": "Old"})
	if err := w.run(w.svc.Rebuild(t.Context(), "default", "c1", api.InstanceRebuildPost{Source: request("").Source})); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); a.Config["volatile.base_image"] != fingerprint || a.Config["image.os"] != "Debian" || a.Config["user.a"] != "1" {
		t.Errorf("%+v", a.Config)
	}
	if err := w.run(w.svc.Rebuild(t.Context(), "default", "c1", api.InstanceRebuildPost{Source: api.InstanceSource{Type: api.SourceTypeNone}})); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); a.Config["volatile.base_image"] != "" || a.Config["image.os"] != "" {
		t.Errorf("%+v", a.Config)
	}
	w.consistent(t)
}

// What is scheduled is taken in its minute and no other, and what has expired goes.
func TestSchedule(t *testing.T) {
	w := newWorld(t)
	w.started(t, "up")
	for _, name := range []string{"off", "also"} {
		if err := w.create(t, request(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"up", "off"} {
		w.set(t, name, map[string]string{"snapshots.schedule": "0 6 * * *", "snapshots.expiry": "1H", "snapshots.pattern": "auto%d"})
	}
	w.set(t, "also", map[string]string{"snapshots.schedule": "@daily, @hourly", "snapshots.schedule.stopped": "true"})
	six := time.Date(2030, 1, 1, 6, 0, 0, 0, time.Local)
	w.svc.Tend(t.Context(), six.Add(-time.Minute))
	w.kept(t, "up")
	w.svc.Tend(t.Context(), six)
	if s := w.kept(t, "up", "auto0"); !s[0].ExpiresAt.Equal(six.Add(time.Hour)) {
		t.Error(s[0].ExpiresAt)
	}
	w.kept(t, "off")
	w.kept(t, "also", "snap0")
	w.svc.Tend(t.Context(), six.Add(59*time.Minute))
	w.kept(t, "up", "auto0")
	w.svc.Tend(t.Context(), six.Add(time.Hour))
	w.kept(t, "up")
	w.kept(t, "also", "snap0", "snap1")
}

// A snapshot that expires in the minute in which another is due keeps it from nothing.
func TestScheduleWithExpiry(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.set(t, "c1", map[string]string{"snapshots.schedule": "* * * * *", "snapshots.expiry": "1M", "snapshots.pattern": "auto%d"})
	w.host.slow = time.Millisecond
	at := time.Date(2030, 1, 1, 6, 0, 0, 0, time.Local)
	for n := range 4 {
		w.svc.Tend(t.Context(), at.Add(time.Duration(n)*time.Minute))
		all, _, err := w.svc.ListSnapshots(t.Context(), "default", "c1")
		if err != nil || len(all) != 1 || !all[0].CreatedAt.Equal(at.Add(time.Duration(n)*time.Minute)) {
			t.Fatalf("minute %d: %+v %v", n, all, err)
		}
	}
}

// An instance that cannot be restored, since what it had is gone, runs on.
func TestRestoreWhatIsGone(t *testing.T) {
	w := newWorld(t)
	vol := storage.VolumeRecord{Pool: "tank", Type: storage.CustomVolume, Project: "default", Name: "data", ContentType: "filesystem"}
	if err := w.st.Update(t.Context(), func(tx store.Tx) error { return storage.Volumes.Insert(tx, vol) }); err != nil {
		t.Fatal(err)
	}
	post := request("c1")
	post.Devices = instance.Devices{"d": {"type": "disk", "pool": "tank", "source": "data", "path": "/data"}}
	if err := errors.Join(w.create(t, post), w.keep(t, "c1", "s0"), w.edit(t, "c1", false, func(p *api.InstancePut) { delete(p.Devices, "d") }),
		w.st.Update(t.Context(), func(tx store.Tx) error { return storage.Volumes.Delete(tx, "tank/custom/default/data") }),
		w.state(t, "c1", "start", 0)); err != nil {
		t.Fatal(err)
	}
	pid := w.host.get("default_c1")
	err := w.run(w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s0"}))
	if err == nil || !strings.Contains(err.Error(), "data") {
		t.Error(err)
	}
	if a := w.get(t, "c1"); a.Status != "Running" || w.host.get("default_c1") != pid {
		t.Error("it was stopped for nothing:", a.Status)
	}
}

// A machine that was held still when the daemon died goes on afterwards.
func TestHeldMachineGoesOn(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.failing(t, "snapshot")
	if err := w.keep(t, "c1", "s0"); err == nil {
		t.Error("kept")
	}
	w.consistent(t)
	w.heal("snapshot")
	if err := w.state(t, "c1", "freeze", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.keep(t, "c1", "s0"); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); a.Status != "Frozen" {
		t.Error("a snapshot thawed what a client had frozen:", a.Status)
	}
}

// What a daemon held when it was killed the next one thaws, and what a client froze it does not.
func TestHeldByADeadDaemon(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	reached, dead := make(chan struct{}), make(chan struct{})
	w.host.mu.Lock()
	w.host.stall = func(name string) {
		if name == "snapshot" {
			close(reached)
			<-dead
		}
	}
	w.host.mu.Unlock()
	go func() { _ = w.keep(t, "c1", "s0") }()
	<-reached
	w.host.mu.Lock()
	w.host.stall = nil
	w.host.mu.Unlock()
	w.daemon(t)
	if err := w.ops.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); a.Status != "Running" {
		t.Error(a.Status)
	}
	w.consistent(t)
	w.kept(t, "c1")
}
