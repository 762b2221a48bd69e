package devlxd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/devlxd"
	"lxd/internal/errs"
	"lxd/internal/identity/bearer"
	"lxd/internal/image"
	"lxd/internal/instance"
)

// world is one instance, c1, that this process plays the guest of.
type world struct {
	mu    sync.Mutex
	guest instance.Guest
	off   bool
	img   api.Image
	file  string
	svc   *devlxd.Service
	at    instance.Socket
	http  *http.Client
}

func (w *world) Guest(context.Context, string, string) (instance.Guest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return instance.Guest{}, errs.Newf(errs.Forbidden, "off")
	}
	return w.guest, nil
}

func (w *world) SetReady(_ context.Context, _, _ string, ready bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guest.Ready = ready
	return nil
}

// Namespace is that of this process: so its connections are the guest's.
func (w *world) Namespace(_, _, kind string) (*os.File, error) {
	return os.Open("/proc/self/ns/" + kind)
}

func (w *world) Get(_ context.Context, _, prefix string) (api.Image, any, error) {
	if prefix != w.img.Fingerprint {
		return api.Image{}, nil, errs.Newf(errs.NotFound, "image not found")
	}
	return w.img, nil, nil
}

func (w *world) Export(context.Context, string, string) ([]image.Part, error) {
	f, err := os.Open(w.file)
	return []image.Part{{Name: "metadata", Filename: "x.tar", File: f}}, err
}

// set changes a key and tells of it.
func (w *world) set(change func(g *instance.Guest)) {
	w.mu.Lock()
	g := w.guest
	g.Config, g.Devices = map[string]string{}, instance.Devices{}
	for k, v := range w.guest.Config {
		g.Config[k] = v
	}
	for k, v := range w.guest.Devices {
		g.Devices[k] = v
	}
	change(&g)
	w.guest = g
	w.mu.Unlock()
	w.svc.Changed(context.Background(), "default", "c1")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{guest: instance.Guest{Project: "default", Name: "c1", Location: "none", Type: "container",
		Config:  map[string]string{"user.a": "1", "limits.cpu": "2", "cloud-init.user-data": "#cloud-config", "volatile.cloud-init.instance-id": "id1", "user.meta-data": "k: v\n"},
		Devices: instance.Devices{"eth0": {"type": "nic", "hwaddr": "00:16:3e:00:00:01"}}}}
	w.file = filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(w.file, []byte("the image"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.svc = devlxd.New(devlxd.Deps{Images: w, Bearers: bearers{}, Drivers: []api.ServerStorageDriverInfo{{Name: "dir"}}})
	w.svc.Use(w)
	// a path longer than those of sockets may be
	parent := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	w.at = instance.Socket{Project: "default", Name: "c1", Dir: filepath.Join(parent, "devlxd"), Owner: os.Getuid()}
	if err := w.svc.Open(w.at); err != nil {
		t.Fatal(err)
	}
	w.http = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return w.dial() }}}
	t.Cleanup(func() {
		w.http.CloseIdleConnections()
		if err := w.svc.Close(w.at.Dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(w.at.Dir); err == nil {
			t.Error("the folder is left")
		}
		if err := w.svc.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) dial() (net.Conn, error) {
	dir, err := os.Open(w.at.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/sock", dir.Fd()))
}

// call sends a request as the guest.
func (w *world) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://lxd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func TestAnswers(t *testing.T) {
	w := newWorld(t)
	w.img = api.Image{Fingerprint: "abc"}
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/", "", 200, `["/1.0"]`},
		{"GET", "/1.0", "", 200, `{"state":"Started","api_version":"1.0","instance_type":"container","location":"none","auth":"untrusted","supported_storage_drivers":[{"name":"dir","remote":false}]}`},
		{"GET", "/1.0/config", "", 200, `["/1.0/config/cloud-init.user-data","/1.0/config/user.a","/1.0/config/user.meta-data"]`},
		{"GET", "/1.0/config/user.a", "", 200, "1"},
		{"GET", "/1.0/config/user.none", "", 404, "the key is not set"},
		{"GET", "/1.0/config/limits.cpu", "", 403, "only keys that begin with user. or cloud-init. can be read"},
		{"GET", "/1.0/config/volatile.uuid", "", 403, "only keys that begin with user. or cloud-init. can be read"},
		{"GET", "/1.0/meta-data", "", 200, "#cloud-config\ninstance-id: id1\nlocal-hostname: c1\nk: v"},
		{"GET", "/1.0/devices", "", 200, `{"eth0":{"hwaddr":"00:16:3e:00:00:01","type":"nic"}}`},
		{"GET", "/1.0/ubuntu-pro", "", 200, `{"guest_attach":"off"}`},
		{"POST", "/1.0/ubuntu-pro/token", "", 403, "ubuntu_pro.guest_attach is off for this instance"},
		{"GET", "/1.0/storage-pools/default", "", 403, "security.devlxd.management.volumes is off for this instance"},
		{"GET", "/1.0/events?type=operation", "", 403, `event type "operation": it is config or device`},
		{"PATCH", "/1.0", `{"state": "Busy"}`, 400, `state "Busy": it is Started or Ready`},
		{"PATCH", "/1.0", `{`, 500, "request body: unexpected EOF"},
		{"PATCH", "/1.0", `{"state": "` + strings.Repeat("x", 70<<10) + `"}`, 500, "request body: http: request body too large"},
		{"PATCH", "/1.0", `{"state": "Ready"}`, 200, ""},
		{"GET", "/1.0/nothing", "", 404, "404 page not found"},
		{"PUT", "/1.0", "", 405, "Method Not Allowed"},
		{"GET", "/1.0/images/abc/export", "", 403, `{"type":"error","status":"","status_code":0,"operation":"","error_code":403,"error":"security.devlxd.images is off for this instance","metadata":null}`},
	} {
		if code, got := w.call(t, c.method, c.path, c.body); code != c.code || got != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, got)
		}
	}
	if !w.guest.Ready {
		t.Error("not ready")
	}
	if _, got := w.call(t, "GET", "/1.0", ""); !strings.Contains(got, `"state":"Ready"`) {
		t.Error(got)
	}
	w.off = true
	if code, got := w.call(t, "GET", "/1.0", ""); code != 403 || got != "off" {
		t.Error(code, got)
	}
}

func TestImages(t *testing.T) {
	w := newWorld(t)
	w.img = api.Image{Fingerprint: "abc"}
	w.guest.Config["security.devlxd.images"] = "true"
	if code, got := w.call(t, "GET", "/1.0/images/abc/export", ""); code != 404 || !strings.Contains(got, "image not found") {
		t.Error("a private image:", code, got)
	}
	w.img.Cached = true
	if code, got := w.call(t, "GET", "/1.0/images/abc/export", ""); code != 200 || got != "the image" {
		t.Error(code, got)
	}
	if code, _ := w.call(t, "GET", "/1.0/images/abc/export?project=other", ""); code != 403 {
		t.Error("another project:", code)
	}
}

// TestEvents listens over a websocket and to a stream.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return w.dial() }}
	conn, _, err := dialer.Dial("ws://lxd/1.0/events?type=config", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := w.http.Get("http://lxd/1.0/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w.set(func(g *instance.Guest) { g.Config["limits.cpu"] = "3" }) // none of the guest's business
	w.set(func(g *instance.Guest) {
		g.Config["user.a"] = "2"
		g.Devices["eth0"] = map[string]string{"type": "nic", "name": "x"}
		g.Devices["new"] = map[string]string{"type": "disk"}
	})
	w.set(func(g *instance.Guest) { delete(g.Devices, "new") })
	stream := bufio.NewScanner(resp.Body)
	for _, want := range []string{
		`config map[key:user.a old_value:1 value:2]`, `device map[action:updated config:map[name:x type:nic] name:eth0]`,
		`device map[action:added config:map[type:disk] name:new]`, `device map[action:removed config:map[type:disk] name:new]`,
	} {
		if !stream.Scan() {
			t.Fatal(stream.Err())
		}
		if got := shown(t, stream.Bytes()); got != want {
			t.Errorf("stream: %s, not %s", got, want)
		}
		if strings.HasPrefix(want, "config") {
			if _, b, err := conn.ReadMessage(); err != nil || shown(t, b) != want {
				t.Errorf("websocket: %s %v", b, err)
			}
		}
	}
	w.set(func(g *instance.Guest) { delete(g.Config, "user.a") })
	if _, b, err := conn.ReadMessage(); err != nil || shown(t, b) != `config map[key:user.a old_value:2 value:]` {
		t.Errorf("after devices: %s %v", b, err)
	}
}

func shown(t *testing.T, b []byte) string {
	t.Helper()
	var e struct {
		Type      string
		Timestamp time.Time
		Metadata  map[string]any
	}
	if err := json.Unmarshal(b, &e); err != nil || time.Since(e.Timestamp) > time.Minute {
		t.Fatal(string(b), err)
	}
	return fmt.Sprint(e.Type, " ", e.Metadata)
}

// TestStrangers are refused: another user, and a process of another namespace.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	other := w.at
	other.Dir, other.Owner = w.at.Dir+"2", os.Getuid()+1
	if os.Getuid() != 0 {
		t.Skip("needs root, to give the socket to another user")
	}
	if err := w.svc.Open(other); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.svc.Close(other.Dir); err != nil {
			t.Error(err)
		}
	}()
	w.at, other = other, w.at
	if code, got := w.call(t, "GET", "/1.0", ""); code != 403 || got != "only root may ask the server" {
		t.Error(code, got)
	}
	w.at, other = other, w.at
}

// TestRestart opens the socket anew where an earlier daemon has left its own.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	if err := w.svc.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.http.CloseIdleConnections()
	if c, err := w.dial(); err == nil {
		t.Error("nobody should listen", c.Close())
	}
	next := devlxd.New(devlxd.Deps{Instances: w, Images: w})
	if err := next.Open(w.at); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := next.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if code, got := w.call(t, "GET", "/", ""); code != 200 {
		t.Error(code, got)
	}
	w.http.CloseIdleConnections()
}

// TestCrowd: connections beyond those that an instance may have are closed, slow ones are ended, and others are served.
func TestCrowd(t *testing.T) {
	w := newWorld(t)
	var open []net.Conn
	for range 200 {
		c, err := w.dial()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	closed := 0
	for _, c := range open {
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == io.EOF {
			closed++
		}
	}
	if closed != 200-64 {
		t.Errorf("%d of 200 connections were closed", closed)
	}
	for _, c := range open {
		_ = c.Close()
	}
	for until := time.Now().Add(5 * time.Second); ; {
		r, err := w.http.Get("http://lxd/1.0")
		if err == nil {
			_ = r.Body.Close()
			break
		}
		if time.Now().After(until) {
			t.Fatal("no room again:", err)
		}
	}
	c, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)) // ended in the middle
	}()
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge head: %v %v", resp, err)
	}
}

// TestPace: a guest that goes on asking is slowed down.
func TestPace(t *testing.T) {
	w := newWorld(t)
	begun := time.Now()
	for range 300 {
		if code, got := w.call(t, "GET", "/", ""); code != 200 {
			t.Fatal(code, got)
		}
	}
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("300 requests took %v", took)
	}
}

// bearers know one token.
type bearers struct{}

func (bearers) Guest(_ context.Context, token, address string) (auth.Identity, error) {
	if token != "good" || address != "instance default/c1" {
		return auth.Identity{}, bearer.ErrInvalid
	}
	return auth.Identity{Kind: auth.Bearer, Name: "me"}, nil
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.set(func(g *instance.Guest) { g.Config["security.devlxd.management.volumes"] = "true" })
	for _, c := range []struct {
		header, path string
		code         int
		want         string
	}{
		{"Bearer good", "/1.0", 200, `"auth":"trusted"`},
		{"Bearer good", "/1.0", 200, `"environment":{"server_clustered":false}`},
		{"bearer good", "/1.0", 200, `"auth":"trusted"`},
		{"", "/1.0", 200, `"auth":"untrusted"`},
		{"Basic good", "/1.0", 200, `"auth":"untrusted"`},
		{"Bearer bad", "/1.0", 401, "not valid"},
		{"Bearer bad", "/1.0/config", 401, "not valid"},
		{"", "/1.0/storage-pools/p/volumes", 403, "DevLXD token bearer"},
		{"Bearer good", "/1.0/storage-pools/p/volumes", 501, "yet"},
	} {
		r, err := http.NewRequest("GET", "http://lxd"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", c.header)
		resp, err := w.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.code || !strings.Contains(string(b), c.want) {
			t.Errorf("%q %s: %d %s %v", c.header, c.path, resp.StatusCode, b, err)
		}
	}
}
