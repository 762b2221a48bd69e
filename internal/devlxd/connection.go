package devlxd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

type connKey struct{}

// connection is one that a guest has made.
type connection struct {
	*net.UnixConn
	guest *guest
	// verified is whether it is the guest, found out with the first request.
	verified func() error
	once     sync.Once
	release  func()
}

// Close also makes room for another.
func (c *connection) Close() error {
	c.once.Do(c.release)
	return c.UnixConn.Close()
}

// listener lets in as many connections as a guest may have, and all may together. Those beyond are closed at once.
type listener struct {
	net.Listener
	guest *guest
	all   chan struct{}
	// verifying finds out who is at the other end.
	verifying func(*connection) func() error
}

// Accept waits for the next connection that may stay.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		u, ok := c.(*net.UnixConn)
		if !ok {
			return nil, errors.Join(errors.New("a connection is not of a unix socket"), c.Close())
		}
		if !take(l.guest.open) {
			_ = c.Close() // whoever it was has been told all
			continue
		}
		if !take(l.all) {
			<-l.guest.open
			_ = c.Close()
			continue
		}
		conn := &connection{UnixConn: u, guest: l.guest, release: func() { <-l.guest.open; <-l.all }}
		conn.verified = l.verifying(conn)
		return conn, nil
	}
}

func take(room chan struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	default:
		return false
	}
}

// turns spaces out the requests of one guest: those that come too fast wait, and with them the connections they came over.
type turns struct {
	mu   sync.Mutex
	next time.Time
}

// wait returns when it is the caller's turn.
func (t *turns) wait(ctx context.Context) error {
	t.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-burst * pace); t.next.Before(earliest) {
		t.next = earliest
	}
	t.next = t.next.Add(pace)
	until := t.next.Sub(now)
	t.mu.Unlock()
	if until <= 0 {
		return nil
	}
	select {
	case <-time.After(until):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
