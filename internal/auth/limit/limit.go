// Package limit holds back those who send wrong credentials over and over, by where they come from.
//
// Secrets are too long to be guessed; what is limited is the work that guesses make, and how long somebody may go on unseen. Nobody is
// locked out by the failures of others at the same address: a credential that was good lately is always looked at, and whoever proves
// itself by a certificate or through the unix socket is never asked here.
package limit

import (
	"container/list"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"lxd/internal/errs"
)

const (
	// Tries is how many wrong credentials an address may send within a Window.
	Tries = 10
	// Window is how long wrong credentials are remembered, from the first on.
	Window = time.Minute
	// trusted is how long a credential that was good is looked at whatever else comes from its address.
	trusted = time.Hour
	// remembered is how many addresses, and how many credentials, are kept in mind; the oldest give way.
	remembered = 4096
)

// ErrTooMany is why an address is not listened to for a while.
var ErrTooMany = errs.Newf(errs.TooMany, "too many wrong tokens or secrets came from this address: try again in a minute")

// Limiter counts the failures of each address. Its zero value is ready, and nil counts nothing. Its methods may be called at the same time.
type Limiter struct {
	mu     sync.Mutex
	failed recent[netip.Prefix, int]
	good   recent[[sha256.Size]byte, struct{}]
}

// Try lets prove judge a credential that came from address, which is that of a connection. It fails with ErrTooMany, and does not ask,
// when too many wrong ones came from there. A credential that is good once only is given as "": it is not remembered. An error of prove counts as a wrong credential unless its kind says that the fault is ours.
func (l *Limiter) Try(address, credential string, prove func() error) error {
	from, remote := Network(address)
	if l == nil || !remote {
		return prove()
	}
	if !l.admits(from, credential) {
		return ErrTooMany
	}
	err := prove()
	switch errs.KindOf(err) {
	case errs.Internal, errs.Unavailable, errs.Canceled, errs.TooMany:
		if err != nil {
			return err
		}
		l.passed(credential)
	default:
		l.count(from)
	}
	return err
}

// Admit fails while an address has sent too many wrong credentials.
func (l *Limiter) Admit(address string) error { return l.Try(address, "", func() error { return nil }) }

// Failed counts a wrong credential of an address.
func (l *Limiter) Failed(address string) {
	if from, remote := Network(address); l != nil && remote {
		l.count(from)
	}
}

func (l *Limiter) admits(from netip.Prefix, credential string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if n, _ := l.failed.get(from, now.Add(-Window)); n < Tries {
		return true
	}
	_, ok := l.good.get(sha256.Sum256([]byte(credential)), now.Add(-trusted))
	return ok
}

func (l *Limiter) passed(credential string) {
	if credential == "" {
		return
	}
	sum := sha256.Sum256([]byte(credential))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good.drop(sum) // its time begins anew
	l.good.put(sum, struct{}{}, time.Now())
}

func (l *Limiter) count(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	n, ok := l.failed.get(from, now.Add(-Window))
	if !ok {
		l.failed.drop(from)
	}
	l.failed.put(from, n+1, now)
	if n+1 == Tries {
		slog.Warn("Too many wrong tokens or secrets came from an address: it is not listened to for a while", "address", from, "while", Window)
	}
}

// Network is the part of an address that does not differ between connections of one client: of IPv6 that is what a site hands out.
// remote is false for the unix socket.
func Network(address string) (p netip.Prefix, remote bool) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return p, false
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err = ip.Prefix(bits)
	return p, err == nil
}

// recent keeps the latest things, by key, with when each was first put there. Its zero value is ready.
type recent[K comparable, V any] struct {
	by    map[K]*list.Element
	order list.List
}

type entry[K comparable, V any] struct {
	key   K
	value V
	since time.Time
}

// get finds what was put there after a time.
func (r *recent[K, V]) get(k K, after time.Time) (v V, ok bool) {
	e, ok := r.by[k]
	if !ok || e.Value.(*entry[K, V]).since.Before(after) {
		return v, false
	}
	return e.Value.(*entry[K, V]).value, true
}

// put keeps a value; one that is there already stays as old as it is.
func (r *recent[K, V]) put(k K, v V, now time.Time) {
	if e, ok := r.by[k]; ok {
		e.Value.(*entry[K, V]).value = v
		return
	}
	if r.by == nil {
		r.by = map[K]*list.Element{}
	}
	if len(r.by) >= remembered {
		r.drop(r.order.Front().Value.(*entry[K, V]).key)
	}
	r.by[k] = r.order.PushBack(&entry[K, V]{k, v, now})
}

func (r *recent[K, V]) drop(k K) {
	if e, ok := r.by[k]; ok {
		r.order.Remove(e)
		delete(r.by, k)
	}
}
