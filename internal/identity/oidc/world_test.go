package oidc_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/identity"
	"lxd/internal/identity/oidc"
	"lxd/internal/store"
	"lxd/internal/trust"
	"lxd/test/issuer"
)

// world is an issuer, and a server that is configured with it.
type world struct {
	*oidc.Service
	issuer     *issuer.Issuer
	store      store.Store
	identities *identity.Service
	limit      limit.Limiter
	// hold has the issuer not answer when it is asked for its keys.
	hold atomic.Pointer[chan struct{}]

	mu     sync.Mutex
	config map[string]string
	now    time.Time
}

var alice = issuer.Person{Subject: "s-alice", Email: "alice@example.org", Name: "Alice", Groups: []string{"ops"}}

func newWorld(t *testing.T) *world {
	t.Helper()
	i, err := issuer.New("lxd", "hush")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(i)
	t.Cleanup(srv.Close)
	i.URL = srv.URL
	w := &world{issuer: i, store: store.NewMem(store.Options{}), now: time.Now(),
		config: map[string]string{"oidc.issuer": srv.URL, "oidc.client.id": "lxd", "oidc.client.secret": "hush", "oidc.groups.claim": "groups"}}
	t.Cleanup(func() { _ = w.store.Close() })
	w.identities = identity.New(identity.Deps{Store: w.store, Trust: trust.New(trust.Deps{Store: w.store}), Gone: oidc.Gone})
	w.Service = oidc.New(oidc.Deps{Store: w.store, Identities: w.identities, Limit: &w.limit, Transport: w.slowly(srv.Client().Transport),
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Config: func(context.Context) (map[string]string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return maps.Clone(w.config), nil
		}})
	return w
}

// trip is a RoundTripper.
type trip func(*http.Request) (*http.Response, error)

// RoundTrip sends one request.
func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// slowly is the way to the issuer, on which requests are held up.
func (w *world) slowly(way http.RoundTripper) http.RoundTripper {
	return trip(func(r *http.Request) (*http.Response, error) {
		if wait := w.hold.Load(); wait != nil && r.URL.Path == "/keys" {
			select {
			case *wait <- struct{}{}:
			case <-r.Context().Done():
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return way.RoundTrip(r)
	})
}

func (w *world) set(key, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.config[key] = value
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// access is an access token of the person.
func (w *world) access(t *testing.T, p issuer.Person) string {
	t.Helper()
	text, err := w.issuer.Access(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sign is a token that says what a good one says, but for the changes.
func (w *world) sign(t *testing.T, change map[string]any) string {
	t.Helper()
	c := map[string]any{"iss": w.issuer.URL, "sub": "s-alice", "azp": "lxd", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"email": "alice@example.org", "groups": []string{}}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	text, err := w.issuer.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func shown(token string) *http.Request {
	r := httptest.NewRequest("GET", "https://box:8443/1.0", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// show has a program show a token.
func (w *world) show(t *testing.T, token string) (auth.Identity, error) {
	t.Helper()
	id, handled, err := w.Identify(shown(token))
	if !handled {
		t.Fatal("nobody looked at the token")
	}
	return id, err
}

// browser is somebody with cookies.
type browser struct {
	w       *world
	cookies map[string]*http.Cookie
}

func (b *browser) open(t *testing.T, url string, serve func(http.ResponseWriter, *http.Request) error) (location string, err error) {
	t.Helper()
	r := b.request(url)
	rec := httptest.NewRecorder()
	err = serve(rec, r)
	for _, c := range rec.Result().Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return rec.Header().Get("Location"), err
}

func (b *browser) request(url string) *http.Request {
	r := httptest.NewRequest("GET", url, nil)
	r.Header.Set("User-Agent", "Mozilla/5.0\x1b[31m")
	for _, c := range b.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

// visit goes to the issuer and returns where that sends the browser back to.
func (b *browser) visit(t *testing.T) string {
	t.Helper()
	there, err := b.open(t, "https://box:8443/oidc/login", b.w.Login)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", there, nil)
	rec := httptest.NewRecorder()
	b.w.issuer.ServeHTTP(rec, r)
	return rec.Header().Get("Location")
}

// signIn goes all the way.
func (b *browser) signIn(t *testing.T, p issuer.Person) {
	t.Helper()
	b.w.issuer.SignIn(&p)
	if at, err := b.open(t, b.visit(t), b.w.Callback); err != nil || at != "/ui/" {
		t.Fatal(at, err)
	}
}

func (b *browser) who(t *testing.T) auth.Identity {
	t.Helper()
	id, _, err := b.w.Identify(b.request("https://box:8443/1.0"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
