package instance_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/op"
)

func TestLife(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Config = map[string]string{"user.a": "1", "user.none": "", "limits.memory": "50%", "volatile.eth0.host_name": "lxdbr0", "volatile.last_state.power": "RUNNING"}
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceCreated)
	a := w.get(t, "c1")
	if a.Status != "Stopped" || a.Type != "container" || a.Architecture != "x86_64" || a.Project != "default" || !slices.Equal(a.Profiles, []string{"default"}) {
		t.Errorf("%+v", a)
	}
	if got := without(a.Config, "volatile."); !maps.Equal(got, map[string]string{"user.a": "1", "limits.memory": "50%", "image.os": "Debian", "image.evil": "a\nb"}) {
		t.Error(got)
	}
	if a.Config["volatile.base_image"] != fingerprint || len(a.Config["volatile.uuid"]) != 36 || !strings.HasPrefix(a.Config["volatile.eth0.hwaddr"], "00:16:3e:") {
		t.Error(a.Config)
	}
	if a.Config["volatile.eth0.host_name"] != "" || a.Config["volatile.last_state.power"] != "" {
		t.Error("a client has told what only the server knows: the first would be removed with the instance", a.Config)
	}
	if a.ExpandedDevices["eth0"]["network"] != "br0" || len(a.Devices) != 0 {
		t.Error(a.Devices, a.ExpandedDevices)
	}
	if err := w.state(t, "c1", "start", -1); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceStarted)
	a = w.get(t, "c1")
	if a.Status != "Running" || a.Config["volatile.eth0.host_name"] != "veth-c1" || a.Config["volatile.last_state.power"] != "RUNNING" || a.LastUsedAt.IsZero() {
		t.Errorf("%+v", a)
	}
	if m := w.host.get("default_c1"); m.limits.MemoryBytes != 4<<30 || m.plan.NICs[0].Hwaddr != a.Config["volatile.eth0.hwaddr"] {
		t.Errorf("%+v", m.plan)
	}
	is(t, "start again", w.state(t, "c1", "start", -1), errs.Invalid, "already running")
	is(t, "delete running", w.remove(t, "c1", false), errs.Invalid, "running")
	if err := w.state(t, "c1", "stop", 30); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceShutdown)
	a = w.get(t, "c1")
	if a.Status != "Stopped" || a.Config["volatile.eth0.host_name"] != "" || a.Config["volatile.last_state.power"] != "STOPPED" || a.Config["volatile.eth0.hwaddr"] == "" {
		t.Errorf("%+v", a.Config)
	}
	if left := w.left(); !slices.Equal(left, []string{"volume tank/default_c1"}) {
		t.Error(left)
	}
	is(t, "stop again", w.state(t, "c1", "stop", 0), errs.Invalid, "already stopped")
	if err := w.remove(t, "c1", false); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceDeleted)
	w.clean(t)
}

func TestEmptyAndForce(t *testing.T) {
	w := newWorld(t)
	post := api.InstancesPost{Source: api.InstanceSource{Type: api.SourceTypeNone}, Start: true}
	post.Description = "no image"
	spec, err := w.svc.Create(t.Context(), "default", post)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(spec.Metadata["entity_url"].(string), "/1.0/instances/")
	if len(strings.Split(name, "-")) != 2 || !slices.Equal(spec.Resources["project"], []string{"/1.0/projects/default"}) {
		t.Error(spec.Metadata, spec.Resources)
	}
	if err := w.run(spec, nil); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, name); a.Status != "Running" || a.Config["volatile.base_image"] != "" {
		t.Error(a)
	}
	w.wantActions(t, api.LifecycleInstanceCreated, api.LifecycleInstanceStarted)
	if err := w.remove(t, name, true); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceStopped, api.LifecycleInstanceDeleted)
	w.clean(t)
}

func TestProfilesOfRequest(t *testing.T) {
	w := newWorld(t)
	post := request("none")
	post.Profiles = []string{}
	is(t, "no profiles, no root", w.create(t, post), errs.Invalid, "root disk")
	post.Devices = instance.Devices{"root": {"type": "disk", "path": "/", "pool": "other"}}
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	if a := w.get(t, "none"); len(a.Profiles) != 0 || len(a.ExpandedDevices) != 1 {
		t.Error(a)
	}
	if left := w.left(); !slices.Equal(left, []string{"volume other/default_none"}) {
		t.Error(left)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.started(t, "taken")
	with := func(change func(*api.InstancesPost)) api.InstancesPost {
		p := request("c1")
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		post  api.InstancesPost
		kind  errs.Kind
		words []string
	}{
		"name taken":      {request("taken"), errs.Conflict, []string{"taken"}},
		"bad name":        {request("a_b"), errs.Internal, []string{"a_b"}},
		"number":          {request("42"), errs.Internal, []string{"number"}},
		"unknown profile": {with(func(p *api.InstancesPost) { p.Profiles = []string{"nope"} }), errs.Internal, []string{"nope"}},
		"profile twice":   {with(func(p *api.InstancesPost) { p.Profiles = []string{"default", "default"} }), errs.Invalid, []string{"twice"}},
		"unknown source":  {with(func(p *api.InstancesPost) { p.Source.Type = "magic" }), errs.Invalid, []string{"magic"}},
		"unknown alias":   {with(func(p *api.InstancesPost) { p.Source.Alias = "nope" }), errs.NotFound, []string{"nope"}},
		"no image":        {with(func(p *api.InstancesPost) { p.Source.Alias = "" }), errs.Invalid, []string{"alias"}},
		"missing image":   {with(func(p *api.InstancesPost) { p.Source.Fingerprint = strings.Repeat("f", 64) }), errs.NotFound, []string{"fff"}},
		"virtual machine": {with(func(p *api.InstancesPost) { p.Type = "virtual-machine" }), errs.Unsupported, nil},
		"unknown type":    {with(func(p *api.InstancesPost) { p.Type = "pod" }), errs.Invalid, []string{"pod"}},
		"architecture":    {with(func(p *api.InstancesPost) { p.Architecture = "s390x" }), errs.Invalid, []string{"s390x"}},
		"all bad keys": {with(func(p *api.InstancesPost) {
			p.Config = map[string]string{"bogus": "1", "limits.memory": "much", "raw.lxc": "x"}
		}), errs.Invalid, []string{"bogus", "limits.memory", "raw.lxc"}},
		"newline": {with(func(p *api.InstancesPost) { p.Config = map[string]string{"environment.A": "1\nlxc.x = y"} }), errs.Invalid, []string{"environment.A"}},
		"key with newline": {with(func(p *api.InstancesPost) {
			p.Config = map[string]string{"environment.A\nlxc.x": "1", "user.b\x00": "2"}
		}), errs.Invalid, []string{"environment.A", "user.b"}},
		"all bad devices": {with(func(p *api.InstancesPost) {
			p.Devices = instance.Devices{"a": {"type": "warp"}, "b": {"type": "nic", "x": "1"}}
		}), errs.Invalid, []string{`"a"`, "warp", `"b"`}},
		"device cannot be": {with(func(p *api.InstancesPost) { p.Devices = instance.Devices{"n": {"type": "nic"}} }), errs.Invalid, []string{"network is needed"}},
		"unknown network":  {with(func(p *api.InstancesPost) { p.Devices = instance.Devices{"n": {"type": "nic", "network": "br9"}} }), errs.NotFound, []string{"br9"}},
		"unknown pool": {with(func(p *api.InstancesPost) {
			p.Devices = instance.Devices{"root": {"type": "disk", "path": "/", "pool": "gone"}}
		}), errs.NotFound, []string{"gone"}},
		"remote image": {with(func(p *api.InstancesPost) { p.Source.Server = "https://images" }), errs.Unavailable, []string{"cannot be reached"}},
	} {
		t.Run(name, func(t *testing.T) { is(t, name, w.create(t, c.post), c.kind, c.words...) })
	}
	is(t, "unknown action", w.state(t, "taken", "jump", 0), errs.Invalid, "jump")
	is(t, "unknown instance", w.state(t, "nope", "jump", 0), errs.NotFound)
	if err := w.remove(t, "taken", true); err != nil {
		t.Fatal(err)
	}
	w.clean(t)
}

func TestProtection(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Config = map[string]string{"security.protection.delete": "true", "security.protection.start": "true"}
	if err := w.create(t, post); err != nil {
		t.Fatal(err)
	}
	is(t, "start", w.state(t, "c1", "start", 0), errs.Forbidden, "security.protection.start")
	is(t, "delete", w.remove(t, "c1", true), errs.Forbidden, "security.protection.delete")
}

func TestSize(t *testing.T) {
	w := newWorld(t)
	post := request("c1")
	post.Devices = instance.Devices{"root": {"type": "disk", "path": "/", "pool": "tank", "size": "1GiB"}}
	w.failing(t, "resize")
	if err := w.create(t, post); err == nil || !strings.Contains(err.Error(), "resize is to fail") {
		t.Error(err)
	}
	w.clean(t)
	w.heal("resize")
	if err := w.create(t, post); err != nil || w.resized != 1<<30 {
		t.Error(err, w.resized)
	}
}

func TestPower(t *testing.T) {
	w := newWorld(t)
	w.started(t, "c1")
	w.forgetActions()
	is(t, "unfreeze running", w.state(t, "c1", "unfreeze", 0), errs.Invalid)
	for _, step := range []struct{ action, status, event string }{
		{"freeze", "Frozen", api.LifecycleInstancePaused}, {"start", "Running", api.LifecycleInstanceResumed},
		{"freeze", "Frozen", api.LifecycleInstancePaused}, {"unfreeze", "Running", api.LifecycleInstanceResumed},
	} {
		if err := w.state(t, "c1", step.action, 0); err != nil {
			t.Fatal(step, err)
		}
		if a := w.get(t, "c1"); a.Status != step.status {
			t.Error(step, a.Status)
		}
		w.wantActions(t, step.event)
	}
	w.host.get("default_c1").deaf = true
	is(t, "deaf", w.state(t, "c1", "stop", 1), errs.Unavailable, "1s")
	if a := w.get(t, "c1"); a.Status != "Running" {
		t.Error(a.Status)
	}
	if err := w.state(t, "c1", "restart", 0); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceRestarted)
	if err := w.state(t, "c1", "stop", 0); err != nil {
		t.Fatal(err)
	}
	w.wantActions(t, api.LifecycleInstanceStopped)
	is(t, "restart stopped", w.state(t, "c1", "restart", 0), errs.Invalid, "stopped")
	is(t, "freeze stopped", w.state(t, "c1", "freeze", 0), errs.Invalid, "not running")
}

func TestAllStates(t *testing.T) {
	w := newWorld(t)
	w.started(t, "a")
	if err := w.create(t, request("b")); err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	if err := w.run(w.svc.SetStates(t.Context(), "default", func(name string) bool { return name == "a" }, api.InstanceStatePut{Action: "start"})); err != nil {
		t.Fatal(err)
	}
	if got := w.get(t, "b").Status; got != "Stopped" {
		t.Error("an instance that may not be started is", got)
	}
	for action, status := range map[string]string{"start": "Running", "stop": "Stopped"} {
		if err := w.run(w.svc.SetStates(t.Context(), "default", all, api.InstanceStatePut{Action: action})); err != nil && action == "start" {
			t.Fatal(err)
		}
		if action == "start" && (w.get(t, "a").Status != status || w.get(t, "b").Status != status) {
			t.Error(action, w.get(t, "a").Status, w.get(t, "b").Status)
		}
	}
	_, err := w.svc.SetStates(t.Context(), "default", all, api.InstanceStatePut{Action: "jump"})
	is(t, "unknown", err, errs.Invalid)
}

// A guest that ends by itself is cleaned up after; one that reboots is started again; an ephemeral one is deleted.
func TestGuestEnds(t *testing.T) {
	w := newWorld(t)
	halt := func(name string, reboot bool) {
		m := w.host.get("default_" + name)
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		m.end(reboot)
	}
	w.started(t, "c1")
	w.forgetActions()
	first := w.host.get("default_c1")
	halt("c1", true)
	w.eventually(t, "rebooted", func() bool {
		m := w.host.get("default_c1")
		return m != nil && m != first && w.get(t, "c1").Status == "Running"
	})
	w.eventually(t, "idle", func() bool {
		return len(w.ops.List("")) > 0 && w.ops.List("")[len(w.ops.List(""))-1].API().StatusCode.Final()
	})
	halt("c1", false)
	w.eventually(t, "stopped", func() bool { return w.get(t, "c1").Config["volatile.last_state.power"] == "STOPPED" })
	if left := w.left(); !slices.Equal(left, []string{"volume tank/default_c1"}) {
		t.Error(left)
	}
	if err := w.remove(t, "c1", false); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func(){func() { halt("e1", false) }, func() { _ = w.state(t, "e1", "stop", 0) }, func() { _ = w.state(t, "e1", "stop", 10) }} {
		post := request("e1")
		post.Ephemeral, post.Start = true, true
		if err := w.create(t, post); err != nil {
			t.Fatal(err)
		}
		end()
		w.eventually(t, "deleted", func() bool { _, _, err := w.svc.Get(t.Context(), "default", "e1"); return errs.Is(err, errs.NotFound) })
		w.eventually(t, "clean", func() bool { return len(w.left()) == 0 })
		w.eventually(t, "unlocked", func() bool {
			return !slices.ContainsFunc(w.ops.List(""), func(o *op.Operation) bool { return !o.API().StatusCode.Final() })
		})
	}
	w.clean(t)
}

// What ends is noticed by a watcher and by the operation that ends it, and either may be first.
func TestWhoStoppedIsTold(t *testing.T) {
	w := newWorld(t)
	if err := w.create(t, request("c1")); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for _, step := range []struct {
			action  string
			timeout int64
		}{{"start", 0}, {"stop", 0}, {"start", 0}, {"stop", 5}, {"start", 0}, {"restart", 0}, {"stop", 0}} {
			w.forgetActions()
			if err := w.state(t, "c1", step.action, step.timeout); err != nil {
				t.Fatal(step, err)
			}
			w.mu.Lock()
			if !slices.Equal(w.by, []string{"jane"}) {
				t.Errorf("%v: %v by %q", step, w.actions, w.by)
			}
			w.mu.Unlock()
		}
	}
}

func (w *world) state(t *testing.T, name, action string, timeout int64) error {
	return w.run(w.svc.SetState(t.Context(), "default", name, api.InstanceStatePut{Action: action, Timeout: timeout}))
}

func (w *world) remove(t *testing.T, name string, force bool) error {
	return w.run(w.svc.Delete(t.Context(), "default", name, force))
}

func request(name string) api.InstancesPost {
	return api.InstancesPost{Name: name, Source: api.InstanceSource{Type: api.SourceTypeImage, Alias: "debian"}}
}
