package backup_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

func TestThereAndBack(t *testing.T) {
	for _, version := range []int64{0, 1, 2} {
		w := newWorld(t)
		w.make(t, "c1", "now", "s0", "s1")
		b := w.export(t, "c1", backup.Wish{Compression: "none", Version: version})
		names, index := parts(t, b, "backup/index.yaml")
		if names[1] != "backup/index.yaml" || !slices.Contains(names, "backup/container/backup.yaml") || !slices.Contains(names, "backup/snapshots/s1/rootfs/text") {
			t.Errorf("entries %q", names)
		}
		if strings.Contains(index, "version: 2") != (version == 2) {
			t.Errorf("version %d: %s", version, index)
		}
		uuid := w.config(t, "c1", "volatile.uuid")
		s, err := w.instances.Delete(t.Context(), "default", "c1", false)
		w.must(t, s, err)
		o, err := w.send(t, b, backup.Overrides{})
		must(t, err)
		if u := o.API().Metadata["entity_url"]; u != "/1.0/instances/c1" {
			t.Errorf("made %v", u)
		}
		for snap, text := range map[string]string{"": "now", "s0": "s0", "s1": "s1"} {
			if got := w.read(t, "tank", "c1", snap); got != text {
				t.Errorf("%q holds %q", snap, got)
			}
		}
		if w.config(t, "c1", "user.a") != "1" || w.config(t, "c1", "volatile.uuid") != uuid {
			t.Error("the configuration, or the identity, was lost")
		}
		all, _, err := w.instances.ListSnapshots(t.Context(), "default", "c1")
		if err != nil || len(all) != 2 || all[0].Name != "s0" || all[1].Config["user.a"] != "1" {
			t.Errorf("snapshots %+v, %v", all, err)
		}
		if !w.told("instance-created") {
			t.Error("nobody was told")
		}
	}
}

func (w *world) config(t testing.TB, name, key string) string {
	t.Helper()
	in, _, err := w.instances.Get(t.Context(), "default", name)
	must(t, err)
	return in.Config[key]
}

func TestOverrides(t *testing.T) {
	w := newWorld(t)
	must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "other", Driver: "dir"}))
	w.make(t, "c1", "now", "s0")
	b := w.export(t, "c1", backup.Wish{})
	_, err := w.send(t, b, backup.Overrides{Name: "c2", Pool: "other", Devices: map[string]map[string]string{"root": {"user.x": ""}}})
	must(t, err)
	if got := w.read(t, "other", "c2", "s0"); got != "s0" {
		t.Errorf("it holds %q", got)
	}
	if w.config(t, "c1", "volatile.uuid") == w.config(t, "c2", "volatile.uuid") {
		t.Error("two instances have one identity")
	}
	_, err = w.send(t, b, backup.Overrides{})
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("a second one of the same name: %v", err)
	}
	_, err = w.send(t, b, backup.Overrides{Name: "c3", Pool: "none"})
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("a pool that is not there: %v", err)
	}
	_, err = w.send(t, b, backup.Overrides{Name: "c3", Devices: map[string]map[string]string{"x": {"type": "teapot"}}})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("a device that cannot be: %v", err)
	}
	only := w.export(t, "c1", backup.Wish{InstanceOnly: true, Compression: "zstd"})
	_, err = w.send(t, only, backup.Overrides{Name: "c4"})
	must(t, err)
	if all, _, err := w.instances.ListSnapshots(t.Context(), "default", "c4"); err != nil || len(all) != 0 {
		t.Errorf("snapshots %v, %v", all, err)
	}
}

func TestAPoolThatIsGoneIsThatOfTheDefaultProfile(t *testing.T) {
	w := newWorld(t)
	must(t, w.pools.CreatePool(t.Context(), api.StoragePoolsPost{Name: "old", Driver: "dir"}))
	s, err := w.instances.Create(t.Context(), "default", api.InstancesPost{Name: "c1", Source: api.InstanceSource{Type: "none"},
		InstancePut: api.InstancePut{Devices: map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "old"}}}})
	w.must(t, s, err)
	b := w.export(t, "c1", backup.Wish{})
	s, err = w.instances.Delete(t.Context(), "default", "c1", false)
	w.must(t, s, err)
	must(t, w.pools.DeletePool(t.Context(), "old"))
	_, err = w.send(t, b, backup.Overrides{})
	must(t, err)
	if _, err := w.pools.Mount(t.Context(), "tank", volume("c1")); err != nil {
		t.Error(err)
	}
}

func TestOfARunningInstance(t *testing.T) {
	w := newWorld(t)
	w.make(t, "c1", "now", "s0")
	w.must(t, w.start(t, "c1"), nil)
	before := w.left(t)
	b := w.export(t, "c1", backup.Wish{Compression: "none"})
	names, text := parts(t, b, "backup/container/rootfs/text")
	if text != "now" || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "+") }) {
		t.Errorf("%q in %q", text, names)
	}
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left over: %q", after)
	}
}

func (w *world) start(t testing.TB, name string) op.Spec {
	t.Helper()
	s, err := w.instances.SetState(t.Context(), "default", name, api.InstanceStatePut{Action: "start"})
	must(t, err)
	return s
}

func TestBackupsAreKept(t *testing.T) {
	w := newWorld(t)
	w.make(t, "c1", "now", "s0")
	for _, post := range []api.InstanceBackupsPost{{}, {Name: "b1", InstanceOnly: true, CompressionAlgorithm: "none"}, {ExpiresAt: w.now.Add(time.Hour)}} {
		s, err := w.Create(t.Context(), "default", "c1", post)
		o := w.must(t, s, err)
		if u := o.Resources()["backups"]; len(u) != 1 || !strings.HasPrefix(u[0], "/1.0/backups/b") {
			t.Errorf("resources %v", o.Resources())
		}
	}
	all, urls, err := w.List(t.Context(), "default", "c1")
	if err != nil || len(all) != 3 || urls[0] != "/1.0/instances/c1/backups/b1" || !all[0].InstanceOnly || all[1].Name != "backup0" || all[2].Name != "backup1" {
		t.Errorf("%+v %v, %v", all, urls, err)
	}
	for _, c := range []struct {
		post api.InstanceBackupsPost
		want errs.Kind
	}{{api.InstanceBackupsPost{Name: "b1"}, errs.Conflict}, {api.InstanceBackupsPost{Name: "a/b"}, errs.Invalid}, {api.InstanceBackupsPost{Name: ".."}, errs.Invalid},
		{api.InstanceBackupsPost{CompressionAlgorithm: "gzip; reboot"}, errs.Invalid}, {api.InstanceBackupsPost{Version: 3}, errs.Invalid}, {api.InstanceBackupsPost{Version: -1}, errs.Invalid}} {
		if _, err := w.Create(t.Context(), "default", "c1", c.post); !errs.Is(err, c.want) {
			t.Errorf("%+v: %v", c.post, err)
		}
	}
	f, err := w.Open(t.Context(), "default", "c1", "b1")
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	if names, _ := parts(t, b, ""); slices.Contains(names, "backup/snapshots/") || !w.told("instance-backup-retrieved") {
		t.Errorf("entries %q", names)
	}
	s, err := w.Rename(t.Context(), "default", "c1", "b1", api.InstanceBackupPost{Name: "b2"})
	w.must(t, s, err)
	if _, err := w.Get(t.Context(), "default", "c1", "b1"); !errs.Is(err, errs.NotFound) {
		t.Errorf("the old name: %v", err)
	}
	if _, err := w.Rename(t.Context(), "default", "c1", "b2", api.InstanceBackupPost{Name: "backup0"}); !errs.Is(err, errs.Conflict) {
		t.Errorf("a taken name: %v", err)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.Tend(t.Context())
	if all, _, _ := w.List(t.Context(), "default", "c1"); len(all) != 2 {
		t.Errorf("after their time: %+v", all)
	}
	s, err = w.Delete(t.Context(), "default", "c1", "b2")
	w.must(t, s, err)
	if files, _ := os.ReadDir(w.dir); len(files) != 1 {
		t.Errorf("files %v", files)
	}
	for _, action := range []string{"instance-backup-created", "instance-backup-renamed", "instance-backup-deleted"} {
		if !w.told(action) {
			t.Errorf("nobody heard of %s", action)
		}
	}
}

func TestBackupsGoWithTheirInstance(t *testing.T) {
	for name, gone := range map[string]func(*world) (op.Spec, error){
		"deleted": func(w *world) (op.Spec, error) { return w.instances.Delete(t.Context(), "default", "c2", false) },
		"moved to another project": func(w *world) (op.Spec, error) {
			must(t, w.st.Update(t.Context(), func(tx store.Tx) error { return project.Collection.Insert(tx, project.Record{Name: "p"}) }))
			return w.instances.Rename(t.Context(), "default", "c2", api.InstancePost{Project: "p"})
		},
	} {
		t.Run(name, func(t *testing.T) { goesAlong(t, gone) })
	}
}

// goesAlong checks that a backup is renamed with its instance, and removed when that is gone.
func goesAlong(t *testing.T, gone func(*world) (op.Spec, error)) {
	w := newWorld(t)
	w.make(t, "c1", "now")
	s, err := w.Create(t.Context(), "default", "c1", api.InstanceBackupsPost{Name: "b"})
	w.must(t, s, err)
	s, err = w.instances.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2"})
	w.must(t, s, err)
	f, err := w.Open(t.Context(), "default", "c2", "b")
	must(t, err)
	must(t, f.Close())
	s, err = gone(w)
	w.must(t, s, err)
	for range 100 {
		if files, _ := os.ReadDir(w.dir); len(files) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the file is still there")
}

func TestWhatACrashLeaves(t *testing.T) {
	w := newWorld(t)
	w.make(t, "c1", "now")
	before := w.left(t)
	must(t, os.WriteFile(filepath.Join(w.dir, "half"), []byte("x"), 0o600))
	must(t, w.pools.Snapshot(t.Context(), "tank", volume("c1").At("+apart")))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		return backup.Collection.Insert(tx, backup.Record{Project: "default", Instance: "c1", Name: "b", File: "half", Making: true})
	}))
	if _, err := w.Get(t.Context(), "default", "c1", "b"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a half-made backup: %v", err)
	}
	recover := w.Recoverers()["instance-backup"]
	for range 2 {
		must(t, recover(t.Context(), op.Journal{Kind: "instance-backup", Args: []byte(`{"Project":"default","Instance":"c1","Name":"b"}`)}))
	}
	must(t, recover(t.Context(), op.Journal{Kind: "instance-backup", Args: []byte(`{"Project":"default","Instance":"gone","Name":"b"}`)}))
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left over: %q", after)
	}
	if err := recover(t.Context(), op.Journal{Args: []byte("x")}); err == nil {
		t.Error("a damaged journal")
	}
}

// full is a writer with little room.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("no room")
	}
	return len(p), nil
}

func TestAStreamThatBreaks(t *testing.T) {
	w := newWorld(t)
	w.make(t, "c1", strings.Repeat("x", 1<<20), "s0")
	w.must(t, w.start(t, "c1"), nil)
	before := w.left(t)
	for _, room := range []int{0, 10, 5000, 1 << 19} {
		s, err := w.Stream(t.Context(), "default", "c1", backup.Wish{Compression: "none"}, &full{room})
		if _, err := w.run(t, s, err); err == nil || !strings.Contains(err.Error(), "no room") {
			t.Errorf("error %v", err)
		}
	}
	if after := w.left(t); !slices.Equal(before, after) {
		t.Errorf("left over: %q", after)
	}
	if _, err := w.Stream(t.Context(), "default", "none", backup.Wish{}, io.Discard); !errs.Is(err, errs.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
	must(t, w.st.View(t.Context(), func(tx store.Tx) error { _, err := instance.Collection.Get(tx, "default/c1"); return err }))
}
