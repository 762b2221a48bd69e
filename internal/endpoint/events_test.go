package endpoint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint"
	"lxd/internal/event"
	"lxd/internal/rest"
)

func (w *world) listen(t *testing.T, query string, header http.Header) (*websocket.Conn, int) {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.URL, "http")+"/1.0/events"+query, header)
	if err != nil && resp == nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { conn.Close() })
	return conn, resp.StatusCode
}

// await returns once the hub has a listener for the type.
func (w *world) await(t *testing.T, typ string, wanted bool) {
	t.Helper()
	for range 500 {
		if w.hub.Wanted(typ) == wanted {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("listener for %s: never %v", typ, wanted)
}

func TestEventsAreFiltered(t *testing.T) {
	for query, want := range map[string]string{
		"":                                  "operation/default logging/ lifecycle/default",
		"?type=lifecycle":                   "lifecycle/default",
		"?type=lifecycle,operation":         "operation/default lifecycle/default",
		"?project=p":                        "operation/p logging/",
		"?all-projects=true&type=operation": "operation/default operation/p",
	} {
		t.Run(query, func(t *testing.T) {
			w := newWorld(t)
			conn, code := w.listen(t, query, nil)
			if code != http.StatusSwitchingProtocols {
				t.Fatal(code)
			}
			n := len(strings.Fields(want))
			w.await(t, strings.Split(strings.Fields(want)[0], "/")[0], true)
			w.hub.Publish(api.Event{Type: event.Operation, Project: "default", Metadata: json.RawMessage("{}")})
			w.hub.Publish(api.Event{Type: event.Operation, Project: "p", Metadata: json.RawMessage("{}")})
			w.hub.Publish(api.Event{Type: event.Logging, Metadata: json.RawMessage("{}")})
			w.hub.Publish(api.Event{Type: event.Lifecycle, Project: "default", Metadata: json.RawMessage("{}")})
			var got []string
			for range n {
				var ev api.Event
				if err := conn.ReadJSON(&ev); err != nil {
					t.Fatal(got, err)
				}
				got = append(got, ev.Type+"/"+ev.Project)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("got %v, want %s", got, want)
			}
		})
	}
}

func TestEventsAreRefused(t *testing.T) {
	w := newWorld(t)
	if a := w.do(t, "GET", "/1.0/events", ""); a.HTTP != 400 {
		t.Error("without upgrade:", a)
	}
	for _, c := range []struct {
		query  string
		who    auth.Identity
		header http.Header
		code   int
	}{
		{"?type=gossip", w.who, nil, 400},
		{"", w.who, http.Header{"Origin": {"http://evil.example"}, "User-Agent": {"Mozilla/5.0"}}, 403},
		{"", w.who, http.Header{"Origin": {"null"}, "User-Agent": {"Mozilla/5.0"}}, 403},
		{"", w.who, http.Header{"Origin": {"http://localhost:1"}, "User-Agent": {"python"}}, 101},
		{"", auth.Identity{}, nil, 403},
		{"", auth.Identity{Kind: auth.TLS}, nil, 403},
		{"?type=logging", viewer(), nil, 403},
		{"?all-projects=1", viewer(), nil, 403},
		{"?type=operation", viewer(), nil, 101},
		{"", viewer(), nil, 101},
	} {
		w.who = c.who
		if _, code := w.listen(t, c.query, c.header); code != c.code {
			t.Errorf("%s as %q: %d, want %d", c.query, c.who.Kind, code, c.code)
		}
	}
}

type projectViewer struct{}

func (projectViewer) Allows(o auth.Object, entitlement string) bool {
	return o.Entity == "project" && o.URL == "/1.0/projects/default" && entitlement == "can_view_events"
}

func viewer() auth.Identity {
	return auth.Identity{Kind: auth.OIDC, Name: "jane", Rights: projectViewer{}}
}

// Who may not see what happens in the project follows its own work.
func TestOwnOperationsAreHeard(t *testing.T) {
	w := newWorld(t)
	w.who = auth.Identity{Kind: auth.TLS, Name: "jane", FineGrained: true}
	if _, code := w.listen(t, "?type=lifecycle", nil); code != 403 {
		t.Error("lifecycle events:", code)
	}
	conn, code := w.listen(t, "", nil)
	if code != http.StatusSwitchingProtocols {
		t.Fatal(code)
	}
	w.await(t, event.Operation, true)
	publish := func(typ, name, protocol string) {
		o := api.Operation{ID: typ + name + protocol, Requestor: &api.OperationRequestor{Username: name, Protocol: protocol}}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		w.hub.Publish(api.Event{Type: typ, Project: "p", Metadata: b})
	}
	w.hub.Publish(api.Event{Type: event.Operation, Metadata: json.RawMessage("{}")})
	publish(event.Operation, "joe", "tls")
	publish(event.Operation, "jane", "oidc")
	publish(event.Lifecycle, "jane", "tls")
	publish(event.Operation, "jane", "tls")
	var ev api.Event
	if err := conn.ReadJSON(&ev); err != nil || ev.Type != event.Operation || !strings.Contains(string(ev.Metadata), "operationjanetls") {
		t.Error(ev, err)
	}
}

func TestListenersArePingedAndForgotten(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.listen(t, "?type=lifecycle", nil)
	pinged := make(chan bool, 1)
	conn.SetPingHandler(func(string) error {
		select {
		case pinged <- true:
		default:
		}
		return nil
	})
	go func() { _, _, _ = conn.NextReader() }()
	select {
	case <-pinged:
	case <-time.After(5 * time.Second):
		t.Error("no ping")
	}
	conn.Close()
	w.await(t, event.Lifecycle, false)
}

// lagging is a source whose listeners are always too slow.
type lagging struct{}

func (lagging) Listen(context.Context, event.Filter) <-chan api.Event {
	ch := make(chan api.Event)
	close(ch)
	return ch
}

func TestSlowListenerIsToldAndEnded(t *testing.T) {
	srv := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return auth.Identity{Kind: auth.Unix, Admin: true}, nil }}
	srv.SetPhase(rest.Serving)
	w := &world{Server: httptest.NewServer(srv.Handler(endpoint.Events(lagging{}, 0)))}
	defer w.Close()
	conn, _ := w.listen(t, "", nil)
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) || !strings.Contains(err.Error(), "too slow") {
		t.Error(err)
	}
}

func TestChangesOfTheServerAreHeard(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.listen(t, "?type=lifecycle", nil)
	w.await(t, event.Lifecycle, true)
	w.do(t, "PATCH", "/1.0", `{"config":{"user.a":"1"}}`)
	var ev struct{ Metadata api.EventLifecycle }
	if err := conn.ReadJSON(&ev); err != nil {
		t.Fatal(err)
	}
	if m := ev.Metadata; m.Action != "config-updated" || m.Source != "/1.0" || m.Requestor.Username != "root" || m.Requestor.Protocol != "unix" {
		t.Errorf("%+v", m)
	}
}
