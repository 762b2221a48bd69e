package acme_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/internal/app/https/acme"
	"lxd/internal/app/https/acme/acmetest"
	"lxd/internal/errs"
)

// world is a service with an authority that asks it directly.
type world struct {
	*acme.Service
	ca  *acmetest.Authority
	dir string

	mu      sync.Mutex
	set     acme.Settings
	reports []error
	stop    func()
	// ask is how the authority sees a domain; nil asks the service.
	ask func(path string) (string, error)
	// listen opens the address for challenges.
	listen func() (net.Listener, error)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: filepath.Join(t.TempDir(), "acme")}
	if w.ca, err = acmetest.New("http://" + l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	w.ca.Fetch = func(_ context.Context, _, path string) (string, error) {
		if w.ask != nil {
			return w.ask(path)
		}
		return w.Challenge(strings.TrimPrefix(path, acme.ChallengePath))
	}
	t.Cleanup(w.ca.Serve(l))
	w.set = acme.Settings{Domain: "lxd.example", Email: "a@lxd.example", Directory: w.ca.Directory(), Agreed: true, Served: true}
	return w
}

// start begins to tend a new service on the same folder.
func (w *world) start(t *testing.T) {
	t.Helper()
	w.Service = acme.New(acme.Deps{Dir: w.dir, HTTP: &http.Client{Timeout: 5 * time.Second}, Listen: w.listen,
		Settings: func(context.Context) (acme.Settings, error) { w.mu.Lock(); defer w.mu.Unlock(); return w.set, nil },
		Report: func(_ context.Context, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reports = append(w.reports, err)
		}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Tend(ctx) }()
	w.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(w.stop)
}

// change edits the settings and says so.
func (w *world) change(edit func(*acme.Settings)) {
	w.mu.Lock()
	edit(&w.set)
	w.mu.Unlock()
	w.Changed()
}

func (w *world) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what, w.reports)
		}
	}
}

// said waits for a report that has a text in it; "" is one of success.
func (w *world) said(t *testing.T, text string) {
	t.Helper()
	w.until(t, "report "+text, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, err := range w.reports {
			if text == "" && err == nil || text != "" && err != nil && strings.Contains(err.Error(), text) {
				w.reports = nil
				return true
			}
		}
		return false
	})
}

func (w *world) serial(t *testing.T) string {
	t.Helper()
	c := w.Certificate("lxd.example")
	if c == nil {
		t.Fatal("there is no certificate")
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: w.ca.Roots(), DNSName: "lxd.example"}); err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestCertificateIsGotAndKept(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	w.said(t, "")
	first := w.serial(t)
	if w.Certificate("") != nil || w.Certificate("other.example") != nil || w.Certificate("LXD.example") == nil {
		t.Error("it is shown to those who ask for another, or not to those who ask for it")
	}
	for name, mode := range map[string]os.FileMode{"certificate.pem": 0o600, "account.key": 0o600, "": os.ModeDir | 0o700} {
		if fi, err := os.Stat(filepath.Join(w.dir, name)); err != nil || fi.Mode() != mode {
			t.Error(name, fi.Mode(), err)
		}
	}
	if _, err := w.Challenge("x"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	w.stop()
	w.start(t)
	if w.serial(t) != first {
		t.Error("it was lost with the daemon")
	}
	w.said(t, "")
	if n := w.ca.Issued(); n != 1 {
		t.Error(n, "certificates for one")
	}
	w.change(func(s *acme.Settings) { s.Email = "b@lxd.example" })
	w.change(func(s *acme.Settings) { s.Domain = "other.example" })
	w.until(t, "another domain", func() bool { return w.Certificate("other.example") != nil })
	if got := w.ca.Contacts(); len(got) != 1 || got[0] != "mailto:b@lxd.example" {
		t.Error(got)
	}
	w.change(func(s *acme.Settings) { s.Domain = "" })
	w.until(t, "no domain", func() bool { return w.Certificate("other.example") == nil })
}

// TestOneCertificateIsEnough: authorities give few of them.
func TestOneCertificateIsEnough(t *testing.T) {
	w := newWorld(t)
	inTheWay := filepath.Join(w.dir, "certificate.pem.new", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.said(t, "certificate.pem")
	first := w.serial(t)
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	w.change(func(s *acme.Settings) { s.Email = "b@lxd.example" })
	w.said(t, "")
	w.change(func(s *acme.Settings) { s.Domain = "" })
	w.until(t, "no domain", func() bool { return w.Certificate("lxd.example") == nil })
	w.change(func(s *acme.Settings) { s.Domain = "lxd.example" })
	w.until(t, "a domain", func() bool { return w.Certificate("lxd.example") != nil })
	w.stop()
	w.start(t)
	if n := w.ca.Issued(); n != 1 || w.serial(t) != first {
		t.Error(n, "certificates for one")
	}
}

func TestCertificateIsRenewed(t *testing.T) {
	w := newWorld(t)
	w.ca.Life = 6 * time.Second
	w.start(t)
	w.said(t, "")
	first := w.serial(t)
	w.until(t, "renewal", func() bool { return w.serial(t) != first }) // there is one all the time
}

func TestFailuresAreTold(t *testing.T) {
	w := newWorld(t)
	w.set.Agreed = false
	w.start(t)
	w.said(t, "acme.agree_tos")
	w.change(func(s *acme.Settings) { s.Agreed, s.Served = true, false })
	w.said(t, "core.https_address")
	w.ca.Break(true)
	w.change(func(s *acme.Settings) { s.Served = true })
	w.said(t, "out of order")
	w.ca.Break(false)
	w.change(func(s *acme.Settings) { s.Domain = "x.invalid" })
	w.said(t, "gets no certificate")
	w.ask = func(string) (string, error) { return "", errors.New("another server") }
	w.change(func(s *acme.Settings) { s.Domain = "lxd.example" })
	w.said(t, "port 80")
	if w.Certificate("lxd.example") != nil || w.ca.Issued() != 0 {
		t.Error("there is a certificate")
	}
	w.change(func(s *acme.Settings) { s.Directory = "http://127.0.0.1:1/dir" })
	w.said(t, "does not know this server")
}

func TestWhatWasKeptIsNotTrustedBlindly(t *testing.T) {
	w := newWorld(t)
	if err := errors.Join(os.MkdirAll(w.dir, 0o700), os.WriteFile(filepath.Join(w.dir, "certificate.pem"), []byte("nonsense"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.said(t, "")
	w.serial(t)
	w.stop()
	if err := os.WriteFile(filepath.Join(w.dir, "account.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.set.Domain = "other.example"
	w.start(t)
	w.said(t, "holds no key")
}

// TestOwnAddressForChallenges has the authority come to an address that is there for challenges alone.
func TestOwnAddressForChallenges(t *testing.T) {
	w := newWorld(t)
	var at string
	w.listen = func() (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			at = l.Addr().String()
		}
		return l, err
	}
	get := func(path string) (string, error) {
		resp, err := http.Get("http://" + at + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			return "", errors.New(resp.Status)
		}
		return string(b), err
	}
	w.ask = func(path string) (string, error) {
		for _, other := range []string{"/1.0", "/", acme.ChallengePath + "x", strings.TrimSuffix(path, "A")[:len(path)-2]} {
			if got, err := get(other); err == nil {
				t.Error(other, got)
			}
		}
		return get(path)
	}
	w.start(t)
	w.said(t, "")
	w.serial(t)
	w.until(t, "address is given up", func() bool { _, err := net.Dial("tcp", at); return err != nil })
}
