package instance_test

import (
	"testing"

	"lxd/api"
	"lxd/internal/errs"
)

// A refreshed copy has what its source has; one that fails is what it was.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	keep := func(c, s string) {
		t.Helper()
		if err := w.keep(t, c, s); err != nil {
			t.Fatal(err)
		}
	}
	refresh := func(change ...func(*api.InstancesPost)) error {
		return w.copy(t, "c1", "c2", append(change, func(p *api.InstancesPost) { p.Source.Refresh = true })...)
	}
	keep("c1", "s0")
	keep("c1", "s1")
	if err := refresh(); err != nil { // makes it
		t.Fatal(err)
	}
	before := w.get(t, "c2")
	keep("c2", "own")
	if err := w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s0")); err != nil {
		t.Fatal(err)
	}
	keep("c1", "s2")
	w.failing(t, "copy")
	if err := refresh(); err == nil {
		t.Error("refreshed")
	}
	w.kept(t, "c2", "s0", "s1", "own")
	w.consistent(t)
	w.heal("copy")
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	w.kept(t, "c2", "s1", "s2")
	w.consistent(t)
	after := w.get(t, "c2")
	if after.Config["volatile.uuid"] != before.Config["volatile.uuid"] || after.Config["volatile.uuid.generation"] == before.Config["volatile.uuid.generation"] {
		t.Errorf("%v, then %v", before.Config, after.Config)
	}
	keep("c2", "own")
	if err := refresh(func(p *api.InstancesPost) { p.Source.InstanceOnly = true }); err != nil {
		t.Fatal(err)
	}
	w.kept(t, "c2", "s1", "s2", "own")
	if err := w.copy(t, "c2", "c1", func(p *api.InstancesPost) { p.Source.Refresh = true }); !errs.Is(err, errs.Invalid) {
		t.Errorf("refreshed while it runs: %v", err)
	}
	if err := w.copy(t, "c2", "c2", func(p *api.InstancesPost) { p.Source.Refresh = true }); !errs.Is(err, errs.Invalid) {
		t.Errorf("refreshed from itself: %v", err)
	}
	w.consistent(t)
}
