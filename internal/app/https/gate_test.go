package https_test

import (
	"net"
	"net/http"
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
