package endpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/driver/machine/fake"
	"lxd/internal/driver/storage/mem"
	"lxd/internal/endpoint"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/instance"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/storage"
	"lxd/internal/store"
)

type noImages struct{}

func (noImages) Resolve(_ context.Context, _, ref string) (api.Image, error) {
	return api.Image{}, errs.Newf(errs.NotFound, "image %q not found", ref)
}

func (i noImages) Fetch(ctx context.Context, _ *op.Task, proj string, src api.ImagesPostSource) (api.Image, error) {
	return i.Resolve(ctx, proj, src.Alias)
}

func (noImages) Used(store.Tx, string, string, time.Time) error { return nil }

// newInstanceWorld serves projects, profiles and instances, on fakes, with a pool "tank" in the default profile.
// sight may view projects, and things of that kind.
type sight string

func (v sight) Allows(o auth.Object, entitlement string) bool {
	return entitlement == "can_view" && (o.Entity == "project" || o.Entity == string(v))
}

func newInstanceWorld(t *testing.T) *world {
	t.Helper()
	hub := event.NewHub("none")
	st := store.NewMem(store.Options{OnAnnounce: hub.Announce})
	t.Cleanup(func() { _ = st.Close() })
	w := &world{ops: op.NewManager(t.Context(), op.Options{Store: st, Location: "none"}), hub: hub,
		who: auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}}
	pools := storage.New(storage.Deps{Store: st, Drivers: []storage.Driver{mem.New("dir")}, Dir: t.TempDir()})
	profiles := profile.New(profile.Deps{Store: st})
	projects := project.New(project.Deps{Store: st, Profiles: profiles})
	host := &fake.Host{}
	svc := instance.New(t.Context(), instance.Deps{
		Store: st, Ops: w.ops, Machine: host.Driver(), Volumes: pools, Images: noImages{}, Kinds: []device.Kind{disk.Kind(nil)},
		Host:     instance.Host{Architecture: "x86_64", CPUs: []int{0, 1}, Memory: 1 << 30, IDMap: []machine.IDRange{{Host: 1000000, Size: 65536}}},
		Announce: hub.Announce, RunDir: t.TempDir(), LogDir: t.TempDir(),
	})
	t.Cleanup(svc.Close)
	profiles.Use(svc)
	if err := errors.Join(projects.Start(t.Context()), profiles.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	srv := &rest.Server{Self: "none", Ops: w.ops, Project: projects.Check, Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(endpoint.Projects(projects), endpoint.Profiles(profiles), endpoint.Operations(w.ops), endpoint.StoragePools(pools),
		endpoint.Instances(svc, nil, nil, nil), endpoint.InstanceState(svc, nil), endpoint.InstanceExec(svc, nil)))
	t.Cleanup(w.Close)
	w.must(t, 201, "POST", "/1.0/storage-pools", `{"name":"tank","driver":"dir"}`)
	w.finish(t, w.must(t, 202, "PATCH", "/1.0/profiles/default", `{"devices":{"root":{"type":"disk","path":"/","pool":"tank"}}}`))
	return w
}

// must fails unless the answer has that status.
func (w *world) must(t *testing.T, code int, method, path, body string, header ...string) answer {
	t.Helper()
	a := w.do(t, method, path, body, header...)
	if a.HTTP != code {
		t.Fatalf("%s %s %s: %d %q", method, path, body, a.HTTP, a.Error)
	}
	return a
}

// finish waits for an operation and returns it.
func (w *world) finish(t *testing.T, a answer) (o api.Operation) {
	t.Helper()
	b := w.do(t, "GET", a.Header.Get("Location")+"/wait?timeout=10", "")
	if b.Type == "error" {
		o.Err = b.Error
		return o
	}
	b.into(t, &o)
	return o
}

func (w *world) make(t *testing.T, name string, start bool) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"name": name, "source": map[string]string{"type": "none"}, "start": start})
	if o := w.finish(t, w.must(t, 202, "POST", "/1.0/instances", string(body))); o.Err != "" {
		t.Fatal(o.Err)
	}
}

func TestInstanceStatuses(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "up", true)
	w.make(t, "off", false)
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"GET", "/1.0/instances/nope", "", 404, "nope"},
		{"GET", "/1.0/instances/a%2Fb", "", 400, "slash"},
		{"GET", "/1.0/instances?recursion=x", "", 400, "recursion"},
		{"GET", "/1.0/instances?recursion=2&fields=state.soul", "", 400, "state.soul"},
		{"GET", "/1.0/instances?filter=name%20is%20up", "", 400, ""},
		{"GET", "/1.0/instances?project=nope", "", 404, "nope"},
		{"GET", "/1.0/instances?instance-type=pod", "", 400, "pod"},
		{"POST", "/1.0/instances", `{"name":"up","source":{"type":"none"}}`, 409, "already exists"},
		{"POST", "/1.0/instances", `{"name":"a_b","source":{"type":"none"}}`, 500, "a_b"},
		{"POST", "/1.0/instances", `{"name":"x","source":{"type":"none"},"profiles":["nope"]}`, 500, "nope"},
		{"POST", "/1.0/instances", `{"name":"x","source":{"type":"magic"}}`, 400, "magic"},
		{"POST", "/1.0/instances?target=m2", `{"name":"x","source":{"type":"none"}}`, 400, "clustered"},
		{"POST", "/1.0/instances", `{"name":`, 400, ""},
		{"PUT", "/1.0/instances/up/state", `{"action":"jump"}`, 400, "jump"},
		{"PUT", "/1.0/instances/nope/state", `{"action":"jump"}`, 404, "nope"},
		{"DELETE", "/1.0/instances/up", "", 400, "running"},
		{"POST", "/1.0/instances/off/exec", `{"command":["true"]}`, 400, "not running"},
		{"POST", "/1.0/instances/off/console", `{}`, 400, "not running"},
		{"POST", "/1.0/instances/up/exec", `{"command":[]}`, 400, "empty"},
		{"POST", "/1.0/instances/up/exec", `{"command":["x"],"record-output":true,"interactive":true}`, 400, "record-output"},
		{"PATCH", "/1.0/instances/up", `{"config":{"bogus":"1"}}`, 500, "bogus"},
		{"PATCH", "/1.0/instances/up", `{"restore":"snap0"}`, 400, "restore"},
		{"PATCH", "/1.0/instances/nope", `{}`, 404, "nope"},
		{"PUT", "/1.0/instances", `{}`, 400, "state"},
		{"POST", "/1.0/profiles", `{"name":"bad","config":{"one":"1","two":"2"}}`, 400, `"two"`},
		{"POST", "/1.0/profiles", `{"name":"default"}`, 500, "already exists"},
		{"DELETE", "/1.0/profiles/default", "", 403, "default"},
		{"GET", "/1.0/profiles/nope", "", 404, "nope"},
		{"DELETE", "/1.0/projects/default", "", 403, "default"},
		{"POST", "/1.0/projects", `{"name":"default"}`, 409, "already exists"},
	} {
		if a := w.do(t, c.method, c.path, c.body); a.HTTP != c.code || !strings.Contains(a.Error, c.text) {
			t.Errorf("%s %s %s: %d %q", c.method, c.path, c.body, a.HTTP, a.Error)
		}
	}
}

func TestInstanceLife(t *testing.T) {
	w := newInstanceWorld(t)
	a := w.must(t, 202, "POST", "/1.0/instances", `{"source":{"type":"none"},"start":true,"description":"d"}`)
	o := w.finish(t, a)
	url, _ := o.Metadata["entity_url"].(string)
	if o.Err != "" || o.Resources["project"][0] != "/1.0/projects/default" || !strings.HasPrefix(url, "/1.0/instances/") {
		t.Fatalf("%+v", o)
	}
	var in api.Instance
	first := w.must(t, 200, "GET", url, "")
	first.into(t, &in)
	if in.Status != "Running" || in.Location != "none" || in.Description != "d" || in.ExpandedDevices["root"]["pool"] != "tank" {
		t.Errorf("%+v", in)
	}
	tag := first.Header.Get("ETag")
	w.must(t, 412, "PATCH", url, `{"config":{"user.a":"1"}}`, "If-Match", "nonsense")
	w.must(t, 200, "PATCH", url, `{"config":{"user.a":"1","user.b":"2"}}`, "If-Match", tag)
	w.must(t, 200, "PATCH", url, `{"config":{"user.b":""}}`)
	w.must(t, 200, "GET", url, "").into(t, &in)
	if _, has := in.Config["user.b"]; has || in.Config["user.a"] != "1" || in.Config["volatile.uuid"] == "" {
		t.Error(in.Config)
	}
	put, _ := json.Marshal(in.Writable())
	if o := w.finish(t, w.must(t, 202, "PUT", url, strings.Replace(string(put), `"user.a":"1"`, `"user.c":"3"`, 1))); o.Err != "" {
		t.Error(o.Err)
	}
	if o := w.finish(t, w.must(t, 202, "PUT", url, strings.Replace(string(put), `"user.a"`, `"bogus"`, 1))); !strings.Contains(o.Err, "bogus") {
		t.Errorf("%+v", o)
	}
	var state api.InstanceState
	w.must(t, 200, "GET", url+"/state", "").into(t, &state)
	if state.StatusCode != 103 || state.Pid == 0 {
		t.Errorf("%+v", state)
	}
	if o := w.finish(t, w.must(t, 202, "PUT", url+"/state", `{"action":"stop","force":true}`)); o.Err != "" {
		t.Error(o.Err)
	}
	if o := w.finish(t, w.must(t, 202, "PUT", url+"/state", `{"action":"stop"}`)); !strings.Contains(o.Err, "already stopped") {
		t.Errorf("%+v", o)
	}
	var full api.InstanceFull
	w.must(t, 200, "GET", url+"?recursion=1", "").into(t, &full)
	if full.State == nil || full.State.StatusCode != 102 || full.Config["user.c"] != "3" {
		t.Errorf("%+v", full)
	}
	if o := w.finish(t, w.must(t, 202, "DELETE", url, "")); o.Err != "" {
		t.Error(o.Err)
	}
	w.must(t, 404, "GET", url, "")
}

func TestInstanceList(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "up", true)
	w.make(t, "off", false)
	w.must(t, 201, "POST", "/1.0/projects", `{"name":"p","config":{"features.profiles":"false"}}`)
	if o := w.finish(t, w.must(t, 202, "POST", "/1.0/instances?project=p", `{"name":"up","source":{"type":"none"}}`)); o.Err != "" || o.Metadata["entity_url"] != "/1.0/instances/up?project=p" {
		t.Fatalf("%+v", o)
	}
	var urls []string
	w.must(t, 200, "GET", "/1.0/instances?all-projects=true", "").into(t, &urls)
	if !slices.Equal(urls, []string{"/1.0/instances/off", "/1.0/instances/up", "/1.0/instances/up?project=p"}) {
		t.Error(urls)
	}
	for query, want := range map[string]string{
		"?recursion=1&filter=status%20eq%20Running": "up", "?recursion=1&filter=name%20eq%20o.*": "off",
		"?recursion=2&filter=status%20eq%20Running": "up", "?recursion=2;fields=state.disk&filter=name%20eq%20up": "up",
	} {
		var full []api.InstanceFull
		w.must(t, 200, "GET", "/1.0/instances"+query, "").into(t, &full)
		if len(full) != 1 || full[0].Name != want || strings.Contains(query, "=2") != (full[0].State != nil) {
			t.Errorf("%s: %+v", query, full)
		}
	}
	var all []api.InstanceFull
	w.must(t, 200, "GET", "/1.0/instances?recursion=2", "").into(t, &all)
	if len(all) != 2 || all[1].State.Pid == 0 || all[0].State.StatusCode != 102 {
		t.Errorf("%+v", all)
	}
	if o := w.finish(t, w.must(t, 202, "PUT", "/1.0/instances", `{"state":{"action":"stop","force":true}}`)); o.Err != "" {
		t.Error(o.Err)
	}
}

func TestExec(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "c1", true)
	dial := func(o api.Operation, name string) *websocket.Conn {
		fds := o.Metadata["fds"].(map[string]any)
		url := "ws" + strings.TrimPrefix(w.URL, "http") + "/1.0/operations/" + o.ID + "/websocket?secret=" + fds[name].(string)
		c, _, err := websocket.DefaultDialer.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	run := func(body string) (api.Operation, string) {
		t.Helper()
		a := w.must(t, 202, "POST", "/1.0/instances/c1/exec", body)
		var o api.Operation
		a.into(t, &o)
		if o.Class != "websocket" || o.Resources["instance"][0] != "/1.0/instances/c1" {
			t.Errorf("%+v", o)
		}
		in, out := dial(o, "0"), dial(o, "1")
		dial(o, "2")
		_ = in.WriteMessage(websocket.BinaryMessage, []byte("from the client"))
		_ = in.WriteMessage(websocket.TextMessage, nil)
		var text strings.Builder
		for {
			kind, b, err := out.ReadMessage()
			if err != nil || kind == websocket.TextMessage {
				return w.finish(t, a), text.String()
			}
			text.Write(b)
		}
	}
	if o, out := run(`{"command":["cat"],"wait-for-websocket":true}`); out != "from the client" || o.Metadata["return"] != float64(0) {
		t.Errorf("%q %+v", out, o)
	}
	if o, _ := run(`{"command":["sh","-c","exit 7"],"wait-for-websocket":true}`); o.Metadata["return"] != float64(7) {
		t.Errorf("%+v", o)
	}
	if o, _ := run(`{"command":["nonsense"],"wait-for-websocket":true}`); o.Err != "Command not found" {
		t.Errorf("%+v", o)
	}
	_, env := run(`{"command":["env"],"wait-for-websocket":true,"environment":{"TERM":"xterm","X":"y"}}`)
	for _, want := range []string{"PATH=/usr/local/sbin:", "HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=xterm", "X=y"} {
		if !strings.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
	o := w.finish(t, w.must(t, 202, "POST", "/1.0/instances/c1/exec", `{"command":["false"]}`))
	if o.Class != "task" || o.Metadata["return"] != float64(1) {
		t.Errorf("%+v", o)
	}
}

func TestExecOfAnotherCaller(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "c1", true)
	var o api.Operation
	w.must(t, 202, "POST", "/1.0/instances/c1/exec", `{"command":["true"],"wait-for-websocket":true}`).into(t, &o)
	w.who.Name = "mallory"
	secret := o.Metadata["fds"].(map[string]any)["0"].(string)
	_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.URL, "http")+"/1.0/operations/"+o.ID+"/websocket?secret="+secret, nil)
	if err == nil || resp.StatusCode != 403 {
		t.Fatal(resp, err)
	}
	w.must(t, 200, "DELETE", "/1.0/operations/"+o.ID, "") // cancelled while it waits
}

func TestProfileOverHTTP(t *testing.T) {
	w := newInstanceWorld(t)
	a := w.must(t, 201, "POST", "/1.0/profiles", `{"name":"web","config":{"user.a":"1"}}`)
	if a.Header.Get("Location") != "/1.0/profiles/web" {
		t.Error(a.Header)
	}
	got := w.must(t, 200, "GET", "/1.0/profiles/web", "")
	w.must(t, 412, "PUT", "/1.0/profiles/web", `{}`, "If-Match", "x")
	if o := w.finish(t, w.must(t, 202, "PUT", "/1.0/profiles/web", `{"config":{"user.b":"2"}}`, "If-Match", got.Header.Get("ETag"))); o.Err != "" || o.Resources["profile"][0] != "/1.0/profiles/web" {
		t.Errorf("%+v", o)
	}
	if a := w.must(t, 201, "POST", "/1.0/profiles/web", `{"name":"www"}`); a.Header.Get("Location") != "/1.0/profiles/www" {
		t.Error(a.Header)
	}
	var p api.Profile
	w.must(t, 200, "GET", "/1.0/profiles/www", "").into(t, &p)
	if p.Config["user.b"] != "2" || p.Config["user.a"] != "" || p.UsedBy == nil {
		t.Errorf("%+v", p)
	}
	w.make(t, "c1", false)
	w.must(t, 200, "PATCH", "/1.0/instances/c1", `{"profiles":["default","www"]}`)
	w.must(t, 400, "DELETE", "/1.0/profiles/www", "")
	w.who = auth.Identity{Kind: auth.TLS, Rights: sight("profile")} // and not instances
	w.must(t, 200, "GET", "/1.0/profiles/www", "").into(t, &p)
	var all []api.Profile
	w.must(t, 200, "GET", "/1.0/profiles?recursion=1", "").into(t, &all)
	if len(p.UsedBy) != 0 || len(all) != 2 || len(all[0].UsedBy) != 0 || len(all[1].UsedBy) != 0 {
		t.Errorf("who uses a profile is told to those who may not view them: %+v, %+v", p, all)
	}
	w.who = auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}
	w.must(t, 200, "PATCH", "/1.0/instances/c1", `{"profiles":["default"]}`)
	w.must(t, 200, "DELETE", "/1.0/profiles/www", "")
}

func TestRebootFromInside(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "c1", true)
	pid := func() int64 {
		var s api.InstanceState
		w.must(t, 200, "GET", "/1.0/instances/c1/state", "").into(t, &s)
		return s.Pid
	}
	before := pid()
	w.finish(t, w.must(t, 202, "POST", "/1.0/instances/c1/exec", `{"command":["reboot"]}`))
	for range 200 {
		if now := pid(); now != 0 && now != before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never up again")
}

func TestPoolOfInstance(t *testing.T) {
	w := newInstanceWorld(t)
	w.make(t, "c1", false)
	var p api.StoragePool
	w.must(t, 200, "GET", "/1.0/storage-pools/tank", "").into(t, &p)
	if !slices.Equal(p.UsedBy, []string{"/1.0/instances/c1", "/1.0/profiles/default"}) {
		t.Error(p.UsedBy)
	}
	w.must(t, 400, "DELETE", "/1.0/storage-pools/tank", "")
}

func TestProjectOverHTTP(t *testing.T) {
	w := newInstanceWorld(t)
	a := w.must(t, 201, "POST", "/1.0/projects", `{"name":"p1","description":"d","storage":"tank"}`)
	if a.Header.Get("Location") != "/1.0/projects/p1" {
		t.Error(a.Header)
	}
	var prof api.Profile
	w.must(t, 200, "GET", "/1.0/profiles/default?project=p1", "").into(t, &prof)
	if prof.Devices["root"]["pool"] != "tank" || prof.Project != "p1" {
		t.Errorf("%+v", prof)
	}
	got := w.must(t, 200, "GET", "/1.0/projects/p1", "")
	w.must(t, 412, "PATCH", "/1.0/projects/p1", `{"config":{"user.a":"1"}}`, "If-Match", "x")
	w.must(t, 200, "PATCH", "/1.0/projects/p1", `{"config":{"user.a":"1"}}`, "If-Match", got.Header.Get("ETag"))
	var p api.Project
	w.must(t, 200, "GET", "/1.0/projects/p1", "").into(t, &p)
	if p.Config["user.a"] != "1" || p.Config["features.images"] != "true" || p.Description != "d" {
		t.Errorf("%+v", p)
	}
	if o := w.finish(t, w.must(t, 202, "POST", "/1.0/projects/p1", `{"name":"p2"}`)); o.Err != "" {
		t.Fatal(o.Err)
	}
	var urls []string
	w.must(t, 200, "GET", "/1.0/projects", "").into(t, &urls)
	if !slices.Equal(urls, []string{"/1.0/projects/default", "/1.0/projects/p2"}) {
		t.Error(urls)
	}
	if o := w.finish(t, w.must(t, 202, "POST", "/1.0/instances?project=p2", `{"name":"c1","source":{"type":"none"}}`)); o.Err != "" {
		t.Fatal(o.Err)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"DELETE", "/1.0/projects/p2", "", 500}, {"POST", "/1.0/projects/p2", `{"name":"p3"}`, 500}, {"DELETE", "/1.0/projects/nope", "", 404},
		{"POST", "/1.0/projects", `{"name":"a/b"}`, 400}, {"POST", "/1.0/projects", `{"name":"x","config":{"bogus":"1"}}`, 400},
		{"POST", "/1.0/projects/default", `{"name":"x"}`, 403}, {"PATCH", "/1.0/projects/default", `{"config":{"features.images":"false"}}`, 400},
	} {
		w.must(t, c.code, c.method, c.path, c.body)
	}
	if o := w.finish(t, w.must(t, 202, "DELETE", "/1.0/instances/c1?project=p2", "")); o.Err != "" {
		t.Fatal(o.Err)
	}
	if o := w.finish(t, w.must(t, 202, "DELETE", "/1.0/projects/p2", "")); o.Err != "" {
		t.Fatal(o.Err)
	}
	w.must(t, 404, "GET", "/1.0/projects/p2", "")
	w.must(t, 404, "GET", "/1.0/instances?project=p2", "")
}
