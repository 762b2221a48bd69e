package loki_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/loki"
	"lxd/internal/loki/lokitest"
)

// world is a hub, a forwarder, and a server that it forwards to.
type world struct {
	t      *testing.T
	hub    *event.Hub
	to     *lokitest.Server
	f      *loki.Forwarder
	mu     sync.Mutex
	lines  []string
	config loki.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, hub: event.NewHub("none")}
	w.to = &lokitest.Server{Heard: w.heard}
	srv := httptest.NewServer(w.to)
	t.Cleanup(srv.Close)
	w.f = loki.New(w.hub, nil)
	t.Cleanup(func() {
		_ = w.f.Close(context.Background())
		if wrong := w.to.Wrong(); len(wrong) > 0 {
			t.Error("the protocol was broken:", wrong)
		}
	})
	w.config = loki.Config{URL: srv.URL, Instance: "here", Location: "box", Types: []string{event.Lifecycle, event.Logging, event.OVN}}
	return w
}

func (w *world) heard(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

func (w *world) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines)
}

func (w *world) configure(change func(*loki.Config)) {
	w.t.Helper()
	c := w.config
	if change != nil {
		change(&c)
	}
	if err := w.f.Configure(c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) log(level, text string, fields map[string]string) {
	w.publish(event.Logging, "", api.EventLogging{Message: text, Level: level, Context: fields})
}

func (w *world) publish(typ, project string, metadata any) {
	b, err := json.Marshal(metadata)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hub.Publish(api.Event{Type: typ, Timestamp: time.Now(), Metadata: b, Project: project})
}

// await waits for that many lines.
func (w *world) await(n int) []string {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := w.got(); len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			got := w.got()
			w.t.Fatalf("%d lines in 10 s, want %d: %v", len(got), n, got[max(0, len(got)-3):])
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(func(c *loki.Config) { c.Labels, c.Level = []string{"requestor-username", "level", "nosuch"}, "warning" })
	w.publish(event.Lifecycle, "web", api.EventLifecycle{Action: "instance-started", Source: "/1.0/instances/c1?project=web", Name: "c1", Project: "web",
		Context: map[string]any{"n": 1}, Requestor: &api.EventLifecycleRequestor{Username: "ann", Protocol: "tls", Address: "10.0.0.1"}})
	w.log("info", "too small", nil)
	w.log("error", "bad", map[string]string{"err": `a "quoted" word`})
	w.publish(event.Operation, "", api.Operation{})
	w.publish(event.OVN, "", api.EventLogging{Message: "dropped", Level: "warning", Context: map[string]string{"application": "ovn-controller"}})
	got := w.await(3)
	slices.Sort(got)
	want := []string{
		`{app="lxd",instance="here",level="error",location="box",type="logging"} err="a \"quoted\" word" bad`,
		`{app="lxd",instance="here",level="warning",location="box",type="ovn"} application="ovn-controller" dropped`,
		`{app="lxd",instance="here",location="box",requestor_username="ann",type="lifecycle"} action="instance-started" context-n="1" name="c1"` +
			` project="web" requestor-address="10.0.0.1" requestor-protocol="tls" source="/1.0/instances/c1?project=web" instance-started`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := w.to.Pushes(); n != 1 {
		t.Errorf("%d requests for what happened at once", n)
	}
}

// TestLargeAndForeign sends what a server would refuse if it were sent as it is.
func TestLargeAndForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(func(c *loki.Config) { c.Labels = []string{"1st", "app"} })
	w.log("info", strings.Repeat("x", 1<<20), map[string]string{"1st": strings.Repeat("\xff", 5000), "app": "not mine"})
	got := w.await(1)[0]
	if len(got) > 80<<10 || !strings.Contains(got, `_1st="`) || !strings.Contains(got, `app="lxd"`) {
		t.Errorf("%d bytes: %.300s", len(got), got)
	}
}

func TestTriesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.to.Fail(http.StatusInternalServerError, http.StatusTooManyRequests)
	w.configure(nil)
	w.log("info", "one", nil)
	w.await(1)
}

// TestServerComesLater sends nothing to nowhere until there is somebody.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone := httptest.NewServer(w.to)
	address := gone.Listener.Addr().String()
	gone.Close()
	w.configure(func(c *loki.Config) { c.URL = "http://" + address + "/" })
	w.log("info", "early", nil)
	time.Sleep(1200 * time.Millisecond)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip("somebody else took the port: ", err)
	}
	srv := &http.Server{Handler: w.to}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	w.await(1)
}

func TestRefusedIsDropped(t *testing.T) {
	w := newWorld(t)
	w.to.Protect("ann", "secret")
	log := capture(t)
	w.configure(nil)
	w.log("info", "lost", nil)
	time.Sleep(1500 * time.Millisecond)
	w.configure(func(c *loki.Config) { c.Username, c.Password = "ann", "secret" })
	w.log("info", "kept", nil)
	if got := w.await(1); !strings.HasSuffix(got[0], " kept") {
		t.Error(got)
	}
	if said := log.String(); !strings.Contains(said, "401 Unauthorized: who are you?") || !strings.Contains(said, "dropped=1") || strings.Contains(said, "secret") {
		t.Error(said)
	}
}

// TestRefusalIsToldOnce has the log be forwarded too, as the daemon does: a server that refuses everything also refuses to hear of that.
func TestRefusalIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.to.Protect("ann", "secret")
	log := capture(t)
	slog.SetDefault(slog.New(event.NewLogHandler(slog.Default().Handler(), w.hub)))
	w.configure(nil)
	w.log("info", "lost", nil)
	time.Sleep(3500 * time.Millisecond)
	if n := strings.Count(log.String(), "Loki refuses events"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

// TestBounded has a server that takes nothing: what is published is never held up, and what does not fit is counted and told.
func TestBounded(t *testing.T) {
	w := newWorld(t)
	open := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-open
		w.to.ServeHTTP(rw, r)
	}))
	defer slow.Close()
	log := capture(t)
	w.configure(func(c *loki.Config) { c.URL = slow.URL })
	begun := time.Now()
	for i := range 30000 {
		w.log("info", fmt.Sprint("n", i), nil)
		if i%200 == 0 {
			time.Sleep(time.Millisecond) // nobody needs to be ended as too slow for this
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Error("publishing took", took)
	}
	close(open)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "dropped="); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody was told of what was dropped")
		}
	}
	w.log("info", "the last", nil)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := w.got()
		if len(got) > 0 && strings.HasSuffix(got[len(got)-1], "the last") {
			if len(got) > 23000 {
				t.Error("too much was kept:", len(got))
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("what came later did not arrive after", len(got), "lines")
		}
	}
}

// locked is a buffer that several may write to.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// capture keeps what is logged until the test ends.
func capture(t *testing.T) *locked {
	l, old := &locked{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return l
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(nil)
	for i := range 900 { // more than one batch by their size
		w.log("info", fmt.Sprint("n", i, strings.Repeat("x", 1<<10)), nil)
	}
	if err := w.f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.got()); n != 900 {
		t.Errorf("%d lines", n)
	}
	if w.to.Pushes() < 2 {
		t.Error("all in one request")
	}
	if w.hub.Wanted(event.Logging) {
		t.Error("it still listens")
	}
}

// TestCloseDoesNotHang has a server that never answers.
func TestCloseDoesNotHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	never := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-never }))
	defer hung.Close()
	defer close(never)
	w.configure(func(c *loki.Config) { c.URL = hung.URL })
	w.log("info", "one", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := w.f.Close(ctx); err != nil || time.Since(begun) > 2*time.Second {
		t.Error(err, time.Since(begun))
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	srv := httptest.NewTLSServer(w.to)
	defer srv.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	if err := loki.CheckAuthority(ca); err != nil {
		t.Fatal(err)
	}
	w.configure(func(c *loki.Config) { c.URL, c.Authority = srv.URL, ca })
	w.log("info", "sealed", nil)
	w.await(1)
	if err := w.f.Configure(loki.Config{URL: srv.URL, Authority: "no"}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestChecks(t *testing.T) {
	for _, c := range []struct {
		check    func(string) error
		good, no string
	}{
		{loki.CheckURL, "https://loki:3100", "loki:3100"}, {loki.CheckURL, "http://[::1]:3100/base", "http://a:b@c"}, {loki.CheckURL, "http://h", "http://h?x=1"},
		{loki.CheckLevel, "warning", "loud"}, {loki.CheckTypes, "ovn, logging", "lifecycle,operation"},
	} {
		if err := c.check(c.good); err != nil {
			t.Errorf("%s: %v", c.good, err)
		}
		if c.check(c.no) == nil {
			t.Errorf("%s is taken", c.no)
		}
	}
	if loki.CheckAuthority("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n") == nil {
		t.Error("that is no certificate")
	}
	if loki.Severity("error") >= loki.Severity("info") || loki.Severity("what") != loki.Severity("info") {
		t.Error("severities")
	}
}
