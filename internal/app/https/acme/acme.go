// Package acme gets the server a certificate that everybody trusts, by the ACME protocol (RFC 8555) and its HTTP-01 challenge, and a new
// one before that ends. All of it happens in the background: whatever the authority does, the server serves on.
package acme

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"lxd/internal/errs"
)

const (
	// attempt is how long getting a certificate may take.
	attempt = 5 * time.Minute
	// look is the longest time between looks at the certificate.
	look = 12 * time.Hour
	// patience is how long to wait after a first failure; it doubles with each further one until it is look. Authorities lock out who
	// fails more than a few times an hour.
	patience = 5 * time.Minute
)

// Settings is what is to be got, and where.
type Settings struct {
	// Domain is the name that the certificate is for; "" wants none.
	Domain string
	// Email is where the authority may write to; "" is nowhere.
	Email string
	// Directory is the address of the authority.
	Directory string
	// Agreed tells that the administrator agrees to the authority's terms.
	Agreed bool
	// Served tells that there is a network address that the certificate could be shown on.
	Served bool
}

// Deps is what the service needs.
type Deps struct {
	// Dir is a folder of its own.
	Dir string
	// Settings are looked up before each attempt.
	Settings func(ctx context.Context) (Settings, error)
	// HTTP reaches the authority; each of its requests must have a deadline.
	HTTP *http.Client
	// Report is told why there is no certificate or no new one, and nil once there is; it is told each time.
	Report func(ctx context.Context, err error)
	// Listen opens an address where challenges may come in, for as long as one is open; nil, and an error, leave it to those who pass
	// them on to the server's own address.
	Listen func() (net.Listener, error)
}

// Service keeps the certificate. Its methods may be called at the same time.
type Service struct {
	d    Deps
	cert atomic.Pointer[certificate]
	// unsaved tells that it is not in its file yet; only Tend knows it.
	unsaved bool
	// changed wakes Tend.
	changed chan struct{}

	mu     sync.Mutex
	tokens map[string]string
}

// New makes the service, with the certificate that was got before if there is one.
func New(d Deps) *Service {
	s := &Service{d: d, changed: make(chan struct{}, 1), tokens: map[string]string{}}
	c, err := load(s.file())
	if err != nil {
		slog.Error("The certificate of the ACME service cannot be used: it will be asked for again", "err", err)
	}
	s.cert.Store(c)
	return s
}

func (s *Service) file() string { return filepath.Join(s.d.Dir, "certificate.pem") }

// Certificate is the one for a name that a client asks for; nil is none.
func (s *Service) Certificate(name string) *tls.Certificate {
	c := s.cert.Load()
	if c == nil || name == "" || c.Leaf.VerifyHostname(name) != nil || time.Now().After(c.Leaf.NotAfter) {
		return nil
	}
	return &c.Certificate
}

// Challenge is the answer to a challenge of the authority. It fails with NotFound when there is no such challenge.
func (s *Service) Challenge(token string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, ok := s.tokens[token]
	if !ok {
		return "", errs.Newf(errs.NotFound, "there is no such challenge")
	}
	return answer, nil
}

func (s *Service) expect(token, answer string) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = answer
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tokens, token)
	}
}

// Changed says that the settings may be different now.
func (s *Service) Changed() {
	select {
	case s.changed <- struct{}{}:
	default: // it is known already
	}
}

// Tend sees to the certificate until ctx ends.
func (s *Service) Tend(ctx context.Context) {
	var last Settings
	failures := 0
	for {
		now, err := s.d.Settings(ctx)
		if err == nil && now != last {
			last, failures = now, 0
		}
		wait := look
		if err == nil {
			wait, err = s.see(ctx, now)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait, failures = min(patience<<min(failures, 10), look), failures+1
		}
		s.d.Report(ctx, err)
		if !s.rest(ctx, wait, last) {
			return
		}
	}
}

// rest waits until it is time to look again, or until the settings are not the last ones any more. It returns false when ctx ends.
func (s *Service) rest(ctx context.Context, wait time.Duration, last Settings) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-s.changed:
			if now, err := s.d.Settings(ctx); err == nil && now != last {
				return true
			}
		}
	}
}

// see gets a certificate if one is wanted and due, and returns when to look again.
func (s *Service) see(ctx context.Context, set Settings) (time.Duration, error) {
	switch {
	case set.Domain == "":
		s.cert.Store(nil)
		return look, nil
	case !set.Agreed:
		return look, errs.Newf(errs.Invalid, "no certificate is asked for: the terms of the ACME service are not agreed to: set acme.agree_tos to true")
	case !set.Served:
		return look, errs.Newf(errs.Invalid, "no certificate is asked for: it could not be shown anywhere: set core.https_address")
	}
	c := s.cert.Load()
	if c == nil {
		c, _ = load(s.file()) // it was put aside while no domain was set; what is wrong with it was told at the start
		s.cert.Store(c)
	}
	if c == nil || !c.fits(set) || !time.Now().Before(c.due()) {
		ctx, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		var err error
		if c, err = s.obtain(ctx, set); err != nil {
			return 0, err
		}
		s.cert.Store(c)
		s.unsaved = true
		slog.Info("There is a new certificate of the ACME service", "domain", set.Domain, "until", c.Leaf.NotAfter)
	}
	if s.unsaved { // a full disk is no reason to ask for another one: authorities give only a few
		if err := c.save(s.file()); err != nil {
			return 0, err
		}
		s.unsaved = false
	}
	return max(time.Second, min(look, time.Until(c.due()))), nil
}
