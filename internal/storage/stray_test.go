package storage_test

import (
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
	"lxd/internal/store"
)

func TestStrays(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	w.pool(t, "q")
	ctx := t.Context()
	lost := storage.Volume{Type: storage.CustomVolume, Project: "other", Name: "lost"}
	for _, v := range []storage.Volume{instance("c1"), lost, {Type: storage.CustomVolume, Project: "default", Name: "kept"}} {
		must(t, w.svc.CreateEmpty(ctx, "p", v))
	}
	must(t, w.svc.Snapshot(ctx, "p", lost.At("s1")))
	must(t, w.svc.Snapshot(ctx, "p", lost.At("s2")))
	if got, err := w.svc.Strays(ctx, []string{"p", "q"}); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	must(t, w.st.Update(ctx, func(tx store.Tx) error { return storage.Volumes.Delete(tx, storage.CustomKey("p", "other", "lost")) }))
	got, err := w.svc.Strays(ctx, []string{"p"})
	must(t, err)
	if len(got) != 1 || got[0].Pool != "p" || got[0].Volume.Name != "lost" || got[0].Volume.Project != "other" || got[0].Snapshots != 2 || got[0].Homeless {
		t.Fatalf("%+v", got)
	}
	if got, err := w.svc.Strays(ctx, []string{"q"}); err != nil || len(got) != 0 {
		t.Error("in another pool", got, err)
	}
	_, err = w.svc.Strays(ctx, []string{"p", "nowhere"})
	wants(t, err, errs.NotFound, "nowhere")
}

// TestStraysOfGoneProjects: what is in nobody's project is said to be so.
func TestStraysOfGoneProjects(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	must(t, w.svc.With(t.Context(), "p", func(p storage.Pool) error {
		for _, proj := range []string{"gone", ""} {
			if err := p.Create(t.Context(), storage.Volume{Type: storage.ContainerVolume, Project: proj, Name: "c1"}, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	got, err := w.svc.Strays(t.Context(), []string{"p"})
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, s := range got {
		if s.Homeless != (s.Volume.Project == "gone") {
			t.Errorf("%+v", s)
		}
	}
}
