package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lxd/internal/errs"
	"lxd/internal/instance/session"
	"lxd/internal/machine"
	"lxd/internal/op"
)

// process runs a real program of the host as if inside a machine.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	code int
	tty  *os.File
	size atomic.Int64
}

func start(t *testing.T, f session.Files, args ...string) machine.Process {
	t.Helper()
	p := &process{cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	if f.Stdin != nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = f.Stdin, f.Stdout, f.Stderr
	} else {
		two, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.SetNonblock(two[0], true)
		p.tty = os.NewFile(uintptr(two[0]), "tty")
		theirs := os.NewFile(uintptr(two[1]), "tty")
		defer theirs.Close()
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, theirs
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		var exit *exec.ExitError
		if err := p.cmd.Wait(); errors.As(err, &exit) {
			p.code = exit.ExitCode()
			if s := exit.Sys().(syscall.WaitStatus); s.Signaled() {
				p.code = 128 + int(s.Signal())
			}
		}
		close(p.done)
	}()
	return p
}

func (p *process) PID() int                      { return p.cmd.Process.Pid }
func (p *process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }
func (p *process) Terminal() *os.File            { return p.tty }
func (p *process) Resize(w, h int) error         { p.size.Store(int64(w*1000 + h)); return nil }
func (p *process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// rig is a session behind a server, and the outcome of its run.
type rig struct {
	*session.Session
	url  string
	p    *process
	code int
	err  error
	done chan struct{}
}

func newRig(t *testing.T, interactive bool, args ...string) *rig {
	r := &rig{Session: session.New(interactive, op.Caller{Username: "me", Protocol: "unix"}), done: make(chan struct{})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		who := op.Caller{Username: "me", Protocol: "unix", Address: "elsewhere"}
		if u := req.Header.Get("X-Test-User"); u != "" {
			who.Username = u
		}
		if err := r.Connect(w, req.WithContext(op.WithCaller(req.Context(), who))); err != nil {
			code := map[errs.Kind]int{errs.Forbidden: 403, errs.Invalid: 400, errs.Internal: 500}[errs.KindOf(err)]
			http.Error(w, err.Error(), code)
		}
	}))
	t.Cleanup(srv.Close)
	r.url = strings.Replace(srv.URL, "http", "ws", 1)
	go func() {
		defer close(r.done)
		defer r.Close()
		if r.err = r.Await(t.Context()); r.err != nil {
			return
		}
		r.code, r.err = r.Run(t.Context(), func(f session.Files) (machine.Process, error) {
			p := start(t, f, args...)
			r.p = p.(*process)
			return p, nil
		})
	}()
	return r
}

func (r *rig) dial(t *testing.T, name string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(r.url+"/?secret="+r.Secrets()[name], nil)
	if err != nil {
		t.Fatal(name, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) wait(t *testing.T) (int, error) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the session does not end")
	}
	return r.code, r.err
}

// all reads a stream up to its end mark.
func all(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	var out bytes.Buffer
	for {
		kind, b, err := c.ReadMessage()
		if err != nil || kind == websocket.TextMessage && len(b) == 0 {
			return out.String()
		}
		out.Write(b)
	}
}

func send(t *testing.T, c *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := c.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		script, in, out, err string
		code                 int
	}{
		"echo":       {"cat; echo bye >&2", "hello\n", "hello\n", "bye\n", 0},
		"exit code":  {"exit 7", "", "", "", 7},
		"signal":     {"kill -9 $$", "", "", "", 137},
		"big":        {"head -c 3000000 /dev/zero | tr '\\0' x", "", strings.Repeat("x", 3000000), "", 0},
		"background": {"sleep 60 & echo $! >&2; echo done", "", "done\n", "*", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, false, "sh", "-c", c.script)
			in, out, errOut := r.dial(t, "0"), r.dial(t, "1"), r.dial(t, "2")
			if c.in != "" {
				send(t, in, websocket.BinaryMessage, c.in)
			}
			send(t, in, websocket.TextMessage, "")
			gotErr := make(chan string)
			go func() { gotErr <- all(t, errOut) }()
			if got := all(t, out); got != c.out {
				t.Errorf("output of %d bytes, not %d", len(got), len(c.out))
			}
			e := <-gotErr
			if c.err == "*" {
				_ = exec.Command("kill", strings.TrimSpace(e)).Run()
			} else if e != c.err {
				t.Errorf("errors %q", e)
			}
			if code, err := r.wait(t); err != nil || code != c.code {
				t.Errorf("code %d, %v", code, err)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	r := newRig(t, true, "sh", "-c", "read a; echo got $a")
	data, ctl := r.dial(t, "0"), r.dial(t, "control")
	send(t, ctl, websocket.TextMessage, `{"command":"window-resize","args":{"width":"120","height":"40"}}`)
	send(t, ctl, websocket.TextMessage, `not json`)
	send(t, data, websocket.BinaryMessage, "word\n")
	if got := all(t, data); got != "got word\n" {
		t.Fatalf("%q", got)
	}
	if code, err := r.wait(t); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	if r.p.size.Load() != 120040 {
		t.Fatal("size", r.p.size.Load())
	}
}

func TestSignal(t *testing.T) {
	r := newRig(t, false, "sleep", "60")
	for _, n := range []string{"0", "1", "2"} {
		r.dial(t, n)
	}
	ctl := r.dial(t, "control")
	send(t, ctl, websocket.TextMessage, `{"command":"signal","signal":15}`)
	if code, err := r.wait(t); code != 143 || err != nil {
		t.Fatal(code, err)
	}
}

func TestClientGone(t *testing.T) {
	for _, which := range []string{"control", "1", "2"} {
		t.Run(which, func(t *testing.T) {
			r := newRig(t, false, "sleep", "60")
			conns := map[string]*websocket.Conn{}
			for _, n := range []string{"0", "1", "2", "control"} {
				conns[n] = r.dial(t, n)
			}
			time.Sleep(20 * time.Millisecond)
			_ = conns[which].UnderlyingConn().Close()
			if code, err := r.wait(t); code != 137 || err != nil {
				t.Fatal(code, err)
			}
		})
	}
	t.Run("terminal", func(t *testing.T) {
		r := newRig(t, true, "sleep", "60")
		r.dial(t, "0")
		_ = r.dial(t, "control").UnderlyingConn().Close()
		if code, err := r.wait(t); code != 129 || err != nil {
			t.Fatal(code, err)
		}
	})
}

// A client may close a stream that it was told is at its end, while the program goes on.
func TestClosedOutputIsNoHangUp(t *testing.T) {
	r := newRig(t, false, "sh", "-c", "exec >&-; sleep 0.3; exit 3")
	in, out, errOut := r.dial(t, "0"), r.dial(t, "1"), r.dial(t, "2")
	send(t, in, websocket.TextMessage, "")
	all(t, out)
	_ = out.Close()
	all(t, errOut)
	if code, err := r.wait(t); code != 3 || err != nil {
		t.Fatal(code, err)
	}
}

func TestAdmission(t *testing.T) {
	r := newRig(t, false, "true")
	for name, c := range map[string]struct {
		query, user string
		want        int
	}{
		"no secret":    {"", "", 500},
		"wrong secret": {"?secret=" + strings.Repeat("0", 64), "", 403},
		"wrong user":   {"?secret=" + r.Secrets()["0"], "mallory", 403},
	} {
		h := http.Header{}
		if c.user != "" {
			h.Set("X-Test-User", c.user)
		}
		_, resp, err := websocket.DefaultDialer.Dial(r.url+"/"+c.query, h)
		if err == nil || resp == nil || resp.StatusCode != c.want {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	for name, s := range r.Secrets() {
		if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
			t.Errorf("secret of %s: %q", name, s)
		}
	}
	r.dial(t, "0")
	_, resp, err := websocket.DefaultDialer.Dial(r.url+"/?secret="+r.Secrets()["0"], nil)
	if err == nil || resp.StatusCode != 400 {
		t.Error("opened twice", resp, err)
	}
	r.dial(t, "1")
	r.dial(t, "2")
	if code, err := r.wait(t); code != 0 || err != nil {
		t.Fatal(code, err)
	}
}

func TestNobodyConnects(t *testing.T) {
	r := newRig(t, true, "true")
	r.dial(t, "0") // and no control
	if _, err := r.wait(t); !errs.Is(err, errs.Unavailable) || r.p != nil {
		t.Fatal(err)
	}
}

func TestHugeMessagesAreNotHeld(t *testing.T) {
	r := newRig(t, false, "cat")
	for _, name := range []string{"1", "2"} {
		r.dial(t, name)
	}
	send(t, r.dial(t, "0"), websocket.BinaryMessage, strings.Repeat("x", 17<<20))
	if code, err := r.wait(t); code != 0 || err != nil { // its input is at its end
		t.Fatal(code, err)
	}
}

func TestCancelKills(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p := start(t, session.Files{}, "sleep", "60")
	stop := errors.New("stop")
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := session.Wait(ctx, p); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if code, _ := p.Wait(t.Context()); code != 137 {
		t.Fatal(code)
	}
}

type screen struct {
	io.Reader
	io.WriteCloser
}

func TestJoin(t *testing.T) {
	s := session.New(true, op.Caller{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = s.Connect(w, r) }))
	defer srv.Close()
	r := &rig{Session: s, url: strings.Replace(srv.URL, "http", "ws", 1)}
	data, ctl := r.dial(t, "0"), r.dial(t, "control")
	if err := s.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	in, out := io.Pipe()
	end := make(chan error)
	go func() { end <- s.Join(t.Context(), screen{in, out}); s.Close() }()
	send(t, data, websocket.BinaryMessage, "ping") // the screen echoes
	if _, b, err := data.ReadMessage(); err != nil || string(b) != "ping" {
		t.Fatal(string(b), err)
	}
	_ = ctl.Close()
	select {
	case err := <-end:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
}

func TestNothingLeaks(t *testing.T) {
	count := func() (int, int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(fds)
	}
	once := func() {
		r := newRig(t, false, "echo", "x")
		in, out, errOut := r.dial(t, "0"), r.dial(t, "1"), r.dial(t, "2")
		send(t, in, websocket.TextMessage, "")
		all(t, out)
		all(t, errOut)
		_, _ = r.wait(t)
		for _, c := range []*websocket.Conn{in, out, errOut} {
			_ = c.Close()
		}
	}
	once()
	time.Sleep(100 * time.Millisecond)
	g0, f0 := count()
	for range 10 {
		once()
	}
	var g1, f1 int
	for range 50 {
		if g1, f1 = count(); g1 <= g0+30 && f1 <= f0+15 {
			return // the servers of the test itself stay until its end: one listener and a few goroutines each
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("goroutines %d -> %d, files %d -> %d", g0, g1, f0, f1)
}
