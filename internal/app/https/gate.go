package https

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// capacity is how many connections may be open at a time.
const capacity = 4096

// settled is how long a new connection, or one between two requests, has before it may be closed to make room.
const settled = 2 * time.Second

// gate is a listener that keeps the number of connections within bounds. When it is full, the connection that has waited longest
// without a request gives way; when all are at work, the new one does.
type gate struct {
	net.Listener
	most int
	// settled is how long a connection is left alone before it may be closed to make room.
	settled time.Duration
	// announced tells whether the client's address is what the connection itself says first; nil is never.
	announced func(from net.Addr) bool

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// conn is a connection of a gate.
type conn struct {
	net.Conn
	gate *gate
	once sync.Once
	// waiting tells that no request is being answered, since when.
	waiting bool
	since   time.Time
}

func newGate(l net.Listener, most int) *gate {
	return &gate{Listener: l, most: most, settled: settled, conns: map[*conn]struct{}{}}
}

// Accept returns the next connection that there is room for.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.announced != nil && g.announced(raw.RemoteAddr()) {
			raw = proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.USE), proxyproto.SetReadHeaderTimeout(headerTime))
		}
		c := &conn{Conn: raw, gate: g, waiting: true, since: time.Now()}
		if g.admit(c) {
			return c, nil
		}
		_ = raw.Close() // there is no one to tell
	}
}

func (g *gate) admit(c *conn) bool {
	g.mu.Lock()
	var out *conn
	if len(g.conns) >= g.most {
		if out = g.longest(); out == nil {
			g.mu.Unlock()
			return false
		}
		delete(g.conns, out)
	}
	g.conns[c] = struct{}{}
	g.mu.Unlock()
	if out != nil {
		_ = out.Close() // its client sees the end
	}
	return true
}

// longest is the connection that has waited longest, if any has waited for a while.
func (g *gate) longest() (out *conn) {
	before := time.Now().Add(-g.settled)
	for c := range g.conns {
		if c.waiting && c.since.Before(before) {
			out, before = c, c.since
		}
	}
	return out
}

// Close takes the connection off the list and closes it.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		delete(c.gate.conns, c)
	})
	return c.Conn.Close()
}

// note is the ConnState of the http.Server: it tells who waits.
func note(c net.Conn, state http.ConnState) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	own, ok := c.(*conn)
	if !ok {
		return
	}
	own.gate.mu.Lock()
	defer own.gate.mu.Unlock()
	own.waiting, own.since = state == http.StateNew || state == http.StateIdle, time.Now()
}

// cut closes what is still open.
func (g *gate) cut() error {
	g.mu.Lock()
	all := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		all = append(all, c)
	}
	g.mu.Unlock()
	var failed error
	for _, c := range all {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
