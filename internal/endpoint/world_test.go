package endpoint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/endpoint"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/server"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// world is a server with the routes that need no instances.
type world struct {
	*httptest.Server
	ops    *op.Manager
	hub    *event.Hub
	svc    *server.Service
	warn   *warning.Service
	who    auth.Identity
	daemon *daemon
	strays strays
}

// daemon stands in for the process.
type daemon struct {
	ready   chan struct{}
	force   bool
	stopped int
	exited  chan bool
	// flaw is what cannot be stopped.
	flaw error
}

func (d *daemon) Await(ctx context.Context) error {
	select {
	case <-d.ready:
		return nil
	default:
	}
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
		return errs.Newf(errs.Unavailable, "not ready")
	}
}

func (d *daemon) Shutdown(_ context.Context, force bool) (func(), error) {
	d.stopped++
	if d.stopped > 1 {
		return nil, errs.Newf(errs.Conflict, "a shutdown is under way")
	}
	d.force = force
	return func() { close(d.exited) }, d.flaw
}

func newWorld(t *testing.T) *world {
	t.Helper()
	hub := event.NewHub("m1")
	st := store.NewMem(store.Options{OnAnnounce: hub.Announce})
	t.Cleanup(func() { _ = st.Close() })
	w := &world{ops: op.NewManager(t.Context(), op.Options{Store: st, Publish: hub, Location: "none"}), hub: hub, svc: &server.Service{Store: st},
		warn:   warning.New(warning.Deps{Store: st, Location: "none"}),
		who:    auth.Identity{Kind: auth.Unix, Name: "root", Address: "@", Admin: true},
		daemon: &daemon{ready: make(chan struct{}), exited: make(chan bool)},
		strays: strays{},
	}
	if err := w.svc.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := &rest.Server{Self: "none", Ops: w.ops, Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(
		endpoint.Server(w.svc, server.Facts{Name: "host"}), endpoint.Operations(w.ops), endpoint.Events(hub, 50*time.Millisecond),
		endpoint.Metadata(endpoint.Tables{"server": server.Table()}), endpoint.Internal(w.daemon), endpoint.Recover(w.strays), endpoint.Warnings(w.warn),
	))
	t.Cleanup(w.Close)
	return w
}

// answer is an envelope.
type answer struct {
	http.Header
	HTTP      int
	Type      string
	Error     string
	ErrorCode int `json:"error_code"`
	Metadata  json.RawMessage
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Metadata, v); err != nil {
		t.Fatalf("%s: %v", a.Metadata, err)
	}
}

func (w *world) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{HTTP: resp.StatusCode, Header: resp.Header}
	_ = json.NewDecoder(resp.Body).Decode(&a) // redirects have no envelope
	return a
}
