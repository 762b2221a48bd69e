package instance_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/op"
)

// steps of each kind of work; TestSteps holds them against what really runs.
var steps = map[string][]string{
	"instance-create":  {"record", "image", "volume", "ready", "mount", "templates", "devices", "machine", "serve", "remember"},
	"instance-start":   {"mount", "templates", "devices", "machine", "serve", "remember"},
	"instance-stop":    {"stop", "settle"},
	"instance-restart": {"stop", "settle", "mount", "templates", "devices", "machine", "serve", "remember"},
	"instance-delete":  {"stop", "settle", "volume", "files", "record"},

	"instance-snapshot":        {"record", "volume", "ready"},
	"instance-snapshot-delete": {"volume", "record"},
	"instance-snapshot-rename": {"volume", "record"},
	"instance-restore":         {"stop", "settle", "record", "volume", "ready", "mount", "templates", "devices", "machine", "serve", "remember"},
	"instance-rename":          {"volume", "files", "record"},
	"instance-move":            {"volume", "files", "record", "cleanup"},
	"instance-rebuild":         {"image", "volume", "record", "swap"},
	"instance-refresh":         {"volume", "record", "swap"},
}

// work is how each kind is brought about, on an instance that is prepared for it.
var work = map[string]struct {
	running bool
	do      func(*testing.T, *world) error
}{
	"instance-create":  {false, func(t *testing.T, w *world) error { p := request("c1"); p.Start = true; return w.create(t, p) }},
	"instance-start":   {false, func(t *testing.T, w *world) error { return w.state(t, "c1", "start", 0) }},
	"instance-stop":    {true, func(t *testing.T, w *world) error { return w.state(t, "c1", "stop", 0) }},
	"instance-restart": {true, func(t *testing.T, w *world) error { return w.state(t, "c1", "restart", 0) }},
	"instance-delete":  {true, func(t *testing.T, w *world) error { return w.remove(t, "c1", true) }},

	"instance-snapshot": {true, func(t *testing.T, w *world) error { return w.keep(t, "c1", "s1") }},
	"instance-snapshot-delete": {false, func(t *testing.T, w *world) error {
		return w.run(w.svc.DeleteSnapshot(t.Context(), "default", "c1", "s0"))
	}},
	"instance-snapshot-rename": {false, func(t *testing.T, w *world) error {
		return w.run(w.svc.RenameSnapshot(t.Context(), "default", "c1", "s0", api.InstanceSnapshotPost{Name: "s1"}))
	}},
	"instance-restore": {true, func(t *testing.T, w *world) error {
		return w.run(w.svc.Update(t.Context(), "default", "c1", api.InstancePut{Restore: "s0"}))
	}},
	"instance-rename": {false, func(t *testing.T, w *world) error {
		return w.run(w.svc.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2"}))
	}},
	"instance-move": {false, func(t *testing.T, w *world) error {
		return w.run(w.svc.Rename(t.Context(), "default", "c1", api.InstancePost{Name: "c2", Pool: "other"}))
	}},
	"instance-refresh": {false, func(t *testing.T, w *world) error {
		if err := w.create(t, request("c0")); err != nil && !errs.Is(err, errs.Conflict) {
			return err
		}
		post := request("c1")
		post.Source = api.InstanceSource{Type: "copy", Source: "c0", Refresh: true}
		return w.create(t, post)
	}},
	"instance-rebuild": {false, func(t *testing.T, w *world) error {
		return w.run(w.svc.Rebuild(t.Context(), "default", "c1", api.InstanceRebuildPost{Source: request("").Source}))
	}},
}

// kept are the kinds of work that need a snapshot to begin with.
var kept = map[string]bool{"instance-snapshot-delete": true, "instance-snapshot-rename": true, "instance-restore": true, "instance-move": true, "instance-refresh": true}

func (w *world) prepare(t *testing.T, kind string) {
	t.Helper()
	if kind == "instance-create" {
		return
	}
	post := request("c1")
	post.Start = work[kind].running
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	if kept[kind] {
		if err := w.keep(t, "c1", "s0"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSteps(t *testing.T) {
	for kind, want := range steps {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.prepare(t, kind)
			var got []string
			w.setHook(func(k, step, moment string) error {
				if moment == "after" && k == kind {
					got = append(got, step)
				}
				return nil
			})
			if err := work[kind].do(t, w); err != nil || !slices.Equal(got, want) {
				t.Error(got, err)
			}
		})
	}
}

// expected is what the host must hold for the records that there are.
func (w *world) expected(t *testing.T) (want []string) {
	t.Helper()
	for sh, err := range w.svc.List(t.Context(), instance.Query{Project: "default", Depth: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		a := sh.Value(2).(api.InstanceFull)
		pool := "volume " + a.ExpandedDevices["root"]["pool"] + "/default_"
		want = append(want, pool+a.Name)
		for _, s := range a.Snapshots {
			want = append(want, pool+a.Name+"@"+s.Name)
		}
		if a.Status == "Running" {
			want = append(want, "link default_"+a.Name+"_eth0", "machine default_"+a.Name, "mount tank/default_"+a.Name)
		}
	}
	slices.Sort(want)
	return want
}

// consistent fails unless the host holds exactly what the records say, and no machine is frozen.
func (w *world) consistent(t *testing.T) {
	t.Helper()
	if got, want := w.left(), w.expected(t); !slices.Equal(got, want) {
		t.Errorf("records ask for %v, and on the host: %v", want, got)
	}
	if m := w.host.get("default_c1"); m != nil {
		if s, _ := m.Status(t.Context()); s == machine.Frozen {
			t.Error("the machine was left frozen")
		}
	}
}

// removeAll removes whichever instance is there.
func (w *world) removeAll(t *testing.T) {
	t.Helper()
	for _, name := range []string{"c0", "c1", "c2"} {
		if err := w.remove(t, name, true); err != nil && !errs.Is(err, errs.NotFound) {
			t.Fatal(err)
		}
	}
}

// Each step of each kind of work fails once; what it did is undone, and the work can be done again.
func TestFailures(t *testing.T) {
	for kind, names := range steps {
		for _, step := range names {
			for _, moment := range []string{"before", "after"} {
				t.Run(kind+"/"+step+"/"+moment, func(t *testing.T) {
					w := newWorld(t)
					w.prepare(t, kind)
					boom := errors.New("boom")
					w.setHook(func(k, s, m string) error {
						if k == kind && s == step && m == moment {
							return boom
						}
						return nil
					})
					if err := work[kind].do(t, w); !errors.Is(err, boom) {
						t.Fatal(err)
					}
					w.setHook(nil)
					time.Sleep(5 * time.Millisecond)
					w.eventually(t, "settled", func() bool {
						a, _, err := w.svc.Get(t.Context(), "default", "c1")
						return err != nil || a.Status != "Running" || w.host.get("default_c1") != nil
					})
					w.eventually(t, "consistent", func() bool { return slices.Equal(w.left(), w.expected(t)) })
					w.consistent(t)
					w.removeAll(t)
					w.clean(t)
				})
			}
		}
	}
}

// The daemon is killed at each step of each kind of work: the operation hangs there for good, and a new daemon takes over.
func TestKills(t *testing.T) {
	for kind, names := range steps {
		for _, step := range names {
			for _, moment := range []string{"before", "after"} {
				t.Run(kind+"/"+step+"/"+moment, func(t *testing.T) { kill(t, kind, step, moment) })
			}
		}
	}
}

func kill(t *testing.T, kind, step, moment string) {
	w := newWorld(t)
	w.prepare(t, kind)
	reached := make(chan struct{})
	var once sync.Once
	dead := make(chan struct{})
	w.setHook(func(k, s, m string) error {
		if k == kind && s == step && m == moment {
			once.Do(func() { close(reached) })
			<-dead
		}
		return nil
	})

	go func() { _ = work[kind].do(t, w) }()
	<-reached

	w.setHook(nil)
	w.daemon(t)
	if err := errors.Join(w.ops.Recover(t.Context()), w.svc.Boot(t.Context())); err != nil {
		t.Fatal(err)
	}
	if kind == "instance-restart" || kind == "instance-restore" {
		w.eventually(t, "running again", func() bool { return w.get(t, "c1").Status == "Running" })
		w.eventually(t, "nothing is under way", func() bool {
			return !slices.ContainsFunc(w.ops.List(""), func(o *op.Operation) bool { return !o.API().StatusCode.Final() })
		})
	}
	if kind == "instance-delete" {
		if _, _, err := w.svc.Get(t.Context(), "default", "c1"); !errs.Is(err, errs.NotFound) {
			t.Error("not deleted:", err)
		}
	}
	w.consistent(t)
	w.removeAll(t)
	w.clean(t)
}

// Running machines go on while the daemon does not, and are taken up again; those that ended meanwhile are cleaned up.
func TestDaemonRestart(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"up", "down", "off"} {
		w.started(t, name)
	}
	if err := w.state(t, "off", "stop", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.state(t, "up", "freeze", 0); err != nil {
		t.Fatal(err)
	}
	w.svc.Close()
	w.host.mu.Lock()
	w.host.machines["default_down"].end(false)
	w.host.mu.Unlock()
	w.daemon(t)
	if err := errors.Join(w.ops.Recover(t.Context()), w.svc.Boot(t.Context())); err != nil {
		t.Fatal(err)
	}
	for name, status := range map[string]string{"up": "Frozen", "down": "Stopped", "off": "Stopped"} {
		if a := w.get(t, name); a.Status != status {
			t.Error(name, a.Status)
		}
	}
	want := []string{"link default_up_eth0", "machine default_up", "mount tank/default_up", "volume tank/default_down", "volume tank/default_off", "volume tank/default_up"}
	if left := w.left(); !slices.Equal(left, want) {
		t.Error(left)
	}
	if err := w.state(t, "up", "stop", 10); err != nil {
		t.Fatal(err)
	}
}

// A shutdown of the server stops instances and brings back those that ran.
func TestShutdown(t *testing.T) {
	w := newWorld(t)
	post := request("always")
	post.Config = map[string]string{"boot.autostart": "true"}
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	w.started(t, "ran")
	if err := w.create(t, request("off")); err != nil {
		t.Fatal(err)
	}
	w.svc.Shutdown(t.Context())
	if w.host.get("default_ran") != nil {
		t.Fatal("still running")
	}
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, status := range map[string]string{"ran": "Running", "always": "Running"} {
		w.eventually(t, name, func() bool { return w.get(t, name).Status == status })
	}
	if a := w.get(t, "off"); a.Status != "Stopped" {
		t.Error(a.Status)
	}
}

// A removal that cannot be finished leaves an instance that says so, and that the next daemon removes.
func TestHalfRemoved(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	w.failing(t, "volume delete")
	if err := w.remove(t, "c1", false); err == nil {
		t.Fatal("removed")
	}
	is(t, "start", w.state(t, "c1", "start", 0), errs.Invalid, "delete it")
	w.heal("volume delete")
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.clean(t)
}

// A pool that is away keeps its volumes: the instance stays too, as it is.
func TestRemovalWithoutThePool(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	w.fails(t, "volume delete", errs.Newf(errs.Unavailable, "the pool is away"))
	is(t, "delete", w.remove(t, "c1", false), errs.Unavailable, "away")
	w.heal("volume delete")
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.state(t, "c1", "start", 0); err != nil {
		t.Error(err)
	}
	if err := w.remove(t, "c1", true); err != nil {
		t.Error(err)
	}
	w.clean(t)
}

// Many create, start, stop and delete the same few names at once: every answer is a success or a clear refusal, and nothing is
// left in the end.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	w.slow = 200 * time.Microsecond
	var wait sync.WaitGroup
	var mu sync.Mutex
	tally := map[string]int{}
	for i := range 200 {
		wait.Go(func() {
			name := fmt.Sprintf("c%d", i%4)
			var err error
			switch what := i / 4 % 5; what {
			case 0, 1:
				post := request(name)
				post.Start = what == 1
				err = w.create(t, post)
			case 2, 3:
				err = w.remove(t, name, true)
			default:
				err = w.state(t, name, []string{"start", "stop", "restart"}[i%3], 0)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				tally["done"]++
			case errs.Is(err, errs.Conflict), errs.Is(err, errs.NotFound):
				tally["refused"]++
			case errs.Is(err, errs.Invalid) && (strings.Contains(err.Error(), "already") || strings.Contains(err.Error(), "not running")):
				tally["no-op"]++
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if tally["done"] == 0 {
		t.Error(tally)
	}
	for i := range 4 {
		name := fmt.Sprintf("c%d", i)
		if err := w.remove(t, name, true); err != nil && !errs.Is(err, errs.NotFound) {
			t.Error(name, err)
		}
	}
	w.clean(t)
}

func TestSameNameAtOnce(t *testing.T) {
	w := newWorld(t)
	w.slow = time.Millisecond
	results := make(chan error)
	for range 20 {
		go func() { results <- w.create(t, request("c1")) }()
	}
	won := 0
	for range 20 {
		err := <-results
		if err == nil {
			won++
		} else {
			is(t, "loser", err, errs.Conflict, "c1")
		}
	}
	if won != 1 || w.get(t, "c1").Status != "Stopped" {
		t.Error(won)
	}
}
