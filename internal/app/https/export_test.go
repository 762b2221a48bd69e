package https

import (
	"net"
	"net/http"
	"time"
)

// NewGate lets tests see connections give way.
func NewGate(l net.Listener, most int, settled time.Duration) net.Listener {
	g := newGate(l, most)
	g.settled = settled
	return g
}

// Note lets tests say what a connection does.
func Note(c net.Conn, state http.ConnState) { note(c, state) }

// Retry makes Start try more often.
func (s *Server) Retry(every time.Duration) { s.retry = every }
