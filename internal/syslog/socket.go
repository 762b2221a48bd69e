// Package syslog takes log messages of other programs from a socket, and makes events of them: those of OVN, mostly.
package syslog

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"lxd/internal/event"
)

// messageMax is the most that is read of one message; the rest of a longer one is cut off.
const messageMax = 8 << 10

// Socket is where other programs send their messages. Its methods may be called at the same time.
type Socket struct {
	path string
	to   event.Publisher

	mu   sync.Mutex
	conn *net.UnixConn
	done chan struct{}
}

// New makes the socket at path, which publishes what comes; it is not open yet.
func New(path string, to event.Publisher) *Socket { return &Socket{path: path, to: to} }

// Open listens from now on; it does nothing if it does already. Only root can write to the socket, since what comes is believed.
func (s *Socket) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return nil
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old syslog socket: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("syslog socket: %w", err)
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return errors.Join(err, conn.Close(), os.Remove(s.path))
	}
	s.conn, s.done = conn, make(chan struct{})
	go s.receive(conn, s.done)
	return nil
}

// Close stops listening and removes the socket; it does nothing if that was done already.
func (s *Socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	<-s.done
	s.conn = nil
	if e := os.Remove(s.path); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// receive publishes messages until the socket is closed.
func (s *Socket) receive(conn *net.UnixConn, done chan struct{}) {
	defer close(done)
	buf := make([]byte, messageMax)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			slog.Error("The syslog socket failed: set core.syslog_socket to false and to true again", "path", s.path, "err", err)
			return
		}
		now := time.Now()
		if ev, err := Parse(buf[:n], now).Event(now); err == nil && n > 0 {
			s.to.Publish(ev)
		}
	}
}
