package warning_test

import (
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/store"
	"lxd/internal/warning"
)

type world struct {
	*warning.Service
	store store.Store
	now   time.Time
	said  []string
}

func newWorld(t *testing.T) *world {
	w := &world{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.store = store.NewMem(store.Options{OnAnnounce: func(ev any) { w.said = append(w.said, ev.(event.Change).Action) }})
	t.Cleanup(func() { _ = w.store.Close() })
	w.Service = warning.New(warning.Deps{Store: w.store, Location: "m1", Now: func() time.Time { return w.now }})
	return w
}

func (w *world) all(t *testing.T) []api.Warning {
	t.Helper()
	list, err := w.List(t.Context())
	must(t, err)
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var br0 = warning.Entity{Project: "default", URL: "/1.0/networks/br0"}

func TestTheSameWarningIsCounted(t *testing.T) {
	w := newWorld(t)
	for _, message := range []string{"one", "two"} {
		must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, message))
		w.now = w.now.Add(time.Minute)
	}
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, warning.Entity{Project: "default", URL: "/1.0/networks/br1"}, "other"))
	must(t, w.Raise(t.Context(), api.WarningProxyBridgeNetfilterNotEnabled, br0, "other"))
	if n := len(w.all(t)); n != 3 {
		t.Fatal(n, "warnings")
	}
	for _, x := range w.all(t) {
		if x.LastMessage == "other" {
			continue
		}
		if x.Type != "Network unavailable" || x.Severity != "high" || x.Count != 2 || x.LastMessage != "two" || x.Location != "m1" || x.Status != "new" ||
			x.LastSeenAt.Sub(x.FirstSeenAt) != time.Minute || x.EntityURL != br0.URL || x.Project != "default" {
			t.Errorf("%+v", x)
		}
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	raise := func() { must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, "down")) }
	status := func() string { return w.all(t)[0].Status }
	must(t, w.Resolve(t.Context(), api.WarningNetworkUnavailable, br0)) // nothing is there
	raise()
	must(t, w.Set(t.Context(), w.all(t)[0].UUID, "acknowledged"))
	if raise(); status() != "acknowledged" {
		t.Error("it was acknowledged:", status())
	}
	must(t, w.Resolve(t.Context(), api.WarningProxyBridgeNetfilterNotEnabled, br0))
	if status() != "acknowledged" {
		t.Error("that was of another type:", status())
	}
	if must(t, w.Resolve(t.Context(), api.WarningNetworkUnavailable, br0)); status() != "resolved" {
		t.Error(status())
	}
	if raise(); status() != "new" || w.all(t)[0].Count != 3 {
		t.Errorf("%+v", w.all(t)[0])
	}
}

func TestWhatIsNotFoundAgainIsResolved(t *testing.T) {
	w := newWorld(t)
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, "down"))
	w.now = w.now.Add(time.Hour)
	began := w.now
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, warning.Entity{URL: "/1.0/networks/br1"}, "down"))
	must(t, w.ResolveStale(t.Context(), api.WarningNetworkUnavailable, began))
	for _, x := range w.all(t) {
		if want := map[bool]string{true: "resolved", false: "new"}[x.EntityURL == br0.URL]; x.Status != want {
			t.Errorf("%+v, want %s", x, want)
		}
	}
}

func TestPrune(t *testing.T) {
	w := newWorld(t)
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, "down"))
	must(t, w.Raise(t.Context(), api.WarningStoragePoolUnavailable, warning.Entity{}, "down"))
	must(t, w.Resolve(t.Context(), api.WarningNetworkUnavailable, br0))
	for _, step := range []struct {
		wait time.Duration
		left int
	}{{23 * time.Hour, 2}, {time.Hour, 1}, {100 * time.Hour, 1}} {
		w.now = w.now.Add(step.wait)
		if must(t, w.Prune(t.Context())); len(w.all(t)) != step.left {
			t.Errorf("after %s more: %+v", step.wait, w.all(t))
		}
	}
}

func TestDeletedEntitiesAreForgotten(t *testing.T) {
	w := newWorld(t)
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, "down"))
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, warning.Entity{Project: "p", URL: br0.URL}, "down"))
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return warning.Forget(tx, br0) }))
	if left := w.all(t); len(left) != 1 || left[0].Project != "p" {
		t.Errorf("%+v", left)
	}
}

func TestClientsChangeWarnings(t *testing.T) {
	w := newWorld(t)
	must(t, w.Raise(t.Context(), api.WarningNetworkUnavailable, br0, "down"))
	id := w.all(t)[0].UUID
	if err := w.Set(t.Context(), id, "resolved"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	for _, status := range []string{"acknowledged", "new"} {
		must(t, w.Set(t.Context(), id, status))
		if one, err := w.Get(t.Context(), id); err != nil || one.Status != status {
			t.Error(status, one, err)
		}
	}
	if err := w.Set(t.Context(), "x", "new"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	must(t, w.Delete(t.Context(), id))
	if err := w.Delete(t.Context(), id); !errs.Is(err, errs.NotFound) || len(w.all(t)) != 0 {
		t.Error(err)
	}
	if got := strings.Join(w.said, " "); got != "warning-acknowledged warning-reset warning-deleted" {
		t.Error(got)
	}
}
