package trust

import (
	"net"
	"sync"
	"time"

	"lxd/internal/errs"
)

const (
	// tries is how many wrong tokens an address may send within a window.
	tries = 10
	// window is how long wrong tokens are remembered.
	window = time.Minute
	// remembered is how many addresses are kept in mind.
	remembered = 4096
)

// ErrTooMany is why an address that sent wrong tokens is not listened to for a while.
var ErrTooMany = errs.Newf(errs.Unavailable, "too many wrong tokens came from this address: try again in a minute")

// failures counts the wrong tokens of each address. Its zero value is ready.
type failures struct {
	mu sync.Mutex
	by map[string]*failed
}

type failed struct {
	n     int
	since time.Time
}

// admit fails while the address, or when there are too many of them the whole world, has sent too many wrong tokens.
func (f *failures) admit(address string, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.by[hostOf(address)]
	switch {
	case b == nil && len(f.by) >= remembered:
		f.forget(now)
		if len(f.by) >= remembered {
			return ErrTooMany
		}
	case b != nil && b.n >= tries && now.Sub(b.since) < window:
		return ErrTooMany
	}
	return nil
}

func (f *failures) count(address string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	host := hostOf(address)
	b := f.by[host]
	if b == nil || now.Sub(b.since) >= window {
		b = &failed{since: now}
	}
	b.n++
	if f.by == nil {
		f.by = map[string]*failed{}
	}
	f.by[host] = b
}

func (f *failures) forget(now time.Time) {
	for host, b := range f.by {
		if now.Sub(b.since) >= window {
			delete(f.by, host)
		}
	}
}

// hostOf is the part of an address that does not differ between connections of one client; of IPv6 that is the network.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}

// Admit fails while an address has sent too many wrong tokens, of whatever kind.
func (s *Service) Admit(address string) error { return s.failures.admit(address, time.Now()) }

// Failed counts a wrong token of an address.
func (s *Service) Failed(address string) { s.failures.count(address, time.Now()) }
