package custom_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// steps of each kind of work; TestSteps holds them against what really runs.
var steps = map[string][]string{
	"volume-create": {"volume", "record"}, "volume-delete": {"records", "volume", "done"}, "volume-update": {"size", "record"},
	"volume-rename": {"volume", "record"}, "volume-move": {"volume", "record", "old"}, "volume-refresh": {"snapshots", "volume"},
	"volume-restore": {"volume"}, "volume-snapshot": {"volume", "record"}, "volume-snapshot-delete": {"record", "volume", "done"},
	"volume-snapshot-rename": {"volume", "record"},
}

// work is how each kind is brought about on the volume v of the pool p, which has the snapshot s0.
var work = map[string]func(w *world) error{
	"volume-create": func(w *world) error { return w.copy("q", "new", api.StorageVolumeSource{Name: "v", Pool: "p"}) },
	"volume-delete": func(w *world) error { return w.remove("p", "v") },
	"volume-update": func(w *world) error {
		return w.run(w.svc.Update(context.Background(), at("p", "v"), api.StorageVolumePut{Config: map[string]string{"size": "2GiB"}}))
	},
	"volume-rename": func(w *world) error { return w.move("p", "v", api.StorageVolumePost{Name: "w"}) },
	"volume-move":   func(w *world) error { return w.move("p", "v", api.StorageVolumePost{Name: "w", Pool: "q"}) },
	"volume-refresh": func(w *world) error {
		return w.copy("q", "old", api.StorageVolumeSource{Name: "v", Pool: "p", Refresh: true})
	},
	"volume-restore": func(w *world) error {
		return w.run(w.svc.Update(context.Background(), at("p", "v"), api.StorageVolumePut{Restore: "s0"}))
	},
	"volume-snapshot": func(w *world) error { return w.keep("p", "v", "s1") },
	"volume-snapshot-delete": func(w *world) error {
		return w.run(w.svc.DeleteSnapshot(context.Background(), at("p", "v"), "s0"))
	},
	"volume-snapshot-rename": func(w *world) error {
		return w.run(w.svc.RenameSnapshot(context.Background(), at("p", "v"), "s0", api.StorageVolumeSnapshotPost{Name: "s1"}))
	},
}

func prepared(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	must(t, w.create("p", "v", map[string]string{"size": "1GiB"}))
	w.text(t, "p", "v", "one")
	must(t, errors.Join(w.keep("p", "v", "s0"), w.create("q", "old", nil)))
	return w
}

func TestSteps(t *testing.T) {
	for kind, want := range steps {
		t.Run(kind, func(t *testing.T) {
			w := prepared(t)
			var got []string
			w.setHook(func(k, step, moment string) error {
				if moment == "after" && k == kind {
					got = append(got, step)
				}
				return nil
			})
			if err := work[kind](w); err != nil || !slices.Equal(got, want) {
				t.Error(got, err)
			}
			w.consistent(t)
		})
	}
}

// each calls fn for every moment of every step.
func each(t *testing.T, fn func(t *testing.T, kind, step, moment string)) {
	for kind, names := range steps {
		for _, step := range names {
			for _, moment := range []string{"before", "after"} {
				t.Run(kind+"/"+step+"/"+moment, func(t *testing.T) { fn(t, kind, step, moment) })
			}
		}
	}
}

// Each step of each kind of work fails once: pools and records agree afterwards, nothing is lost, and the work can be done again.
func TestFailures(t *testing.T) {
	each(t, func(t *testing.T, kind, step, moment string) {
		w := prepared(t)
		boom := errors.New("boom")
		w.setHook(func(k, s, m string) error {
			if k == kind && s == step && m == moment {
				return boom
			}
			return nil
		})
		if err := work[kind](w); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		w.setHook(nil)
		w.consistent(t)
		w.intact(t, kind)
		if err := work[kind](w); err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Conflict) {
			t.Error("again:", err)
		}
		w.consistent(t)
	})
}

// intact fails unless the volume is there under its old or its new name with what it held, or was deleted.
func (w *world) intact(t *testing.T, kind string) {
	t.Helper()
	for _, n := range []storage.Name{at("p", "v"), at("p", "w"), at("q", "w")} {
		if _, _, err := w.pools.GetVolume(t.Context(), n.Pool, n.Project, n.Type, n.Name); err == nil {
			if got := w.text(t, n.Pool, n.Name, ""); got != "one" {
				t.Errorf("%s holds %q", n.Name, got)
			}
			return
		}
	}
	if kind != "volume-delete" {
		t.Error("the volume is lost")
	}
}

// The daemon is killed at each step of each kind of work: the operation hangs there for good, and a new daemon takes over.
func TestKills(t *testing.T) {
	each(t, func(t *testing.T, kind, step, moment string) {
		w := prepared(t)
		reached, dead := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.setHook(func(k, s, m string) error {
			if k == kind && s == step && m == moment {
				once.Do(func() { close(reached) })
				<-dead
			}
			return nil
		})
		go func() { _ = work[kind](w) }()
		<-reached
		w.setHook(nil)
		w.daemon(t)
		must(t, errors.Join(w.ops.Recover(t.Context()), w.svc.Start(t.Context())))
		t.Cleanup(w.svc.Close)
		w.consistent(t)
		w.intact(t, kind)
		for _, n := range w.known(t) {
			v := parts(n)
			if len(v) == 3 {
				must(t, w.remove(v[0], v[2]))
			}
		}
		w.holds(t)
	})
}
