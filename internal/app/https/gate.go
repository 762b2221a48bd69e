package https

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"lxd/internal/auth/limit"
)

// capacity is how many connections may be open at a time.
const capacity = 4096

// settled is how long a new connection, or one between two requests, has before it may be closed to make room.
const settled = 2 * time.Second

// gate is a listener that keeps the number of connections within bounds. When it is full, the connection that has waited longest
// without a request gives way. When all are at work, the oldest of the address that has most of them does, so that nobody can have
// them all; if that is the address of the new one, the new one does.
type gate struct {
	net.Listener
	most int
	// settled is how long a connection is left alone before it may be closed to make room.
	settled time.Duration
	// announced tells whether the client's address is what the connection itself says first; nil is never.
	announced func(from net.Addr) bool

	mu    sync.Mutex
	conns map[*conn]struct{}
	// from counts them by where they come from.
	from map[netip.Prefix]int
}

// conn is a connection of a gate.
type conn struct {
	net.Conn
	gate *gate
	once sync.Once
	// waiting tells that no request is being answered, since when.
	waiting bool
	since   time.Time
	// from is the network of the client; of one that a proxy announces it is the proxy's until the client is known.
	from      netip.Prefix
	announced bool
	admitted  time.Time
}

func newGate(l net.Listener, most int) *gate {
	return &gate{Listener: l, most: most, settled: settled, conns: map[*conn]struct{}{}, from: map[netip.Prefix]int{}}
}

// Accept returns the next connection that there is room for.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{gate: g, waiting: true, since: time.Now(), from: network(raw), admitted: time.Now()}
		if g.announced != nil && g.announced(raw.RemoteAddr()) {
			c.announced = true
			raw = proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.USE), proxyproto.SetReadHeaderTimeout(headerTime))
		}
		c.Conn = raw
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
			out = g.hoarded(c.from)
		}
		if out == nil {
			g.mu.Unlock()
			return false
		}
		g.forget(out)
	}
	g.conns[c] = struct{}{}
	g.from[c.from]++
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

// hoarded is the oldest connection of the address that has most of them, unless that is hardly more than those of a newcomer's.
func (g *gate) hoarded(newcomer netip.Prefix) (out *conn) {
	var worst netip.Prefix
	for from, n := range g.from {
		if n > g.from[worst] {
			worst = from
		}
	}
	if g.from[worst] <= g.from[newcomer]+1 {
		return nil
	}
	for c := range g.conns {
		if c.from == worst && (out == nil || c.admitted.Before(out.admitted)) {
			out = c
		}
	}
	return out
}

// forget takes a connection off the list, if it is on it.
func (g *gate) forget(c *conn) {
	if _, ok := g.conns[c]; !ok {
		return
	}
	delete(g.conns, c)
	if g.from[c.from]--; g.from[c.from] <= 0 {
		delete(g.from, c.from)
	}
}

func network(c net.Conn) netip.Prefix {
	p, _ := limit.Network(c.RemoteAddr().String()) // what comes from nowhere counts as of one place
	return p
}

// Close takes the connection off the list and closes it.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.forget(c)
	})
	return c.Conn.Close()
}

// move counts the connection as one from elsewhere.
func (c *conn) move(from netip.Prefix) {
	if _, ok := c.gate.conns[c]; !ok || from == c.from {
		return
	}
	c.gate.forget(c)
	c.from, c.announced = from, false
	c.gate.conns[c] = struct{}{}
	c.gate.from[from]++
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
	from := own.from
	if own.announced && state == http.StateActive {
		from = network(own) // it is known by now, since a request has begun
	}
	own.gate.mu.Lock()
	defer own.gate.mu.Unlock()
	own.move(from)
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
