package profile_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
)

// users stands for the instances.
type users struct {
	// refuse, cannot and fail are what goes wrong in a transaction, before, and after it.
	refuse, cannot, fail error
	changed              []string
}

func (u *users) CheckProfile(config map[string]string, _ profile.Devices) error {
	if config["bad"] != "" {
		return errs.Newf(errs.Invalid, "unknown key bad")
	}
	return nil
}
func (u *users) AdmitProfile(store.Tx, profile.Record) error      { return u.refuse }
func (u *users) CheckUsers(context.Context, profile.Record) error { return u.cannot }
func (u *users) ProfileChanged(_ context.Context, before profile.Record) error {
	u.changed = append(u.changed, before.Project+"/"+before.Name+" "+before.Config["user.c"])
	return u.fail
}

func (u *users) RenameProfile(tx store.Tx, proj, from, to string) error {
	for _, r := range profile.Collection.UsedBy(tx, profile.Key(proj, from)) {
		err := things.Modify(tx, r.Key, func(p *thing) error { p.Profile = to; return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// thing uses a profile, as an instance does.
type thing struct{ Name, Profile string }

var things = store.Collection[thing]{
	Name: "instance", Key: func(t thing) string { return "default/" + t.Name },
	Refs: func(t thing) []store.Ref {
		return []store.Ref{{Collection: "profile", Key: "default/" + t.Profile}}
	},
}

type pool struct{ Name string }

type world struct {
	st      store.Store
	svc     *profile.Service
	ops     *op.Manager
	users   users
	actions []string
}

func newWorld(t *testing.T) *world {
	w := &world{}
	w.st = store.NewMem(store.Options{OnAnnounce: func(ev any) { w.actions = append(w.actions, ev.(event.Change).Action) }})
	t.Cleanup(func() { _ = w.st.Close() })
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.st})
	w.svc = profile.New(profile.Deps{Store: w.st})
	w.svc.Use(&w.users)
	projects := project.New(project.Deps{Store: w.st, Profiles: w.svc})
	pools := store.Collection[pool]{Name: "storage_pool", Key: func(p pool) string { return p.Name }}
	err := errors.Join(projects.Start(t.Context()), w.svc.Start(t.Context()), w.svc.Start(t.Context()),
		w.st.Update(t.Context(), func(tx store.Tx) error { return pools.Insert(tx, pool{"tank"}) }),
		projects.Create(t.Context(), api.ProjectsPost{Name: "own", StoragePool: "tank"}),
		projects.Create(t.Context(), api.ProjectsPost{Name: "shared", ProjectPut: api.ProjectPut{Config: map[string]string{"features.profiles": "false"}}}))
	if err != nil {
		t.Fatal(err)
	}
	w.actions = nil
	return w
}

func (w *world) create(t *testing.T, proj, name string, put api.ProfilePut) error {
	return w.svc.Create(t.Context(), proj, api.ProfilesPost{Name: name, ProfilePut: put})
}

func (w *world) use(t *testing.T, names ...string) {
	t.Helper()
	err := w.st.Update(t.Context(), func(tx store.Tx) error { return things.Insert(tx, thing{names[0], names[1]}) })
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) update(t *testing.T, name string, put api.ProfilePut) error {
	spec, err := w.svc.Update(t.Context(), "default", name, put)
	if err != nil {
		return err
	}
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		return err
	}
	return o.Wait(t.Context())
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	put := api.ProfilePut{Description: "d", Config: map[string]string{"user.a": "1", "user.b": ""}, Devices: profile.Devices{"root": {"type": "disk", "pool": "tank", "path": "/"}}}
	if err := w.create(t, "default", "web", put); err != nil {
		t.Fatal(err)
	}
	w.use(t, "c1", "web")
	p, etag, err := w.svc.Get(ctx, "default", "web")
	if err != nil || etag == nil || !slices.Equal(p.UsedBy, []string{"/1.0/instances/c1"}) || !maps.Equal(p.Config, map[string]string{"user.a": "1"}) {
		t.Fatal(p, err)
	}
	if err := w.svc.Delete(ctx, "default", "web"); !errs.Is(err, errs.Invalid) {
		t.Error("deleted in use:", err)
	}
	if err := w.svc.Rename(ctx, "default", "web", "www"); err != nil {
		t.Fatal(err)
	}
	if err := w.update(t, "www", api.ProfilePut{Config: map[string]string{"user.c": "3"}}); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := w.svc.Get(ctx, "default", "www"); p.Config["user.c"] != "3" || p.Config["user.a"] != "" || len(p.Devices) != 0 || len(p.UsedBy) != 1 {
		t.Error(p)
	}
	if !slices.Equal(w.users.changed, []string{"default/www "}) {
		t.Error(w.users.changed)
	}
	_ = w.st.Update(ctx, func(tx store.Tx) error { return things.Delete(tx, "default/c1") })
	if err := w.svc.Delete(ctx, "default", "www"); err != nil {
		t.Error(err)
	}
	want := []string{api.LifecycleProfileCreated, api.LifecycleProfileRenamed, api.LifecycleProfileUpdated, api.LifecycleProfileDeleted}
	if !slices.Equal(w.actions, want) {
		t.Error(w.actions)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	bad := api.ProfilePut{Config: map[string]string{"bad": "1"}}
	noPool := api.ProfilePut{Devices: profile.Devices{"root": {"type": "disk", "pool": "none", "path": "/"}}}
	_ = w.create(t, "default", "p", api.ProfilePut{})
	for name, c := range map[string]struct {
		err  error
		kind errs.Kind
	}{
		"bad key":        {w.create(t, "default", "x", bad), errs.Invalid},
		"unknown pool":   {w.create(t, "default", "x", noPool), errs.NotFound},
		"bad name":       {w.create(t, "default", "a/b", api.ProfilePut{}), errs.Invalid},
		"no name":        {w.create(t, "default", "", api.ProfilePut{}), errs.Invalid},
		"name taken":     {w.create(t, "default", "p", api.ProfilePut{}), errs.Internal},
		"rename default": {w.svc.Rename(ctx, "default", "default", "x"), errs.Forbidden},
		"delete default": {w.svc.Delete(ctx, "default", "default"), errs.Forbidden},
		"rename onto":    {w.svc.Rename(ctx, "default", "p", "default"), errs.Conflict},
		"missing":        {w.svc.Delete(ctx, "default", "nope"), errs.NotFound},
		"bad update":     {w.update(t, "p", bad), errs.Invalid},
		"update missing": {w.update(t, "nope", api.ProfilePut{}), errs.NotFound},
	} {
		if !errs.Is(c.err, c.kind) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	no := errs.Newf(errs.Invalid, "an instance needs it")
	for name, users := range map[string]users{"in the transaction": {refuse: no}, "before": {cannot: no}, "when brought up to date": {fail: no}} {
		w.users = users
		if err := w.update(t, "p", api.ProfilePut{Config: map[string]string{"user.c": "new"}}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: updated though an instance refuses: %v", name, err)
		}
		if p, _, _ := w.svc.Get(ctx, "default", "p"); len(p.Config) != 0 {
			t.Errorf("%s: half updated: %v", name, p)
		}
		want := []string{"default/p ", "default/p new"} // there, and back
		if w.users.fail == nil {
			want = nil
		}
		if !slices.Equal(w.users.changed, want) {
			t.Errorf("%s: %q", name, w.users.changed)
		}
	}
}

func TestProjects(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		proj string
		all  bool
		want string
	}{{"default", false, "default/default"}, {"own", false, "own/default"}, {"shared", false, "default/default"}, {"default", true, "default/default own/default"}} {
		list, err := w.svc.List(t.Context(), c.proj, c.all)
		var got []string
		for _, p := range list {
			got = append(got, p.Project+"/"+p.Name)
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Error(c, got, err)
		}
	}
	p, _, err := w.svc.Get(t.Context(), "own", "default")
	if err != nil || p.Devices["root"]["pool"] != "tank" || len(p.Devices) != 1 {
		t.Error(p, err)
	}
}

func TestExpand(t *testing.T) {
	a := profile.Record{Config: map[string]string{"x": "a", "y": "a"}, Devices: profile.Devices{"eth0": {"type": "nic", "mtu": "9000"}, "root": {"pool": "a"}}}
	b := profile.Record{Config: map[string]string{"y": "b", "z": "b"}, Devices: profile.Devices{"eth0": {"type": "nic", "name": "eth0"}}}
	cfg, dev := profile.Expand([]profile.Record{a, b}, map[string]string{"z": "own"}, profile.Devices{"root": {"pool": "own"}})
	if !maps.Equal(cfg, map[string]string{"x": "a", "y": "b", "z": "own"}) {
		t.Error(cfg)
	}
	if dev["root"]["pool"] != "own" || dev["eth0"]["mtu"] != "" || dev["eth0"]["name"] != "eth0" {
		t.Error(dev)
	}
	if a.Config["y"] != "a" {
		t.Error("a profile was changed")
	}
}

func TestDeviceRefs(t *testing.T) {
	for _, c := range []struct {
		cfg  map[string]string
		want string
	}{
		{map[string]string{"type": "disk", "path": "/", "pool": "p"}, "storage_pool p"},
		{map[string]string{"type": "disk", "source": "/srv", "path": "/x"}, ""},
		{map[string]string{"type": "disk", "pool": "p", "source": "v"}, "storage_volume p/custom/mine/v, storage_pool p"},
		{map[string]string{"type": "disk", "pool": "p", "source": "v", "source.snapshot": "s"},
			"storage_volume p/custom/mine/v, storage_volume_snapshot p/custom/mine/v/s, storage_pool p"},
		{map[string]string{"type": "disk", "pool": "p", "source": "v/s"},
			"storage_volume p/custom/mine/v, storage_volume_snapshot p/custom/mine/v/s, storage_pool p"},
		{map[string]string{"type": "disk", "pool": "p", "source": "v", "source.type": "virtual-machine"}, "storage_volume p/virtual-machine/mine/v, storage_pool p"},
		{map[string]string{"type": "nic", "network": "n"}, "network nets/n"},
		{map[string]string{"type": "nic", "nictype": "p2p"}, ""},
	} {
		var got []string
		for _, r := range profile.DeviceRefs(profile.Owners{Network: "nets", Volume: "mine"}, profile.Devices{"d": c.cfg, "same": c.cfg}) {
			got = append(got, r.Collection+" "+r.Key)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%v: %q, want %q", c.cfg, got, c.want)
		}
	}
}

// TestCrash: what uses a profile is brought up to date after a crash between the two.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	before, err := json.Marshal(profile.Record{Project: "default", Name: "p", Config: map[string]string{"user.c": "old"}})
	if err != nil {
		t.Fatal(err)
	}
	for kind, recoverer := range w.svc.Recoverers() {
		if err := recoverer(t.Context(), op.Journal{Kind: kind, Args: before}); err != nil || !slices.Equal(w.users.changed, []string{"default/p old"}) {
			t.Error(kind, w.users.changed, err)
		}
		if err := recoverer(t.Context(), op.Journal{Kind: kind, Args: []byte("x")}); err == nil {
			t.Error("a journal that is no JSON is no error")
		}
	}
}
