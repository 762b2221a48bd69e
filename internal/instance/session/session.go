// Package session carries the streams of a program that runs inside a machine over websockets.
package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"lxd/internal/errs"
	"lxd/internal/op"
)

// connectTime is how long the client may take to open the websockets.
const connectTime = 5 * time.Second

// messageMost bounds one message of a client, which is held in memory; clients send some kilobytes at a time.
const messageMost = 16 << 20

// control is the name of the websocket that takes commands rather than data.
const control = "control"

// Session is the websockets of one program. Its methods may be called at the same time.
type Session struct {
	caller      op.Caller
	interactive bool
	secrets     map[string]string

	mu     sync.Mutex
	conns  map[string]*websocket.Conn
	closed bool
	// ready is closed once every websocket that must be there is there.
	ready chan struct{}
	// late gets the control websocket if it comes after the program was started.
	late chan *websocket.Conn
	// readers are the goroutines that read from websockets.
	readers sync.WaitGroup
}

// New makes a session for a caller; nobody else may connect. An interactive one has a single stream of data.
func New(interactive bool, caller op.Caller) *Session {
	s := &Session{
		caller: caller, interactive: interactive, secrets: map[string]string{}, conns: map[string]*websocket.Conn{},
		ready: make(chan struct{}), late: make(chan *websocket.Conn, 1),
	}
	for _, name := range append(s.streams(), control) {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails
		s.secrets[name] = hex.EncodeToString(b[:])
	}
	return s
}

// streams are the websockets that carry data.
func (s *Session) streams() []string {
	if s.interactive {
		return []string{"0"}
	}
	return []string{"0", "1", "2"}
}

// Secrets is what each websocket is opened with, by its name.
func (s *Session) Secrets() map[string]string { return maps.Clone(s.secrets) }

// Connect takes one websocket over from a request that knows its secret.
func (s *Session) Connect(w http.ResponseWriter, r *http.Request) error {
	name, err := s.admit(r)
	if err != nil {
		return err
	}
	up := websocket.Upgrader{
		ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10,
		// Cross-site requests were refused before; programs send no origin.
		CheckOrigin: func(*http.Request) bool { return true },
		// Refusals below are the only ones, and they answer for themselves.
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			http.Error(w, reason.Error(), status)
		},
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return errs.Newf(errs.Invalid, "this is a websocket: ask for an upgrade")
	}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return nil // it has been answered
	}
	c.SetReadLimit(messageMost)
	s.take(name, c)
	return nil
}

// admit finds the websocket that a request may open.
func (s *Session) admit(r *http.Request) (string, error) {
	secret := r.URL.Query().Get("secret")
	if secret == "" {
		return "", errs.Newf(errs.Internal, "the secret is missing")
	}
	who := op.CallerOf(r.Context())
	if who.Username != s.caller.Username || who.Protocol != s.caller.Protocol {
		return "", errs.Newf(errs.Forbidden, "not authorized: only whoever started the operation may connect to it")
	}
	for name, want := range s.secrets {
		if subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1 {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed || s.conns[name] != nil {
			return "", errs.Newf(errs.Invalid, "websocket %q was opened before: each can be opened once", name)
		}
		return name, nil
	}
	return "", errs.Newf(errs.Forbidden, "not authorized: the secret is wrong")
}

// take keeps an opened websocket.
func (s *Session) take(name string, c *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conns[name] != nil {
		_ = c.Close() // another request was quicker
		return
	}
	s.conns[name] = c
	select {
	case <-s.ready:
		if name == control {
			s.late <- c
		}
		return
	default:
	}
	if s.complete() {
		close(s.ready)
	}
}

// complete tells whether all websockets are there that must be.
func (s *Session) complete() bool {
	for _, name := range s.streams() {
		if s.conns[name] == nil {
			return false
		}
	}
	return !s.interactive || s.conns[control] != nil
}

// Await waits until the client has opened what it must.
func (s *Session) Await(ctx context.Context) error {
	late := time.NewTimer(connectTime)
	defer late.Stop()
	select {
	case <-s.ready:
		return nil
	case <-late.C:
		return errs.Newf(errs.Unavailable, "the client did not open its websockets within %s", connectTime)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// conn is an opened websocket, nil if it was not opened.
func (s *Session) conn(name string) *websocket.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[name]
}

// lingerTime is how long the client may take to close its side after the end.
const lingerTime = 2 * time.Second

// Close ends all websockets. What was sent still arrives: each is closed once the client has closed its side, or after a while.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	conns := maps.Clone(s.conns)
	s.mu.Unlock()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	for _, c := range conns {
		// One that is closed already has nothing to be told.
		_ = c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	}
	go func() {
		s.readers.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	}()
}
