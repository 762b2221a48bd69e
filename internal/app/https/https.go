// Package https serves the API to the network. It can start, move and stop while the daemon runs.
//
// No client is trusted with anything before it has sent a whole request header: whoever is silent, slow or gone is found by a deadline
// and costs one connection until then.
package https

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

const (
	// headerTime is how long a client may take for the handshake, and again for the header of a request.
	headerTime = 10 * time.Second
	// idleTime is how long a connection may be without a request.
	idleTime = 2 * time.Minute
	// headerMax is the most that the header of a request may hold.
	headerMax = 64 << 10
	// goneTime is how long the other host may be silent while there is something to be said to it.
	goneTime = time.Minute
	// farewell is how long requests may go on once their address is given up.
	farewell = 10 * time.Second
	// retryTime is the time between attempts to use an address that cannot be used yet.
	retryTime = 5 * time.Second
)

// Server serves on one address at a time. Its methods may be called at the same time.
type Server struct {
	handler http.Handler
	config  *tls.Config
	retry   time.Duration
	port    int
	policy  atomic.Pointer[Policy]
	// byName finds the certificate for a name that a client asks for, and may find none.
	byName atomic.Pointer[func(name string) *tls.Certificate]

	mu      sync.Mutex
	address string
	now     *service
	// waiting ends the attempts to use an address.
	waiting context.CancelFunc
	old     sync.WaitGroup
}

// service is what runs on one address.
type service struct {
	http   *http.Server
	gate   *gate
	served chan struct{}
}

// New makes a server that does not listen yet. Addresses without a port mean the port given.
func New(handler http.Handler, c Certificate, port int) *Server {
	s := &Server{retry: retryTime, port: port, config: &tls.Config{
		Certificates: []tls.Certificate{c.Certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"},
		// Whether a certificate is trusted is decided for each request, so that one without any gets an answer too.
		ClientAuth: tls.RequestClientCert,
	}}
	s.config.GetCertificate = s.certificate
	s.handler = s.sharing(handler)
	s.SetPolicy(Policy{})
	return s
}

// Plain makes a server without encryption.
func Plain(handler http.Handler, port int) *Server {
	s := &Server{handler: handler, retry: retryTime, port: port}
	s.SetPolicy(Policy{})
	return s
}

// ShowByName shows clients that ask for a name the certificate that find has for it, if it has one. All others see the server's own.
func (s *Server) ShowByName(find func(name string) *tls.Certificate) { s.byName.Store(&find) }

func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if find := s.byName.Load(); find != nil {
		return (*find)(hello.ServerName), nil
	}
	return nil, nil //nolint:nilnil // the server's own
}

// Start serves on address. While that is not possible it tries again in the background: a network may come up after the daemon.
func (s *Server) Start(address string) {
	err := s.Move(address)
	if err == nil {
		return
	}
	slog.Error("The network address cannot be used: trying again until it can, or until the configuration is changed", "address", address, "err", err)
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.waiting = cancel
	s.mu.Unlock()
	s.old.Go(func() { s.insist(ctx, address) })
}

func (s *Server) insist(ctx context.Context, address string) {
	tick := time.NewTicker(s.retry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		if ctx.Err() == nil && s.move(address) == nil {
			slog.Info("The network address can be used now", "address", address)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// Move serves on address from now on, and nowhere for "". When it fails nothing has changed. Requests that are being answered on
// the old address may end; so may streams, unless serving ends.
func (s *Server) Move(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting != nil {
		s.waiting()
		s.waiting = nil
	}
	return s.move(address)
}

func (s *Server) move(address string) error {
	if address == s.address && (s.now != nil || address == "") {
		return nil
	}
	if address == "" {
		s.leave(s.now, true)
		s.now, s.address = nil, ""
		return nil
	}
	where, err := endpoint(address, s.port)
	if err != nil {
		return err
	}
	l, err := listen(where)
	if errors.Is(err, syscall.EADDRINUSE) && s.now != nil {
		l, err = s.replace(where)
	}
	if err != nil {
		return errs.Newf(errs.Invalid, "cannot listen on %s: %w: choose an address of this host and a free port", where, err)
	}
	s.leave(s.now, false)
	s.now, s.address = s.run(l), address
	return nil
}

// replace listens where the present listener is in the way, as it is when [::]:8443 becomes 127.0.0.1:8443.
func (s *Server) replace(where string) (net.Listener, error) {
	back := s.now.gate.Addr().String()
	if err := s.now.gate.Listener.Close(); err != nil {
		return nil, err
	}
	l, err := listen(where)
	if err == nil {
		return l, nil
	}
	old := s.now
	again, failed := listen(back)
	if failed != nil {
		s.now, s.address = nil, ""
		s.leave(old, false)
		return nil, errors.Join(err, failed)
	}
	s.leave(old, false)
	s.now = s.run(again)
	return nil, err
}

func listen(where string) (net.Listener, error) {
	c := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: goneTime / 2, Interval: goneTime / 6, Count: 3},
		Control: func(_, _ string, raw syscall.RawConn) (err error) {
			e := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(goneTime.Milliseconds()))
			})
			return errors.Join(e, err)
		},
	}
	return c.Listen(context.Background(), "tcp", where)
}

func (s *Server) run(l net.Listener) *service {
	v := &service{gate: newGate(l, capacity), served: make(chan struct{})}
	v.gate.announced = s.announced
	v.http = &http.Server{
		Handler: s.handler, TLSConfig: s.config.Clone(), ConnState: note, ErrorLog: log.New(io.Discard, "", 0),
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerMax,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 128, SendPingTimeout: goneTime / 2, PingTimeout: goneTime / 2, WriteByteTimeout: goneTime},
	}
	go func() {
		defer close(v.served)
		serve := v.http.Serve
		if s.config != nil {
			serve = func(l net.Listener) error { return v.http.ServeTLS(l, "", "") }
		}
		if err := serve(v.gate); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			slog.Error("Serving the network failed", "address", l.Addr(), "err", err)
		}
	}()
	slog.Info("Serving the network", "address", l.Addr())
	return v
}

// leave stops listening at once; requests under way may end within a while. Streams go on unless all are to be cut.
func (s *Server) leave(v *service, all bool) {
	if v == nil {
		return
	}
	_ = v.gate.Listener.Close() // it may be closed already
	<-v.served
	s.old.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := v.end(ctx, all); err != nil {
			slog.Warn("Ending connections failed", "err", err)
		}
	})
}

func (v *service) end(ctx context.Context, all bool) error {
	err := v.http.Shutdown(ctx)
	if err != nil { // it took too long
		err = v.http.Close()
	}
	if all {
		err = errors.Join(err, v.gate.cut())
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Address is the address served on as it was given; "" is none.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// Addresses lists where the server can be reached, with ports.
func (s *Server) Addresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return nil
	}
	return reachable(s.now.gate.Addr())
}

// Close ends serving: requests under way may end until ctx does, streams are cut.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.waiting != nil {
		s.waiting()
	}
	v := s.now
	s.now, s.address = nil, ""
	s.mu.Unlock()
	var err error
	if v != nil {
		_ = v.gate.Listener.Close() // Shutdown closes it too
		err = v.end(ctx, true)
		<-v.served
	}
	s.old.Wait() // no longer than the farewell
	return err
}
