package instance_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/store"
)

// inside lists what was put into the machine of c1.
func (w *world) inside() []string {
	m := w.host.get("default_c1")
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.inside))
}

// attached lists the devices of c1 that its record says are attached.
func (w *world) attached(t *testing.T) (names []string) {
	t.Helper()
	err := w.st.View(t.Context(), func(tx store.Tx) error {
		r, err := instance.Collection.Get(tx, "default/c1")
		if err == nil && r.Run != nil {
			names = slices.Sorted(maps.Keys(r.Run.Devices))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// disks gives c1 disks at those paths, of one folder, with more keys.
func (w *world) disks(t *testing.T, keys map[string]string, paths ...string) error {
	t.Helper()
	return w.edit(t, "c1", false, func(p *api.InstancePut) {
		maps.DeleteFunc(p.Devices, func(_ string, cfg map[string]string) bool { return cfg["source"] != "" })
		for _, at := range paths {
			cfg := map[string]string{"type": "disk", "source": os.TempDir(), "path": at}
			maps.Copy(cfg, keys)
			p.Devices["d"+strings.ReplaceAll(at, "/", "-")] = cfg
		}
	})
}

func TestDisksComeAndGo(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	for _, c := range []struct{ paths, inside []string }{
		{[]string{"/a", "/b"}, []string{"/a", "/b"}},
		{[]string{"/b", "/c"}, []string{"/b", "/c"}},
		{nil, nil},
		{[]string{"/a"}, []string{"/a"}},
	} {
		if err := w.disks(t, nil, c.paths...); err != nil {
			t.Fatal(err)
		}
		if got := w.inside(); !slices.Equal(got, c.inside) {
			t.Fatalf("%v: %v", c.paths, got)
		}
	}
	if err := w.disks(t, map[string]string{"limits.read": "1MB"}, "/a"); err != nil {
		t.Fatal(err)
	}
	if th := w.host.get("default_c1").throttles; len(th) != 1 || th[0].ReadBytes != 1e6 {
		t.Error(th)
	}
	if err := w.disks(t, nil); err != nil || len(w.host.get("default_c1").throttles) != 0 {
		t.Error(err, "the limit outlives its disk")
	}
	err := w.edit(t, "c1", false, func(p *api.InstancePut) {
		p.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": "tank", "limits.max": "7iops"}
	})
	if th := w.host.get("default_c1").throttles; err != nil || len(th) != 1 || th[0].WriteRequests != 7 || th[0].Path != "/pool/c1" {
		t.Error(err, th)
	}
}

// failOnce makes an effect fail the first time, so that it can be taken back.
func (w *world) failOnce(what string, err error) {
	first := true
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	w.host.stall = func(name string) {
		switch {
		case name == what && first:
			first = false
			w.host.mu.Lock()
			w.host.fail[what] = err
			w.host.mu.Unlock()
		case name == what:
			w.host.heal(what)
		}
	}
}

// calm ends what failOnce has begun.
func (w *world) calm(what string) {
	w.host.mu.Lock()
	w.host.stall = nil
	w.host.mu.Unlock()
	w.host.heal(what)
}

// What fails leaves record and machine as they were, whichever step it is.
func TestFailedPlugging(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	if err := w.disks(t, nil, "/a"); err != nil {
		t.Fatal(err)
	}
	before := w.attached(t)
	boom := errors.New("boom")
	for _, what := range []string{"mount inside", "unmount inside", "throttle"} {
		for name, paths := range map[string][]string{"replaced": {"/b"}, "added": {"/a", "/b", "/c"}} {
			w.failOnce(what, boom)
			err := w.disks(t, map[string]string{"limits.read": "1MB"}, paths...)
			w.calm(what)
			if what == "unmount inside" && name == "added" {
				if err != nil {
					t.Error(err)
				}
				if err := w.disks(t, nil, "/a"); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if !errors.Is(err, boom) {
				t.Errorf("%s %s: %v", what, name, err)
			}
			if got := w.inside(); !slices.Equal(got, []string{"/a"}) || !slices.Equal(w.attached(t), before) {
				t.Errorf("%s %s: %v %v", what, name, got, w.attached(t))
			}
			if a := w.get(t, "c1"); a.Devices["d-b"] != nil || a.Devices["d-a"]["limits.read"] != "" {
				t.Errorf("%s %s: the record keeps it: %v", what, name, a.Devices)
			}
		}
	}
}

// A daemon that is killed while it changes devices leaves what the next one finds and puts right.
func TestKilledWhilePlugging(t *testing.T) {
	for _, what := range []string{"mount inside", "unmount inside"} {
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			w.started(t, "c1")
			if err := w.disks(t, nil, "/a"); err != nil {
				t.Fatal(err)
			}
			ctx, kill := context.WithCancel(t.Context())
			w.host.mu.Lock()
			w.host.stall = func(name string) {
				if name == what {
					kill()
					if !after {
						select {} // what follows is never done
					}
				}
			}
			w.host.mu.Unlock()
			go func() { _ = w.disks(t, nil, "/b") }()
			<-ctx.Done()
			w.host.mu.Lock()
			w.host.stall = nil
			w.host.mu.Unlock()
			w.daemon(t)
			if err := w.svc.Boot(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.eventually(t, "the machine has what the record asks for", func() bool {
				a := w.get(t, "c1")
				want := []string{}
				for _, cfg := range a.Devices {
					if cfg["source"] != "" {
						want = append(want, cfg["path"])
					}
				}
				return slices.Equal(w.inside(), want)
			})
		}
	}
}

func TestTwoDevicesInOnePlace(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	err := w.edit(t, "c1", true, func(p *api.InstancePut) {
		p.Devices["x"] = map[string]string{"type": "disk", "source": os.TempDir(), "path": "/a"}
		p.Devices["y"] = map[string]string{"type": "disk", "source": filepath.Dir(os.TempDir()), "path": "a/"}
	})
	is(t, "the same path", err, errs.Internal, `"x" and "y"`)
}

// A machine that ends while it is given a device leaves nothing of the device behind.
func TestEndWhilePlugging(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	stopped := func() bool { return len(w.attached(t)) == 0 }
	ended := false
	w.host.mu.Lock()
	w.host.stall = func(name string) {
		if name != "serve" || ended {
			return
		}
		ended = true
		w.host.get("default_c1").end(false)
		for range 30 { // whoever deals with the end has the time to
			if stopped() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	w.host.mu.Unlock()
	_ = w.edit(t, "c1", false, func(p *api.InstancePut) { // whether it fails is a matter of when the end is seen
		p.Devices["eth1"] = map[string]string{"type": "nic", "network": "br0", "name": "eth1"}
	})
	w.calm("serve")
	w.eventually(t, "the end is dealt with", stopped)
	if left := w.host.left(); !ended || slices.ContainsFunc(left, func(s string) bool { return !strings.HasPrefix(s, "volume ") }) {
		t.Error(left)
	}
}

// shared is a profile "shared" with disks at those paths.
func (w *world) shared(t *testing.T, paths ...string) error {
	put := api.ProfilePut{Config: map[string]string{"user.n": strings.Join(paths, ",")}, Devices: instance.Devices{}}
	for _, at := range paths {
		put.Devices["d"+strings.ReplaceAll(at, "/", "-")] = map[string]string{"type": "disk", "source": os.TempDir(), "path": at}
	}
	return w.profile(t, "shared", put)
}

// TestProfileChangedDuringStart: a machine that starts while its profile changes gets what the profile says by then, and one that
// cannot does not start.
func TestProfileChangedDuringStart(t *testing.T) {
	for _, step := range []string{"mount", "devices", "machine", "serve"} {
		w := newWorld(t)
		if err := errors.Join(w.shared(t, "/old"), w.create(t, request("c1")), w.edit(t, "c1", false, func(p *api.InstancePut) { p.Profiles = append(p.Profiles, "shared") })); err != nil {
			t.Fatal(err)
		}
		changed := make(chan error, 1)
		w.setHook(func(kind, name, moment string) error {
			if kind == "instance-start" && name == step && moment == "after" {
				w.setHook(nil)
				changed <- w.shared(t, "/old", "/new")
			}
			return nil
		})
		if err := errors.Join(w.state(t, "c1", "start", 0), <-changed); err != nil {
			t.Fatal(step, err)
		}
		if got := w.inside(); !slices.Contains(got, "/new") {
			t.Errorf("after %s: %v, %v", step, got, w.attached(t))
		}
	}
}

// TestProfileThatOneCannotFollow: when one of several machines fails to follow, all are as before.
func TestProfileThatOneCannotFollow(t *testing.T) {
	w := newWorld(t)
	if err := w.shared(t, "/old"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c0", "c1"} {
		w.started(t, name)
		if err := w.edit(t, name, false, func(p *api.InstancePut) { p.Profiles = append(p.Profiles, "shared") }); err != nil {
			t.Fatal(err)
		}
	}
	is(t, "two in one place", w.profile(t, "shared", api.ProfilePut{Devices: instance.Devices{
		"a": {"type": "disk", "source": os.TempDir(), "path": "/x"}, "b": {"type": "disk", "source": os.TempDir(), "path": "x"}}}), errs.Invalid, `"a" and "b"`)
	w.host.get("default_c1").end(false) // it ends by itself: the other still follows
	w.eventually(t, "c1 has ended", func() bool { return len(w.attached(t)) == 0 })
	if err := errors.Join(w.state(t, "c1", "start", 0), w.shared(t, "/old", "/two")); err != nil || !slices.Contains(w.inside(), "/two") {
		t.Fatal(w.inside(), err)
	}
	w.failOnce("mount inside", errors.New("broken"))
	err := w.shared(t, "/old", "/two", "/three")
	w.calm("mount inside")
	if err == nil {
		t.Fatal("nothing failed")
	}
	if slices.Contains(w.inside(), "/three") || !slices.Contains(w.inside(), "/two") {
		t.Error(w.inside())
	}
	p, _, err := w.profiles.Get(t.Context(), "default", "shared")
	if err != nil || p.Config["user.n"] != "/old,/two" {
		t.Error(p, err)
	}
}

// TestProfileResizesRoots: the size of a root disk may be a profile's.
func TestProfileResizesRoots(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	p, _, err := w.profiles.Get(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	p.Devices = maps.Clone(p.Devices)
	root := maps.Clone(p.Devices["root"])
	root["size"] = "3GiB"
	p.Devices["root"] = root
	if err := w.profile(t, "default", p.Writable()); err != nil || w.resized != 3<<30 {
		t.Error(err, w.resized)
	}
}
