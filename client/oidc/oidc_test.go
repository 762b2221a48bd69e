package oidc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/client"
	"lxd/client/oidc"
	"lxd/test/issuer"
)

var _ client.Credentials = (*oidc.Source)(nil)

var ann = issuer.Person{Subject: "s", Email: "ann@example.org"}

// world is an issuer, and where a program keeps its tokens.
type world struct {
	*oidc.Source
	issuer *issuer.Issuer
	shown  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	i, err := issuer.New("lxd", "")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(i)
	t.Cleanup(srv.Close)
	i.URL = srv.URL
	i.SignIn(&ann)
	w := &world{issuer: i}
	w.Source = w.open(t, filepath.Join(t.TempDir(), "tokens", "box.json"), srv.Client())
	return w
}

func (w *world) open(t *testing.T, path string, c *http.Client) *oidc.Source {
	t.Helper()
	return &oidc.Source{Path: path, HTTP: c, Tell: func(address, code string) { w.shown = append(w.shown, address+" "+code) }}
}

// answer is what a server says that wants tokens of the issuer.
func (w *world) answer() http.Header {
	h := http.Header{}
	h.Set("X-LXD-OIDC-issuer", w.issuer.URL)
	h.Set("X-LXD-OIDC-clientid", "lxd")
	h.Set("X-LXD-OIDC-scopes", `["openid","email"]`)
	return h
}

func (w *world) token(t *testing.T) string {
	t.Helper()
	token, err := w.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// renew asks for another token than the one there is.
func (w *world) renew(t *testing.T) string {
	t.Helper()
	old := w.token(t)
	if ok, err := w.Renew(t.Context(), old, w.answer()); err != nil || !ok {
		t.Fatal(ok, err)
	}
	token := w.token(t)
	if token == "" || token == old {
		t.Fatalf("%q after %q", token, old)
	}
	return token
}

func TestSigningIn(t *testing.T) {
	w := newWorld(t)
	if token := w.token(t); token != "" {
		t.Error(token)
	}
	first := w.renew(t)
	if len(w.shown) != 1 || !strings.HasPrefix(w.shown[0], w.issuer.URL+"/device?user_code=") {
		t.Error(w.shown)
	}
	info, err := os.Stat(w.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	second := w.renew(t) // with what renews it
	if len(w.shown) != 1 {
		t.Error("the person was asked again")
	}
	if ok, err := w.Renew(t.Context(), first, w.answer()); err != nil || !ok || w.token(t) != second {
		t.Error("a token that somebody else has renewed is renewed again", ok, err)
	}
	w.Source = w.open(t, w.Path, w.HTTP)
	if w.token(t) != second {
		t.Error("the tokens are not kept")
	}
}

func TestTokensNearTheirEnd(t *testing.T) {
	w := newWorld(t)
	w.issuer.Life = 5 * time.Second
	first := w.renew(t)
	w.issuer.Life = time.Hour
	second := w.token(t)
	if second == first || len(w.shown) != 1 {
		t.Error("it was not renewed", w.shown)
	}
	if w.token(t) != second {
		t.Error("it is renewed each time")
	}
	w.issuer.Life = 5 * time.Second
	last := w.renew(t)
	w.issuer.Break(true)
	if w.token(t) != last {
		t.Error("without the issuer there is no token at all")
	}
}

func TestServersThatWantNoTokens(t *testing.T) {
	w := newWorld(t)
	if ok, err := w.Renew(t.Context(), "", http.Header{}); ok || err != nil {
		t.Error(ok, err)
	}
	plain := w.answer()
	plain.Set("X-LXD-OIDC-issuer", "http://login.example.org")
	if ok, err := w.Renew(t.Context(), "", plain); ok || err == nil || !strings.Contains(err.Error(), "without encryption") {
		t.Error(ok, err)
	}
}

// TestAnotherIssuer: what renews the tokens of one issuer is told to no other, whatever the server says.
func TestAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	token := w.renew(t)
	thief := newWorld(t)
	w.HTTP = thief.HTTP
	if _, err := w.Renew(t.Context(), token, thief.answer()); err != nil {
		t.Fatal(err)
	}
	if n := thief.issuer.Asked("/device"); n != 1 || len(w.shown) != 2 {
		t.Error("the person was not asked whether it trusts the other issuer", w.shown)
	}
}

func TestPeopleWhoDoNotCome(t *testing.T) {
	w := newWorld(t)
	w.issuer.SignIn(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if _, err := w.Renew(ctx, "", w.answer()); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Error(err)
	}
	w.issuer.Break(true)
	if _, err := w.Renew(t.Context(), "", w.answer()); err == nil || !strings.Contains(err.Error(), "cannot be asked") {
		t.Error(err)
	}
}

func TestFilesThatAreBroken(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(filepath.Dir(w.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.token(t) != "" {
		t.Error("a token came out of nothing")
	}
	w.renew(t)
}
