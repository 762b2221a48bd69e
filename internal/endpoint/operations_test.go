package endpoint_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/op"
)

const secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (w *world) start(t *testing.T, s op.Spec) *op.Operation {
	t.Helper()
	o, err := w.ops.Start(op.WithCaller(t.Context(), op.Caller{Username: "root", Protocol: "unix"}), s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func forever(ctx context.Context, _ *op.Task) error { <-ctx.Done(); return ctx.Err() }

func fails(context.Context, *op.Task) error { return errs.Newf(errs.Conflict, "taken") }

func TestOperationsAreListedByStatus(t *testing.T) {
	w := newWorld(t)
	if a := w.do(t, "GET", "/1.0/operations", ""); string(a.Metadata) != "{}" {
		t.Error(a)
	}
	running := w.start(t, op.Spec{Project: "p", Run: forever})
	failed := w.start(t, op.Spec{Project: "default", Run: fails})
	_ = failed.Wait(t.Context())
	for url, want := range map[string]string{
		"/1.0/operations":                   `{"failure":["` + failed.URL() + `"]}`,
		"/1.0/operations?project=p":         `{"running":["` + running.URL() + `"]}`,
		"/1.0/operations?all-projects=true": `{"failure":["` + failed.URL() + `"],"running":["` + running.URL() + `"]}`,
	} {
		if a := w.do(t, "GET", url, ""); string(a.Metadata) != want {
			t.Errorf("%s: %s", url, a.Metadata)
		}
	}
	var all map[string][]api.Operation
	w.do(t, "GET", "/1.0/operations?recursion=1", "").into(t, &all)
	if len(all) != 1 || all["failure"][0].ID != failed.ID() || all["failure"][0].Err != "taken" {
		t.Error(all)
	}
	w.who = auth.Identity{Kind: auth.TLS, Name: "other"}
	if a := w.do(t, "GET", "/1.0/operations?all-projects=true", ""); string(a.Metadata) != "{}" {
		t.Error("another one's operations are shown", a)
	}
}

func TestOperationIsShownAndCancelled(t *testing.T) {
	w := newWorld(t)
	o := w.start(t, op.Spec{Project: "p", Run: forever})
	var a api.Operation
	w.do(t, "GET", o.URL()+"?project=other", "").into(t, &a)
	if a.ID != o.ID() || a.Status != "Running" || !a.MayCancel {
		t.Errorf("%+v", a)
	}
	w.who = auth.Identity{Kind: auth.TLS, Name: "other"}
	if a := w.do(t, "DELETE", o.URL(), ""); a.HTTP != 403 {
		t.Error("a stranger cancels", a)
	}
	for _, path := range []string{o.URL(), o.URL() + "/wait"} {
		if a := w.do(t, "GET", path, ""); a.HTTP != 403 {
			t.Error("a stranger sees it", path, a)
		}
	}
	w.who.FineGrained = true
	if a := w.do(t, "GET", o.URL(), ""); a.HTTP != 404 {
		t.Error("a stranger learns that there is one", a)
	}
	w.who = auth.Identity{Kind: auth.Unix, Name: "root"} // not an admin, but its own
	if a := w.do(t, "DELETE", o.URL(), ""); a.HTTP != 200 || string(a.Metadata) != "{}" {
		t.Error(a)
	}
	_ = o.Wait(t.Context())
	if a := w.do(t, "DELETE", o.URL(), ""); a.HTTP != 400 {
		t.Error("an ended one is cancelled", a)
	}
	for _, c := range []string{"GET /1.0/operations/x", "DELETE /1.0/operations/x", "GET /1.0/operations/x/wait", "GET /1.0/operations/x/websocket"} {
		method, url, _ := strings.Cut(c, " ")
		if a := w.do(t, method, url, ""); a.HTTP != 404 {
			t.Error(c, a)
		}
	}
}

func TestWaitAnswersInTheBody(t *testing.T) {
	w := newWorld(t)
	good := w.start(t, op.Spec{Run: func(context.Context, *op.Task) error { return nil }})
	bad := w.start(t, op.Spec{Run: fails})
	plain := w.start(t, op.Spec{Run: func(context.Context, *op.Task) error { return errors.New("ouch") }})
	long := w.start(t, op.Spec{Run: forever})
	for name, c := range map[string]struct {
		url       string
		code, err int
		say       string
	}{
		"success":          {good.URL() + "/wait", 200, 0, ""},
		"success, limited": {good.URL() + "/wait?timeout=10", 200, 0, ""},
		"no limit":         {good.URL() + "/wait?timeout=-1", 200, 0, ""},
		"failure":          {bad.URL() + "/wait", 200, 409, "taken"},
		"failure, no kind": {plain.URL() + "/wait", 200, 500, "ouch"},
		"time is up":       {long.URL() + "/wait?timeout=0", 200, 500, "has not ended within 0 seconds"},
		"bad timeout":      {good.URL() + "/wait?timeout=soon", 500, 500, "must be a number"},
	} {
		a := w.do(t, "GET", c.url, "")
		if a.HTTP != c.code || a.ErrorCode != c.err || !strings.Contains(a.Error, c.say) || (a.Type == "error") != (c.err != 0) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	var a api.Operation
	w.do(t, "GET", bad.URL(), "").into(t, &a)
	if a.StatusCode != 400 || a.Err != "taken" {
		t.Error("GET of a failed operation is a success that shows it", a)
	}
}

func TestWaitSendsItsHeaderAtOnce(t *testing.T) {
	w := newWorld(t)
	o := w.start(t, op.Spec{Run: forever})
	resp, err := http.Get(w.URL + o.URL() + "/wait") // returns when the header is there
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := o.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), `"type":"error"`) {
		t.Error(string(b), err)
	}
}

func TestStrangersWaitWithASecret(t *testing.T) {
	w := newWorld(t)
	known := strings.Repeat("f", 64) // everybody may know the fingerprint of an image or a server
	o := w.start(t, op.Spec{Metadata: map[string]any{"control": secret, "short": "x", "fingerprint": known, "entity_url": known}, Run: func(context.Context, *op.Task) error { return nil }})
	w.who = auth.Identity{}
	for query, code := range map[string]int{"": 403, "?secret=x": 403, "?secret=" + known: 403, "?secret=" + secret: 200} {
		if a := w.do(t, "GET", o.URL()+"/wait"+query, ""); a.HTTP != code {
			t.Error(query, a)
		}
	}
	if a := w.do(t, "GET", "/1.0/operations/x/wait", ""); a.HTTP != 403 {
		t.Error("strangers learn which operations exist", a)
	}
}

func TestWebsocketOfAnOperation(t *testing.T) {
	w := newWorld(t)
	task := w.start(t, op.Spec{Run: forever})
	if a := w.do(t, "GET", task.URL()+"/websocket", ""); a.HTTP != 500 {
		t.Error(a)
	}
	callers := make(chan op.Caller, 1)
	ws := w.start(t, op.Spec{Class: op.WebsocketClass, Run: forever, Connect: func(_ http.ResponseWriter, r *http.Request) error {
		callers <- op.CallerOf(r.Context())
		return errs.Newf(errs.Forbidden, "wrong secret")
	}})
	if a := w.do(t, "GET", ws.URL()+"/websocket?secret=x", ""); a.HTTP != 403 {
		t.Error(a)
	}
	select {
	case c := <-callers:
		if c.Username != "root" || c.Protocol != "unix" {
			t.Error(c)
		}
	case <-time.After(time.Second):
		t.Error("Connect was not called")
	}
	if err := ws.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = ws.Wait(t.Context())
	if a := w.do(t, "GET", ws.URL()+"/websocket", ""); a.HTTP != 400 {
		t.Error(a)
	}
}

func TestSecretsOfOperationsAreForWhoStartedThem(t *testing.T) {
	w := newWorld(t)
	for _, class := range []op.Class{op.TokenClass, op.WebsocketClass, op.TaskClass} {
		o := w.start(t, op.Spec{Project: "default", Class: class, Run: forever, Metadata: map[string]any{
			"secret": secret, "fds": map[string]any{"0": secret}, "entity_url": "/1.0/instances/c1"}})
		for _, c := range []struct {
			who  auth.Identity
			says bool
		}{
			{auth.Identity{Kind: auth.Unix, Name: "boss", Admin: true}, true},
			{auth.Identity{Kind: auth.Unix, Name: "root", FineGrained: true, Rights: onlookers{}}, true}, // its own
			{auth.Identity{Kind: auth.TLS, Name: "root", FineGrained: true, Rights: onlookers{}}, class == op.TaskClass},
			{auth.Identity{Kind: auth.TLS, Name: "restricted", Rights: onlookers{}}, class == op.TaskClass},
		} {
			w.who = c.who
			for _, path := range []string{o.URL(), "/1.0/operations?recursion=1"} {
				a := w.do(t, "GET", path, "")
				if a.HTTP != 200 || strings.Contains(string(a.Metadata), secret) != c.says || !strings.Contains(string(a.Metadata), "/1.0/instances/c1") {
					t.Errorf("%s %v: %s: %d %s", class, c.who.Name, path, a.HTTP, a.Metadata)
				}
			}
		}
		w.who = auth.Identity{Kind: auth.TLS, Name: "watcher", FineGrained: true, Rights: onlookers{}}
		conn, code := w.listen(t, "?type=operation", nil)
		if code != http.StatusSwitchingProtocols {
			t.Fatal(code)
		}
		w.await(t, "operation", true)
		if err := o.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, text, err := conn.ReadMessage()
		if err != nil || strings.Contains(string(text), secret) != (class == op.TaskClass) || !strings.Contains(string(text), o.ID()) {
			t.Errorf("%s: %s %v", class, text, err)
		}
		_ = conn.Close()
		_ = o.Wait(t.Context())
	}
}

// onlookers may watch what happens and nothing else.
type onlookers struct{}

func (onlookers) Allows(_ auth.Object, entitlement string) bool {
	return entitlement == "can_view_operations" || entitlement == "can_view_events"
}
