package rest

import (
	"net"
	"net/http"
	"slices"
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if !caller.Expires.IsZero() {
		one.late = time.AfterFunc(time.Until(caller.Expires), func() { _ = one.Close() })
	}
	if l.all == nil {
		l.all = map[*line]struct{}{}
	}
	l.all[one] = struct{}{}
	return one
}

// Close closes the connection.
func (l *line) Close() error {
	l.of.mu.Lock()
	if l.late != nil {
		l.late.Stop()
	}
	delete(l.of.all, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// keep is what a connection of the caller's request becomes when it is handed over. The caller is asked for once more: it may have lost
// rights between its request and now, when nobody would have found the connection.
func (s *Server) keep(r *http.Request, caller auth.Identity) func(net.Conn) net.Conn {
	return func(conn net.Conn) net.Conn {
		kept := s.lines.add(conn, caller)
		if now, err := s.identify(r); err != nil || now.Kind != caller.Kind || now.Name != caller.Name || !slices.Equal(now.Groups, caller.Groups) {
			_ = kept.Close()
		}
		return kept
	}
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
