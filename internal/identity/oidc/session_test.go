package oidc_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/identity/oidc"
	"lxd/internal/rest"
	"lxd/internal/store"
)

func TestBrowsersGetASession(t *testing.T) {
	w := newWorld(t)
	b := &browser{w, map[string]*http.Cookie{}}
	b.signIn(t, alice)
	id := b.who(t)
	if id.Name != "alice@example.org" || !id.Session || !id.FineGrained || id.Admin {
		t.Fatalf("%+v", id)
	}
	for _, c := range b.cookies {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || !strings.HasPrefix(c.Name, "__Host-") || c.Path != "/" {
			t.Errorf("%+v", c)
		}
	}
	all, err := w.List(t.Context(), "")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if s := all[0].API(); s.Email != "alice@example.org" || s.Username != "Alice" || s.IP != "192.0.2.1" || strings.Contains(s.UserAgent, "\x1b") ||
		s.ExpiresAt.Sub(s.CreatedAt) != 7*24*time.Hour {
		t.Errorf("%+v", s)
	}
	if some, err := w.List(t.Context(), "bob@example.org"); err != nil || len(some) != 0 {
		t.Error(some, err)
	}
	w.issuer.Break(true)
	if b.who(t).Name == "" {
		t.Error("a session needs the issuer")
	}
	if err := w.End(t.Context(), all[0].UUID); err != nil {
		t.Fatal(err)
	}
	if b.who(t).Trusted() {
		t.Error("a session that was ended goes on")
	}
	if err := w.End(t.Context(), all[0].UUID); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, b *browser){
		"in time":            func(w *world, _ *browser) { w.pass(8 * 24 * time.Hour) },
		"with the issuer":    func(w *world, _ *browser) { w.set("oidc.issuer", "https://login.example.org") },
		"with the client":    func(w *world, _ *browser) { w.set("oidc.client.id", "x") },
		"without an issuer":  func(w *world, _ *browser) { w.set("oidc.issuer", "") },
		"with its identity":  func(w *world, _ *browser) { _ = w.identities.Delete(t.Context(), "oidc", "alice@example.org") },
		"by leaving":         func(w *world, b *browser) { _, _ = b.open(t, "https://box:8443/oidc/logout", w.Logout) },
		"with another proof": func(_ *world, b *browser) { b.cookies["__Host-lxd_session"].Value += "x" },
		"with its secret": func(w *world, _ *browser) {
			_ = w.store.Update(t.Context(), func(tx store.Tx) error {
				for s := range oidc.Secrets.All(tx, "") {
					return oidc.Secrets.Delete(tx, s.ID)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := &browser{w, map[string]*http.Cookie{}}
			b.signIn(t, alice)
			if !b.who(t).Trusted() {
				t.Fatal("there was no session")
			}
			end(w, b)
			if b.who(t).Trusted() {
				t.Error("the session goes on")
			}
		})
	}
}

// TestWrongWaysBack shows browsers that come back as nobody was sent.
func TestWrongWaysBack(t *testing.T) {
	w := newWorld(t)
	w.issuer.SignIn(&alice)
	for name, c := range map[string]struct {
		change func(b *browser, back url.Values)
		why    string
	}{
		"another state":    {func(_ *browser, q url.Values) { q.Set("state", "x") }, "not sent"},
		"no state":         {func(_ *browser, q url.Values) { q.Del("state") }, "not sent"},
		"another browser":  {func(b *browser, _ url.Values) { clear(b.cookies) }, "not sent"},
		"a changed cookie": {func(b *browser, _ url.Values) { b.cookies["__Host-lxd_login"].Value += "x" }, "not sent"},
		"too late":         {func(*browser, url.Values) { w.pass(time.Hour) }, "not sent"},
		"another code":     {func(_ *browser, q url.Values) { q.Set("code", "x") }, "code"},
		"an error":         {func(_ *browser, q url.Values) { q.Set("error", "access_denied") }, "access_denied"},
		"a foreign session": {func(b *browser, _ url.Values) {
			b.cookies["__Host-lxd_login"].Value = b.cookies["__Host-lxd_login"].Value[10:]
		}, "not sent"},
	} {
		b := &browser{w, map[string]*http.Cookie{}}
		back, err := url.Parse(b.visit(t))
		if err != nil {
			t.Fatal(err)
		}
		q := back.Query()
		c.change(b, q)
		back.RawQuery = q.Encode()
		if _, err := b.open(t, back.String(), w.Callback); err == nil || !strings.Contains(err.Error(), c.why) || rest.StatusOf(err) != 401 {
			t.Errorf("%s: %v", name, err)
		}
		if b.who(t).Trusted() || len(b.cookies) > 0 {
			t.Errorf("%s: %v", name, b.cookies)
		}
	}
	w.issuer.SignIn(nil)
	b := &browser{w, map[string]*http.Cookie{}}
	if _, err := b.open(t, b.visit(t), w.Callback); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Error(err)
	}
}

func TestACodeWorksOnce(t *testing.T) {
	w := newWorld(t)
	w.issuer.SignIn(&alice)
	b := &browser{w, map[string]*http.Cookie{}}
	back := b.visit(t)
	cookie := *b.cookies["__Host-lxd_login"]
	if _, err := b.open(t, back, w.Callback); err != nil {
		t.Fatal(err)
	}
	thief := &browser{w, map[string]*http.Cookie{cookie.Name: &cookie}}
	if _, err := thief.open(t, back, w.Callback); err == nil || thief.who(t).Trusted() {
		t.Error(err)
	}
}

func TestWithoutAnIssuer(t *testing.T) {
	w := newWorld(t)
	b := &browser{w, map[string]*http.Cookie{}}
	w.set("oidc.issuer", "")
	if _, err := b.open(t, "https://box/oidc/login", w.Login); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := b.open(t, "https://box/oidc/callback?state=x", w.Callback); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if at, err := b.open(t, "https://box/oidc/logout", w.Logout); err != nil || at != "/ui/" {
		t.Error(at, err)
	}
}

func TestSecretsRotate(t *testing.T) {
	w := newWorld(t)
	w.set("core.auth_secret_expiry", "1d")
	w.set("oidc.session.expiry", "3d")
	secrets := func() (n int) {
		_ = w.store.View(t.Context(), func(tx store.Tx) error {
			for range oidc.Secrets.All(tx, "") {
				n++
			}
			return nil
		})
		return n
	}
	first, second := &browser{w, map[string]*http.Cookie{}}, &browser{w, map[string]*http.Cookie{}}
	first.signIn(t, alice)
	second.signIn(t, alice)
	if secrets() != 1 {
		t.Error(secrets())
	}
	w.pass(25 * time.Hour)
	third := &browser{w, map[string]*http.Cookie{}}
	third.signIn(t, alice)
	if secrets() != 2 || !first.who(t).Trusted() || !third.who(t).Trusted() {
		t.Error(secrets())
	}
	w.pass(49 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := secrets(); first.who(t).Trusted() || !third.who(t).Trusted() || n != 1 {
		t.Error("a secret that nothing needs is kept:", n)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	first := &browser{w, map[string]*http.Cookie{}}
	first.signIn(t, alice)
	for range 50 {
		w.pass(time.Second)
		(&browser{w, map[string]*http.Cookie{}}).signIn(t, alice)
	}
	if all, err := w.List(t.Context(), "alice@example.org"); err != nil || len(all) != 50 || first.who(t).Trusted() {
		t.Error(len(all), err)
	}
	if err := w.identities.Delete(t.Context(), "oidc", "alice@example.org"); err != nil {
		t.Fatal(err)
	}
	if all, err := w.List(t.Context(), ""); err != nil || len(all) != 0 {
		t.Error("a person who was removed and comes again would find its sessions:", len(all), err)
	}
}

// TestConnectionsEndWithTheirSession: what a browser has open, and what others of the same person have.
func TestConnectionsEndWithTheirSession(t *testing.T) {
	w := newWorld(t)
	b, other := &browser{w, map[string]*http.Cookie{}}, &browser{w, map[string]*http.Cookie{}}
	b.signIn(t, alice)
	other.signIn(t, alice)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	two := other.who(t)
	lost := make(chan identity.Match, 200)
	go func() { _ = w.identities.Revocations(ctx, func(m identity.Match) { lost <- m }) }()
	// The watch may begin after the first change: another session goes each time until one is noticed.
	var ended []auth.Identity
	for range 100 {
		one := b.who(t)
		ended = append(ended, one)
		if err := w.End(t.Context(), one.SessionID); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-lost:
			if !slices.ContainsFunc(ended, m) || m(two) {
				t.Error("the wrong connections are closed")
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
		b.signIn(t, alice)
	}
	t.Error("nobody notices that a session ended")
}

func TestTending(t *testing.T) {
	w := newWorld(t)
	(&browser{w, map[string]*http.Cookie{}}).signIn(t, alice)
	w.pass(30 * 24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Tend(ctx); close(done) }()
	left := func() (n int) {
		_ = w.store.View(t.Context(), func(tx store.Tx) error {
			for range oidc.Sessions.All(tx, "") {
				n++
			}
			return nil
		})
		return n
	}
	for until := time.Now().Add(5 * time.Second); left() > 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	cancel()
	if <-done; left() > 0 {
		t.Error("old sessions stay")
	}
}
