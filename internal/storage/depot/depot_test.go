package depot_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/host/shelf"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
	"lxd/internal/undo"
)

type config = map[string]string

// world is a server that keeps files: o is a file of the owner o.
type world struct {
	dir     string
	st      store.Store
	files   *shelf.Shelf
	svc     *depot.Service
	mounted map[string]bool
	// broken are volumes that cannot be mounted; full makes every move fail.
	broken map[string]bool
	full   bool
}

func (w *world) MountCustom(_ context.Context, _, pool, name, user string) (storage.Mounted, error) {
	if w.broken[name] {
		return storage.Mounted{}, errs.Newf(errs.Unavailable, "broken")
	}
	root := filepath.Join(w.dir, pool, name)
	w.mounted[name+" "+user] = true
	return storage.Mounted{Root: root}, os.MkdirAll(root, 0o700)
}

func (w *world) UnmountCustom(_ context.Context, _, _, name, user string) error {
	delete(w.mounted, name+" "+user)
	return nil
}

func (w *world) settle(ctx context.Context) error {
	names, err := w.files.Names()
	for _, n := range names {
		if w.full {
			return errors.New("full")
		}
		err = errors.Join(err, w.files.Move(ctx, n, n))
	}
	return err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), st: store.NewMem(store.Options{}), mounted: map[string]bool{}, broken: map[string]bool{}}
	t.Cleanup(func() { _ = w.st.Close() })
	w.files = shelf.New(filepath.Join(w.dir, "images"))
	w.begin()
	w.update(t, func(tx store.Tx) error {
		err := errors.Join(project.Collection.Insert(tx, project.Record{Name: "default"}), storage.Pools.Insert(tx, storage.PoolRecord{Name: "p"}))
		for _, v := range []string{"v", "w", "iso", "kept"} {
			r := storage.VolumeRecord{Pool: "p", Type: storage.CustomVolume, Project: "default", Name: v, ContentType: "filesystem"}
			if v == "iso" {
				r.ContentType = "iso"
			}
			err = errors.Join(err, storage.Volumes.Insert(tx, r))
		}
		return errors.Join(err, storage.Snapshots.Insert(tx, storage.SnapshotRecord{Pool: "p", Project: "default", Volume: "kept", Name: "s"}))
	})
	w.start(t, nil)
	for _, owner := range []string{"default", "other"} {
		if err := os.WriteFile(filepath.Join(w.dir, "images", owner), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// begin makes the service anew, as a start of the server does.
func (w *world) begin() {
	w.mounted = map[string]bool{}
	w.svc = depot.New(depot.Deps{Store: w.st, Volumes: w, Keepers: []depot.Keeper{{Sort: depot.Images, Folder: "images", Files: w.files, Settle: w.settle}}})
}

func (w *world) start(t *testing.T, c config) {
	t.Helper()
	if err := w.svc.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (w *world) update(t *testing.T, fn func(store.Tx) error) {
	t.Helper()
	if err := w.st.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// change is what the server does when its configuration changes; fail makes it fail at the end.
func (w *world) change(t *testing.T, old, next config, fail error) (err error) {
	t.Helper()
	var u undo.Stack
	func() {
		defer u.Unwind(t.Context(), &err)
		if err = w.svc.Apply(t.Context(), &u, old, next); err == nil {
			err = fail
		}
	}()
	if err == nil {
		err = w.svc.Tidy(t.Context(), next)
	}
	return err
}

// at says in which folder each file lies, and what is mounted and noted.
func (w *world) at(t *testing.T) string {
	t.Helper()
	var out []string
	for _, owner := range []string{"default", "other"} {
		rel, err := filepath.Rel(w.dir, filepath.Dir(w.files.Path(owner, owner)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, owner+"="+rel)
	}
	records := 0
	err := w.st.View(t.Context(), func(tx store.Tx) error {
		records = 0
		for range depot.Collection.AllRev(tx, "") {
			records++
		}
		return nil
	})
	if err != nil || records != len(w.mounted) {
		t.Errorf("%d records, %v mounted: %v", records, w.mounted, err)
	}
	return strings.Join(out, " ")
}

const server, own = "storage.images_volume", "storage.project.other.images_volume"

func TestFilesFollowTheConfiguration(t *testing.T) {
	w := newWorld(t)
	now := config{}
	for _, c := range []struct {
		next config
		want string
	}{
		{config{}, "default=images other=images"},
		{config{server: "p/v"}, "default=p/v/images other=p/v/images"},
		{config{server: "p/v", own: "p/w"}, "default=p/v/images other=p/w/images"},
		{config{own: "p/w"}, "default=images other=p/w/images"},
		{config{own: "p/v"}, "default=images other=p/v/images"},
		{config{server: "p/w", own: "p/v"}, "default=p/w/images other=p/v/images"},
		{config{}, "default=images other=images"},
	} {
		if err := w.change(t, now, c.next, nil); err != nil {
			t.Fatal(c.next, err)
		}
		if got := w.at(t); got != c.want {
			t.Errorf("%v: %s, want %s", c.next, got, c.want)
		}
		if now = c.next; len(w.mounted) != len(now) {
			t.Error("mounted", w.mounted)
		}
		w.begin() // again, as after a restart
		w.start(t, now)
		if err := w.svc.Tidy(t.Context(), now); err != nil || w.at(t) != c.want {
			t.Error("after a restart:", w.at(t), err)
		}
	}
	if err := w.svc.Close(t.Context()); err != nil || len(w.mounted) != 0 {
		t.Error(w.mounted, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	for name, next := range map[string]config{
		"no such volume": {server: "p/x"}, "no such pool": {server: "q/v"}, "not of files": {server: "p/iso"}, "with snapshots": {server: "p/kept"},
		"not a name": {server: "v"}, "too much": {server: "p/v/w"}, "one for two": {server: "p/v", own: "p/v"},
	} {
		if err := w.change(t, nil, next, nil); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if got := w.at(t); got != "default=images other=images" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestRejectedChange: when something else of the change fails, everything is as before.
func TestRejectedChange(t *testing.T) {
	w := newWorld(t)
	no := errors.New("port in use")
	if err := w.change(t, nil, config{server: "p/v"}, no); !errors.Is(err, no) || w.at(t) != "default=images other=images" || len(w.mounted) != 0 {
		t.Error(w.at(t), w.mounted, err)
	}
	w.broken["v"] = true
	if err := w.change(t, nil, config{server: "p/v"}, nil); !errs.Is(err, errs.Unavailable) || w.at(t) != "default=images other=images" {
		t.Error(w.at(t), err) // a volume that cannot be mounted is not in use either
	}
}

// TestCrash: a server that ended between two steps brings the files to where the configuration says.
func TestCrash(t *testing.T) {
	for name, kept := range map[string]config{"before the configuration was kept": {}, "after it": {server: "p/v"}} {
		w := newWorld(t)
		var u undo.Stack
		if err := w.svc.Apply(t.Context(), &u, nil, config{server: "p/v"}); err != nil {
			t.Fatal(err)
		}
		w.begin()
		w.start(t, kept)
		if err := w.svc.Tidy(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		want := "default=images other=images"
		if len(kept) > 0 {
			want = "default=p/v/images other=p/v/images"
		}
		if got := w.at(t); got != want || len(w.mounted) != len(kept) {
			t.Errorf("%s: %s %v", name, got, w.mounted)
		}
	}
}

// TestWhatIsLeft: a volume is given up only once nothing is left in it.
func TestWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	next := config{server: "p/v"}
	if err := w.change(t, nil, next, nil); err != nil {
		t.Fatal(err)
	}
	w.full = true
	if err := w.change(t, next, config{}, nil); err == nil || len(w.mounted) != 1 {
		t.Error(w.mounted, err)
	}
	w.full = false
	if err := w.svc.Tidy(t.Context(), config{}); err != nil || w.at(t) != "default=images other=images" || len(w.mounted) != 0 {
		t.Error(w.at(t), w.mounted, err)
	}
}

func TestUse(t *testing.T) {
	w := newWorld(t)
	next := config{server: "p/v", own: "p/w"}
	if err := w.change(t, nil, maps.Clone(next), nil); err != nil {
		t.Fatal(err)
	}
	err := w.st.View(t.Context(), func(tx store.Tx) error {
		for name, c := range map[string]struct {
			err  error
			want string
		}{
			"used":       {depot.Used(tx, storage.CustomKey("p", "default", "v")), server},
			"not used":   {depot.Used(tx, storage.CustomKey("p", "default", "kept")), ""},
			"own":        {depot.Busy(tx, "other"), own},
			"none":       {depot.Busy(tx, "default"), ""},
			"as it is":   {depot.Check(tx), ""},
			"place":      {nil, ""},
			"of another": {depot.Used(tx, "elsewhere"), ""},
		} {
			if (c.err == nil) != (c.want == "") || c.err != nil && !strings.Contains(c.err.Error(), c.want) {
				t.Errorf("%s: %v", name, c.err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = w.st.Update(t.Context(), func(tx store.Tx) error {
		err := storage.Snapshots.Insert(tx, storage.SnapshotRecord{Pool: "p", Project: "default", Volume: "v", Name: "s"})
		return errors.Join(err, depot.Check(tx))
	})
	if !errs.Is(err, errs.Invalid) {
		t.Error("a snapshot was made of it:", err)
	}
	if err := w.st.Update(t.Context(), func(tx store.Tx) error { return storage.Volumes.Delete(tx, storage.CustomKey("p", "default", "v")) }); !errs.Is(err, errs.Invalid) {
		t.Error("it was deleted:", err)
	}
}
