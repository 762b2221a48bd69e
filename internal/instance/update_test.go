package instance_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/rest"
)

// edit changes what clients may write of an instance, as PUT does and as PATCH does.
func (w *world) edit(t *testing.T, name string, patch bool, change func(*api.InstancePut)) error {
	t.Helper()
	put, _, err := w.svc.Writable(t.Context(), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(put) // what clients get is a copy
	put = api.InstancePut{}
	_ = json.Unmarshal(b, &put)
	change(&put)
	if patch {
		return w.svc.UpdateNow(t.Context(), "default", name, put)
	}
	return w.run(w.svc.Update(t.Context(), "default", name, put))
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	if err := w.profile(t, "web", api.ProfilePut{Config: map[string]string{"user.web": "1"}}); err != nil {
		t.Fatal(err)
	}
	w.started(t, "c1")
	for _, patch := range []bool{false, true} {
		w.forgetActions()
		err := w.edit(t, "c1", patch, func(p *api.InstancePut) {
			p.Config["user.b"], p.Description, p.Profiles, p.Ephemeral = "2", "new", []string{"default", "web"}, true
		})
		if err != nil {
			t.Fatal(err)
		}
		w.wantActions(t, api.LifecycleInstanceUpdated)
		a := w.get(t, "c1")
		if a.Config["user.b"] != "2" || a.ExpandedConfig["user.web"] != "1" || a.Description != "new" || !a.Ephemeral || a.Status != "Running" || a.Config["volatile.uuid"] == "" {
			t.Errorf("%+v", a)
		}
	}
	if p, _, _ := w.profiles.Get(t.Context(), "default", "web"); !slices.Equal(p.UsedBy, []string{"/1.0/instances/c1"}) {
		t.Error(p.UsedBy)
	}
}

func TestUpdateRefusals(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	_, before, _ := w.svc.Get(t.Context(), "default", "c1")
	for name, c := range map[string]struct {
		change func(*api.InstancePut)
		word   string
	}{
		"unknown key":     {func(p *api.InstancePut) { p.Config["bogus"] = "1" }, "bogus"},
		"unknown profile": {func(p *api.InstancePut) { p.Profiles = []string{"nope"} }, "nope"},
		"no root": {func(p *api.InstancePut) {
			p.Profiles, p.Devices = nil, map[string]map[string]string{"eth9": {"type": "nic", "network": "net"}}
		}, "root disk"},
		"two roots": {func(p *api.InstancePut) {
			p.Devices["again"] = map[string]string{"type": "disk", "path": "/", "pool": "pool"}
		}, "again"},
		"gone under it": {func(p *api.InstancePut) { p.Profiles = nil }, "stop it first"},
		"other pool": {func(p *api.InstancePut) {
			p.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": "other"}
		}, "other"},
		"ids":          {func(p *api.InstancePut) { p.Config["raw.idmap"] = "uid 5 5" }, "raw.idmap"},
		"architecture": {func(p *api.InstancePut) { p.Architecture = "s390x" }, "s390x"},
		"vm key":       {func(p *api.InstancePut) { p.Config["migration.stateful"] = "false" }, "virtual machines"},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.edit(t, "c1", false, c.change)
			if err == nil || !strings.Contains(err.Error(), c.word) {
				t.Error("PUT:", err)
			}
			is(t, "PATCH", w.edit(t, "c1", true, c.change), errs.Internal, c.word)
		})
	}
	if _, after, _ := w.svc.Get(t.Context(), "default", "c1"); tag(t, before) != tag(t, after) {
		t.Error("changed all the same")
	}
	is(t, "PATCH restore", w.edit(t, "c1", true, func(p *api.InstancePut) { p.Restore = "snap0" }), errs.Invalid, "restore")
}

// TestWithoutDevices: an instance may lose all profiles to get others, but does not start meanwhile.
func TestWithoutDevices(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	profiles := w.get(t, "c1").Profiles
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Profiles = nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.state(t, "c1", "start", 0); err == nil || !strings.Contains(err.Error(), "root disk") {
		t.Error("start:", err)
	}
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Profiles = profiles }); err != nil {
		t.Error(err)
	}
	if err := w.state(t, "c1", "start", 0); err != nil {
		t.Error(err)
	}
}

func tag(t *testing.T, v any) string {
	t.Helper()
	s, err := rest.ETag(v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestETag(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	now := func() string { _, e, _ := w.svc.Get(t.Context(), "default", "c1"); return tag(t, e) }
	first := now()
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Description = "x" }); err != nil || now() != first {
		t.Error("the description counts", err)
	}
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Config["user.x"] = "x" }); err != nil || now() == first {
		t.Error("the configuration does not count", err)
	}
	first = now()
	if err := w.profile(t, "default", api.ProfilePut{Description: "p", Devices: w.get(t, "c1").ExpandedDevices}); err != nil || now() == first {
		t.Error("profiles do not count", err)
	}
}

func TestTune(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	m := w.host.get("default_c1")
	set := func(k, v string) error {
		return w.edit(t, "c1", true, func(p *api.InstancePut) { p.Config[k] = v })
	}
	if err := set("limits.cpu", "2"); err != nil || m.limits.CPUSet != "0-1" {
		t.Error(err, m.limits)
	}
	if err := set("limits.memory", "1GiB"); err != nil || m.limits.MemoryBytes != 1<<30 || m.limits.CPUSet != "0-1" {
		t.Error(err, m.limits)
	}
	devices := w.get(t, "c1").ExpandedDevices
	if err := w.profile(t, "default", api.ProfilePut{Config: map[string]string{"limits.processes": "50"}, Devices: devices}); err != nil || m.limits.Processes != 50 {
		t.Error(err, m.limits)
	}
	w.host.mu.Lock()
	m.limits.Processes = 1 // as if the daemon was killed before it told the machine
	w.host.mu.Unlock()
	w.daemon(t)
	if err := w.svc.Boot(t.Context()); err != nil || m.limits.Processes != 50 || m.limits.CPUSet != "0-1" {
		t.Error(err, m.limits)
	}
	w.failing(t, "tune")
	if err := set("limits.memory", "2GiB"); err == nil || w.get(t, "c1").Config["limits.memory"] != "1GiB" {
		t.Error("kept though it could not be applied:", err)
	}
}

// NICs are plugged and unplugged while the instance runs, through its own devices and through profiles.
func TestPlug(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	nic := map[string]string{"type": "nic", "network": "br0", "name": "eth1"}
	links := func() (names []string) {
		for _, l := range w.left() {
			if name, ok := strings.CutPrefix(l, "link default_c1_"); ok {
				names = append(names, name)
			}
		}
		return names
	}
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Devices["eth1"] = nic }); err != nil {
		t.Fatal(err)
	}
	a := w.get(t, "c1")
	if !slices.Equal(links(), []string{"eth0", "eth1"}) || a.Config["volatile.eth1.host_name"] == "" || a.Config["volatile.eth1.hwaddr"] == "" {
		t.Error(links(), a.Config)
	}
	for _, step := range []string{"attach", "connect"} {
		w.failing(t, step)
		if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Devices["eth2"] = nic }); err == nil || len(w.get(t, "c1").Devices) != 1 {
			t.Error("kept though it could not be plugged:", step, err)
		}
		w.heal(step)
	}
	if err := w.edit(t, "c1", true, func(p *api.InstancePut) { delete(p.Devices, "eth1") }); err != nil || !slices.Equal(links(), []string{"eth0"}) {
		t.Error(err, links())
	}
	if err := w.profile(t, "default", api.ProfilePut{Devices: instance.Devices{"root": a.ExpandedDevices["root"]}}); err != nil || len(links()) != 0 {
		t.Error(err, links())
	}
	if a := w.get(t, "c1"); a.Config["volatile.eth1.host_name"] != "" || a.Config["volatile.eth0.host_name"] != "" {
		t.Error(a.Config)
	}
	if err := w.remove(t, "c1", true); err != nil {
		t.Fatal(err)
	}
	w.clean(t)
}

// A client that sends back an old copy does not change what is known of the machine.
func TestOldCopy(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	put, _, _ := w.svc.Writable(t.Context(), "default", "c1")
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.run(w.svc.Update(t.Context(), "default", "c1", put)); err != nil {
		t.Fatal(err)
	}
	if c := w.get(t, "c1").Config; c["volatile.last_state.power"] != "STOPPED" || c["volatile.eth0.host_name"] != "" || c["volatile.eth0.hwaddr"] == "" {
		t.Error(c)
	}
}

// The size of the root disk is a matter of the pool: it may change while the instance runs.
func TestResizeOfRunning(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	err := w.edit(t, "c1", true, func(p *api.InstancePut) {
		p.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": "tank", "size": "2GiB"}
	})
	if err != nil || w.resized != 2<<30 {
		t.Error(err, w.resized)
	}
}

func TestProfileInUse(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	for name, c := range map[string]struct {
		put  api.ProfilePut
		word string
	}{
		"takes the root away": {api.ProfilePut{}, "root disk"},
		"moves the root":      {api.ProfilePut{Devices: instance.Devices{"root": {"type": "disk", "path": "/", "pool": "other"}}}, "tank"},
		"volatile":            {api.ProfilePut{Config: map[string]string{"volatile.uuid": "x"}}, "volatile.uuid"},
		"all bad":             {api.ProfilePut{Config: map[string]string{"a": "1", "b": "2"}, Devices: instance.Devices{"d": {"type": "x"}}}, `"d"`},
	} {
		t.Run(name, func(t *testing.T) { is(t, name, w.profile(t, "default", c.put), errs.Invalid, c.word) })
	}
	if err := w.profile(t, "other", api.ProfilePut{}); err != nil {
		t.Fatal(err)
	}
	if err := w.edit(t, "c1", false, func(p *api.InstancePut) { p.Profiles = []string{"default", "other"} }); err != nil {
		t.Fatal(err)
	}
	is(t, "delete", w.profiles.Delete(t.Context(), "default", "other"), errs.Invalid, "in use")
	if err := w.profiles.Rename(t.Context(), "default", "other", "another"); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "c1"); !slices.Equal(a.Profiles, []string{"default", "another"}) {
		t.Error(a.Profiles)
	}
}
