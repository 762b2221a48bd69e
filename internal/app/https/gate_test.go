package https_test

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"lxd/internal/app/https"
)

// TestFullGate has room for two connections; who waits gives way, who works stays.
func TestFullGate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := https.NewGate(l, 2, 50*time.Millisecond)
	defer g.Close()
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		ne, ok := err.(net.Error)
		return !ok || !ne.Timeout()
	}
	silent, working := dial(), dial()
	first, second := <-accepted, <-accepted
	if first.RemoteAddr().String() != silent.LocalAddr().String() {
		first, second = second, first
	}
	https.Note(second, http.StateActive)
	if c := dial(); !closed(c) {
		t.Error("there was room for a third before anyone had waited")
	}
	time.Sleep(60 * time.Millisecond)
	third := dial()
	if !closed(silent) || closed(third) || closed(working) {
		t.Error("the silent one should have given way")
	}
	third2 := <-accepted
	https.Note(third2, http.StateActive)
	time.Sleep(60 * time.Millisecond)
	if c := dial(); !closed(c) {
		t.Error("someone who works was put out")
	}
	_ = second.Close()
	_ = first.Close()
	if c := dial(); closed(c) {
		t.Error("the room of one that left is lost")
	}
}

// from is a connection of which the client says that it comes from elsewhere.
type from struct {
	net.Conn
	ip string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.ip), Port: 1} }

// hall hands out connections from where a test wants.
type hall struct {
	net.Listener
	next atomic.Pointer[string]
}

func (h *hall) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return from{c, *h.next.Load()}, nil
}

// admit lets connections in through the gate, at work from the start, until it is closed.
func admit(g net.Listener) <-chan net.Conn {
	in := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			https.Note(c, http.StateActive)
			in <- c
		}
	}()
	return in
}

// enter brings a connection from somewhere; nil is one that was not let in.
func (h *hall) enter(t *testing.T, admitted <-chan net.Conn, ip string) net.Conn {
	t.Helper()
	h.next.Store(&ip)
	c, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	select {
	case in := <-admitted:
		return in
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

// TestNobodyHasThemAll has one network take all the room, with connections that are at work; others get in at its cost.
func TestNobodyHasThemAll(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{Listener: l}
	g := https.NewGate(h, 6, time.Hour)
	defer g.Close()
	in := admit(g)
	gone := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		ne, ok := err.(net.Error)
		return !ok || !ne.Timeout()
	}
	var hoard []net.Conn
	for i := range 6 {
		hoard = append(hoard, h.enter(t, in, []string{"2001:db8::1", "2001:db8::2"}[i%2]))
	}
	first, second := h.enter(t, in, "10.0.0.1"), h.enter(t, in, "10.0.0.2")
	if first == nil || second == nil || !gone(hoard[0]) || !gone(hoard[1]) || gone(hoard[2]) {
		t.Fatal("others are kept out, or the wrong ones had to go")
	}
	if h.enter(t, in, "10.0.0.1") == nil || !gone(hoard[2]) || gone(hoard[3]) || gone(first) {
		t.Error("fair shares are not given")
	}
	if h.enter(t, in, "10.0.0.1") != nil || gone(hoard[3]) || gone(second) {
		t.Error("someone had to go for a share that is no larger")
	}
	_ = hoard[5].Close()
	if h.enter(t, in, "10.0.0.3") == nil {
		t.Error("the room of one that left is lost")
	}
}
