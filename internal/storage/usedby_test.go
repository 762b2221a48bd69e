package storage_test

import (
	"slices"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// user is a record of another collection that needs a pool, such as a profile with a root disk.
type user struct{ Name, Pool string }

func users(collection string) store.Collection[user] {
	return store.Collection[user]{
		Name: collection, Key: func(u user) string { return u.Name },
		Refs: func(u user) []store.Ref { return []store.Ref{{Collection: storage.Pools.Name, Key: u.Pool}} },
	}
}

func TestUsedBy(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	w.pool(t, "q")
	other := storage.Volume{Type: storage.ContainerVolume, Project: "other", Name: "c1"}
	must(t, w.svc.CreateEmpty(t.Context(), "p", other))
	must(t, w.svc.CreateEmpty(t.Context(), "p", storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "v"}))
	must(t, w.svc.CreateEmpty(t.Context(), "q", instance("elsewhere")))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		if err := users("instance").Insert(tx, user{"other/c1", "p"}); err != nil { // counts once, with its volume
			return err
		}
		return users("profile").Insert(tx, user{"default/default", "p"})
	}))
	p, _, err := w.svc.GetPool(t.Context(), "p")
	must(t, err)
	slices.Sort(p.UsedBy)
	want := []string{"/1.0/instances/c1?project=other", "/1.0/profiles/default", "/1.0/storage-pools/p/volumes/custom/v"}
	if !slices.Equal(p.UsedBy, want) {
		t.Errorf("used by %q, want %q", p.UsedBy, want)
	}
	must(t, w.svc.Delete(t.Context(), "p", other))
	must(t, w.svc.Delete(t.Context(), "p", storage.Volume{Type: storage.CustomVolume, Project: "default", Name: "v"}))
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error { return users("instance").Delete(tx, "other/c1") }))
	wants(t, w.svc.DeletePool(t.Context(), "p"), errs.Invalid, "/1.0/profiles/default")
	must(t, w.st.Update(t.Context(), func(tx store.Tx) error { return users("profile").Delete(tx, "default/default") }))
	must(t, w.svc.DeletePool(t.Context(), "p"))
	wants(t, w.svc.Copy(t.Context(), "p", instance("a"), instance("b")), errs.NotFound, "p")
	for _, err := range []error{
		w.svc.Unmount(t.Context(), "p", other), w.svc.Resize(t.Context(), "p", other, 1), w.svc.EnsureImage(t.Context(), nil, "p", "fp"),
	} {
		wants(t, err, errs.NotFound, "p")
	}
}

// TestVolumesAreSeenByProject: custom volumes belong to the project that owns the feature, instances to their own.
func TestVolumesAreSeenByProject(t *testing.T) {
	w := newWorld(t)
	w.pool(t, "p")
	for _, v := range []storage.Volume{
		{Type: storage.CustomVolume, Project: "default", Name: "mine"}, {Type: storage.CustomVolume, Project: "other", Name: "theirs"},
		{Type: storage.ContainerVolume, Project: "shared", Name: "c"},
	} {
		must(t, w.svc.CreateEmpty(t.Context(), "p", v))
	}
	for proj, want := range map[string][]string{"default": {"mine"}, "other": {"theirs"}, "shared": {"c", "mine"}} {
		vols, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: proj})
		must(t, err)
		var got []string
		for _, v := range vols {
			got = append(got, v.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("project %s sees %q, want %q", proj, got, want)
		}
	}
	_, err := w.svc.ListVolumes(t.Context(), storage.Query{Pool: "p", Project: "nowhere"})
	wants(t, err, errs.NotFound, "nowhere")
}
