package client_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/client"
)

func TestSocketPath(t *testing.T) {
	for name, c := range map[string]struct{ path, socket, dir, want string }{
		"given":       {"/x/s", "/a", "/b", "/x/s"},
		"environment": {"", "/a/s", "/b", "/a/s"},
		"directory":   {"", "", "/b", "/b/unix.socket"},
		"default":     {"", "", "", client.DefaultDir + "/unix.socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LXD_SOCKET", c.socket)
			t.Setenv("LXD_DIR", c.dir)
			if got := client.SocketPath(c.path); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestConnectUnixSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file + "x":   "not found: Please check LXD is running",
		file:         "is not a socket",
		file + "/in": "not accessible",
	} {
		if _, err := client.ConnectUnix(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestURL(t *testing.T) {
	c, err := client.ConnectHTTPS("https://host:8443/", &tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	scoped := c.InProject("a b").OnTarget("m1")
	for path, want := range map[string]string{
		"/1.0":                        "https://host:8443/1.0?project=a+b&target=m1",
		"/1.0?recursion=1":            "https://host:8443/1.0?recursion=1&project=a+b&target=m1",
		"/1.0?project=x":              "https://host:8443/1.0?project=x&target=m1",
		"/1.0?all-projects=true":      "https://host:8443/1.0?all-projects=true&target=m1",
		"/1.0?project=x&target=other": "https://host:8443/1.0?project=x&target=other",
	} {
		if got := scoped.URL(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if got := c.URL("/1.0"); got != "https://host:8443/1.0" {
		t.Errorf("scoping a client changed the one that it came from: %s", got)
	}
	if _, err := client.ConnectHTTPS("http://host", &tls.Config{}); err == nil {
		t.Error("an address without TLS was accepted")
	}
}

func TestPath(t *testing.T) {
	if got := client.Path("images", "aliases", "a/b c"); got != "/1.0/images/aliases/a%2Fb%20c" {
		t.Errorf("got %s", got)
	}
	for in, want := range map[string]string{"/1.0/instances/c1?project=x": "c1", "/1.0/images/aliases/a%2Fb": "a/b", "c1": "c1", "/1.0/x/%zz": "%zz"} {
		if got := client.Base(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestGet(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"/1.0/profiles/p":  reply(api.ResponseTypeSync, api.Profile{Name: "p", Description: `with "quotes"`}),
		"/1.0/profiles/no": refuse(404, 404, "Profile not found"),
		"/1.0/profiles/in": reply(api.ResponseTypeSync, 12),
		"/1.0/page":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"/1.0/profiles":    reply(api.ResponseTypeSync, []string{"/1.0/profiles/p", "/1.0/profiles/a%2Fb"}),
		"/1.0":             reply(api.ResponseTypeSync, api.Server{AuthUserName: "me"}),
	})
	ctx := t.Context()
	var p api.Profile
	etag, err := c.Get(ctx, "/1.0/profiles/p", &p)
	if err != nil || etag != "tag1" || p.Description != `with "quotes"` {
		t.Errorf("got %q, %v, %v", etag, p, err)
	}
	_, err = c.Get(ctx, "/1.0/profiles/no", &p)
	if !client.IsNotFound(err) || client.StatusOf(err) != 404 || err.Error() != "Profile not found" {
		t.Errorf("got %v", err)
	}
	if _, err = c.Get(ctx, "/1.0/profiles/in", &p); err == nil || client.StatusOf(err) != 0 {
		t.Errorf("metadata of another form gave %v", err)
	}
	if _, err = c.Get(ctx, "/1.0/page", &p); err == nil || !strings.Contains(err.Error(), "not of the LXD API") {
		t.Errorf("a page gave %v", err)
	}
	names, err := c.Names(ctx, "/1.0/profiles")
	if err != nil || strings.Join(names, " ") != "p a/b" {
		t.Errorf("got %v, %v", names, err)
	}
	if s, err := c.Server(ctx); err != nil || s.AuthUserName != "me" {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestSendCarriesBodyAndETag(t *testing.T) {
	var got string
	c := serve(t, map[string]http.HandlerFunc{"PUT /1.0/profiles/p": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Header.Get("If-Match") + " " + r.Header.Get("Content-Type") + " " + string(body)
		reply(api.ResponseTypeSync, nil)(w, r)
	}})
	op, err := c.Send(t.Context(), "PUT", "/1.0/profiles/p", map[string]string{"description": "x"}, "tag9")
	if err != nil || op != nil {
		t.Fatalf("got %v, %v", op, err)
	}
	if got != `tag9 application/json {"description":"x"}` {
		t.Errorf("sent %s", got)
	}
	if err := op.Wait(t.Context()); err != nil {
		t.Errorf("waiting for what was done at once: %v", err)
	}
}

func TestOperations(t *testing.T) {
	running := api.Operation{ID: "id1", StatusCode: api.StatusRunning, Metadata: map[string]any{"entity_url": "/1.0/instances/new"}}
	done := api.Operation{ID: "id1", StatusCode: api.StatusSuccess, Metadata: map[string]any{"x": "y"}}
	deleted := false
	c := serve(t, map[string]http.HandlerFunc{
		"POST /1.0/instances":          reply(api.ResponseTypeAsync, running),
		"GET /1.0/operations/id1/wait": reply(api.ResponseTypeSync, done),
		"GET /1.0/operations/id1":      reply(api.ResponseTypeSync, running),
		"DELETE /1.0/operations/id1":   func(w http.ResponseWriter, r *http.Request) { deleted = true; reply(api.ResponseTypeSync, nil)(w, r) },
		"POST /1.0/bad":                reply(api.ResponseTypeAsync, api.Operation{ID: "id2"}),
		// A failed operation is told under HTTP status 200.
		"GET /1.0/operations/id2/wait": refuse(200, 500, "it broke"),
	})
	op, err := c.Send(t.Context(), "POST", "/1.0/instances", nil, "")
	if err != nil || op.EntityURL("instance") != "/1.0/instances/new" {
		t.Fatalf("got %v, %v", op, err)
	}
	if err := op.Wait(t.Context()); err != nil || op.Metadata["x"] != "y" {
		t.Errorf("got %v, %v", op, err)
	}
	if err := c.Apply(t.Context(), "POST", "/1.0/bad", nil, ""); err == nil || err.Error() != "it broke" {
		t.Errorf("got %v", err)
	}
	if op, err = c.Operation(t.Context(), "id1"); err != nil || op.StatusCode != api.StatusRunning {
		t.Errorf("got %v, %v", op, err)
	}
	if err := op.Cancel(t.Context()); err != nil || !deleted {
		t.Errorf("cancelling: %v, reached the server: %v", err, deleted)
	}
}

func TestEntityURLOfOlderServers(t *testing.T) {
	for name, resources := range map[string]map[string][]string{"singular": {"instance": {"/1.0/instances/a"}}, "plural": {"instances": {"/1.0/instances/a"}}} {
		op := client.Operation{Operation: api.Operation{Resources: resources}}
		if got := op.EntityURL("instance"); got != "/1.0/instances/a" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := (&client.Operation{}).EntityURL("instance"); got != "" {
		t.Errorf("got %q from nothing", got)
	}
}

func TestHTTPS(t *testing.T) {
	srv := httptest.NewTLSServer(reply(api.ResponseTypeSync, api.Server{AuthUserName: "tls"}))
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c, err := client.ConnectHTTPS(srv.URL, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Server(t.Context()); err != nil || s.AuthUserName != "tls" {
		t.Errorf("got %v, %v", s, err)
	}
	stranger, err := client.ConnectHTTPS(srv.URL, &tls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Server(t.Context()); err == nil {
		t.Error("a certificate that nobody vouches for was trusted")
	}
}

func TestRawBodies(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{"POST /1.0/x": func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		reply(api.ResponseTypeSync, r.Header.Get("Content-Type")+" "+string(body))(w, r)
	}})
	for want, body := range map[string]any{`application/json {"a":1}`: json.RawMessage(`{"a":1}`), "application/octet-stream bytes": strings.NewReader("bytes"), " ": nil} {
		answer, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/1.0/x", Body: body})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal(answer.Metadata, &got); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

// TestLongStreams sends a stream that is longer than what is sent at a time, whole or with an error in the middle.
func TestLongStreams(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{"POST /1.0/x": func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		reply(api.ResponseTypeSync, sha256.Sum256(body))(w, r)
	}})
	long := bytes.Repeat([]byte("0123456789abcdef "), 50_000)
	answer, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/1.0/x", Body: iotest.HalfReader(bytes.NewReader(long))})
	if err != nil {
		t.Fatal(err)
	}
	var got [sha256.Size]byte
	if err := json.Unmarshal(answer.Metadata, &got); err != nil || got != sha256.Sum256(long) {
		t.Errorf("received something else: %v", err)
	}
	broken := errors.New("the disk is broken")
	_, err = c.Do(t.Context(), client.Request{Method: "POST", Path: "/1.0/x", Body: io.MultiReader(bytes.NewReader(long), iotest.ErrReader(broken))})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// TestSocketOfAnother: a user who may not use the socket is told who may.
func TestSocketOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user's socket takes root to make")
	}
	dir, err := os.MkdirTemp("/tmp", "lxdc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, whose user was changed, ends with this
		if err := unix.Setfsuid(65534); err != nil {
			done <- err
			return
		}
		c, err := client.ConnectUnix(socket)
		if err == nil {
			_, err = c.Websocket(t.Context(), "id", "secret")
		}
		done <- err
	}()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "--group") {
		t.Error(err)
	}
}
