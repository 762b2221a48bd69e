package rest

import (
	"net"
	"sync"
	"time"

	"lxd/internal/auth"
)

// lines are the connections that were handed over to whoever called: websockets of all sorts. A request is over soon, and the next one
// is judged anew; these go on as they are. Its zero value is ready.
type lines struct {
	mu  sync.Mutex
	all map[*line]struct{}
}

// line is one of them.
type line struct {
	net.Conn
	of     *lines
	caller auth.Identity
	late   *time.Timer
}

// add keeps a connection in mind until it is closed. It is closed when what the caller proved itself with ends.
func (l *lines) add(conn net.Conn, caller auth.Identity) net.Conn {
	one := &line{Conn: conn, of: l, caller: caller}
	if !caller.Expires.IsZero() {
		one.late = time.AfterFunc(time.Until(caller.Expires), func() { _ = one.Close() })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*line]struct{}{}
	}
	l.all[one] = struct{}{}
	return one
}

// Close closes the connection.
func (l *line) Close() error {
	if l.late != nil {
		l.late.Stop()
	}
	l.of.mu.Lock()
	delete(l.of.all, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// End closes the connections that were handed over to the callers that match: they have lost rights that they may go on using.
func (s *Server) End(match func(caller auth.Identity) bool) {
	s.lines.mu.Lock()
	var lost []*line
	for l := range s.lines.all {
		if match(l.caller) {
			lost = append(lost, l)
		}
	}
	s.lines.mu.Unlock()
	for _, l := range lost {
		go func() { _ = l.Close() }() // a peer that does not listen holds up nobody
	}
}
