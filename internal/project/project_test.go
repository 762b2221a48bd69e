package project_test

import (
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

type world struct {
	st      store.Store
	svc     *project.Service
	ops     *op.Manager
	actions []string
}

// seeds notes what a new project's profile is asked to hold.
type seeds struct{ asked []string }

func (s *seeds) Seed(_ store.Tx, name, pool, network string) error {
	s.asked = []string{name, pool, network}
	return nil
}
func (s *seeds) Drop(store.Tx, string) error         { return nil }
func (s *seeds) Move(store.Tx, string, string) error { return nil }

func newWorld(t *testing.T) (*world, *seeds) {
	w, s := &world{}, &seeds{}
	w.st = store.NewMem(store.Options{OnAnnounce: func(ev any) { w.actions = append(w.actions, ev.(event.Change).Action) }})
	t.Cleanup(func() { _ = w.st.Close() })
	w.svc = project.New(project.Deps{Store: w.st, Profiles: s})
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.st})
	for range 2 { // the second start finds the project
		if err := w.svc.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return w, s
}

// run runs the work that a use case returned.
func (w *world) run(t *testing.T, work func() (op.Spec, error)) error {
	t.Helper()
	spec, err := work()
	if err != nil {
		return err
	}
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		return err
	}
	return o.Wait(t.Context())
}

func TestDefault(t *testing.T) {
	w, _ := newWorld(t)
	p, etag, err := w.svc.Get(t.Context(), "default")
	if err != nil || etag == nil || p.Config["features.networks"] != "true" || p.UsedBy == nil {
		t.Fatal(p, etag, err)
	}
	if err := w.run(t, func() (op.Spec, error) { return w.svc.Delete(t.Context(), "default", true) }); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	if err := w.run(t, func() (op.Spec, error) { return w.svc.Rename(t.Context(), "default", "x") }); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	put := p.Writable()
	put.Config = map[string]string{"features.images": "false"}
	if err := w.svc.Update(t.Context(), "default", put); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if err := w.svc.Check(t.Context(), "nope"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestLife(t *testing.T) {
	w, seeded := newWorld(t)
	ctx := t.Context()
	post := api.ProjectsPost{Name: "p1", StoragePool: "pool", Network: "net"}
	post.Config = map[string]string{"features.images": "false", "user.x": "y"}
	if err := w.svc.Create(ctx, post); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seeded.asked, []string{"p1", "pool", "net"}) {
		t.Error("seeded", seeded.asked)
	}
	p, _, _ := w.svc.Get(ctx, "p1")
	if p.Config["features.images"] != "false" || p.Config["features.profiles"] != "true" || p.Config["features.networks"] != "" {
		t.Error(p.Config)
	}
	if err := w.svc.Create(ctx, post); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	if err := w.run(t, func() (op.Spec, error) { return w.svc.Rename(ctx, "p1", "p2") }); err != nil {
		t.Fatal(err)
	}
	all, err := w.svc.List(ctx)
	if err != nil || len(all) != 2 || all[1].Name != "p2" {
		t.Fatal(all, err)
	}
	if err := w.run(t, func() (op.Spec, error) { return w.svc.Delete(ctx, "p2", false) }); err != nil {
		t.Fatal(err)
	}
	want := []string{api.LifecycleProjectCreated, api.LifecycleProjectRenamed, api.LifecycleProjectDeleted}
	if !slices.Equal(w.actions, want) {
		t.Error(w.actions)
	}
}

func TestNotEmpty(t *testing.T) {
	w, _ := newWorld(t)
	ctx := t.Context()
	if err := w.svc.Create(ctx, api.ProjectsPost{Name: "p1"}); err != nil {
		t.Fatal(err)
	}
	thing := store.Collection[string]{Name: "network", Key: func(s string) string { return "p1/" + s }, Refs: func(string) []store.Ref { return []store.Ref{project.Ref("p1")} }}
	if err := w.st.Update(ctx, func(tx store.Tx) error { return thing.Insert(tx, "n1") }); err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.Delete(ctx, "p1", false); !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	if err := w.svc.Update(ctx, "p1", api.ProjectPut{Config: map[string]string{"features.images": "false"}}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if p, _, _ := w.svc.Get(ctx, "p1"); !slices.Equal(p.UsedBy, []string{"/1.0/networks/n1?project=p1"}) {
		t.Error(p.UsedBy)
	}
}

func TestKeys(t *testing.T) {
	w, _ := newWorld(t)
	post := api.ProjectsPost{Name: "p1"}
	post.Config = map[string]string{"bogus": "1", "limits.instances": "-3", "limits.cpu": "2", "restricted": "false", "restricted.idmap.uid": "5-1", "restricted.snapshots": "maybe"}
	err := w.svc.Create(t.Context(), post)
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "bogus") || !strings.Contains(err.Error(), "limits.instances") ||
		!strings.Contains(err.Error(), "restricted.idmap.uid") || !strings.Contains(err.Error(), "restricted.snapshots") ||
		strings.Contains(err.Error(), "limits.cpu") || strings.Contains(err.Error(), `"restricted"`) {
		t.Fatal(err)
	}
}

func TestOwner(t *testing.T) {
	w, _ := newWorld(t)
	post := api.ProjectsPost{Name: "p1"}
	post.Config = map[string]string{"features.profiles": "false"}
	if err := w.svc.Create(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	for f, want := range map[project.Feature]string{project.Profiles: "default", project.Images: "p1", project.Networks: "default"} {
		_ = w.st.View(t.Context(), func(tx store.Tx) error {
			if got, err := project.Owner(tx, "p1", f); got != want || err != nil {
				t.Error(f, got, err)
			}
			return nil
		})
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "my-project.2": true, "": false, "a/b": false, "a_b": false, "a b": false, "..": false, "-x": false, "é": false,
		"a\n": false, strings.Repeat("x", 64): false, strings.Repeat("x", 63): true,
	} {
		if err := project.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestURL(t *testing.T) {
	for want, got := range map[string]string{
		"/1.0/instances/c1":             project.URL("default", "instances", "c1"),
		"/1.0/instances/c1?project=p":   project.URL("p", "instances", "c1"),
		"/1.0/profiles/a%2Fb":           project.URL("", "profiles", "a/b"),
		"/1.0/profiles/x?project=a%26b": project.URL("a&b", "profiles", "x"),
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	refs := []store.Ref{{Collection: "instance", Key: "default/c1"}, {Collection: "profile", Key: "p/x"}, {Collection: "journal", Key: "1"},
		{Collection: "storage_volume", Key: "pool/custom/p/v"}}
	want := []string{"/1.0/instances/c1", "/1.0/profiles/x?project=p", "/1.0/storage-pools/pool/volumes/custom/v?project=p"}
	if got := project.UsedBy(refs); !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestOwnerOf(t *testing.T) {
	w, _ := newWorld(t)
	cfg := map[string]string{"features.images": "false", "features.networks.zones": "true"}
	if err := w.svc.Create(t.Context(), api.ProjectsPost{Name: "p", ProjectPut: api.ProjectPut{Config: cfg}}); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"instance": "p", "profile": "p", "image": "default", "image_alias": "default", "can_create_images": "default", "network": "default",
		"network_acl": "default", "can_create_network_zones": "p", "storage_volume": "p", "storage_bucket": "p", "can_create_instances": "p", "project": "p",
	} {
		if got := w.svc.OwnerOf(t.Context(), "p", what); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	if w.svc.OwnerOf(t.Context(), "default", "network") != "default" || w.svc.OwnerOf(t.Context(), "missing", "image") != "missing" {
		t.Error("the default project, or a missing one")
	}
	if _, ok := project.FeatureOf("instance"); ok || len(project.Features) != 6 {
		t.Error("features")
	}
}
