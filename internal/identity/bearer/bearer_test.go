package bearer_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/trust"
)

const here = "7ee0c1a2-0000-4000-8000-000000000001"

// world is identities and the service on an empty store.
type world struct {
	*bearer.Service
	identities *identity.Service
	now        time.Time
	limit      limit.Limiter
	server     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = s.Close() })
	w := &world{now: time.Now(), server: here, identities: identity.New(identity.Deps{Store: s, Trust: trust.New(trust.Deps{Store: s})})}
	w.Service = bearer.New(bearer.Deps{Identities: w.identities, Limit: &w.limit, Fingerprint: "f00",
		Server: func(context.Context) (string, error) { return w.server, nil }, Now: func() time.Time { return w.now }})
	for kind, id := range map[string]string{api.IdentityTypeClientTokenBearer: "client-id", api.IdentityTypeDevLxdTokenBearer: "guest-id",
		api.IdentityTypeInitialUITokenBearer: "ui-id"} {
		rec := identity.Record{Method: "bearer", Type: kind, ID: id, Name: strings.TrimSuffix(id, "-id")}
		if err := w.identities.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) find(t *testing.T, name string) identity.Record {
	t.Helper()
	r, err := w.identities.Find(t.Context(), "bearer", name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) issue(t *testing.T, name, expiry string) string {
	t.Helper()
	text, err := w.Issue(t.Context(), w.find(t, name), expiry)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func shown(text string) *http.Request {
	r := httptest.NewRequest("GET", "/1.0", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	return r
}

// refused fails unless the request is answered like all others with bad tokens.
func refused(t *testing.T, w *world, what, text string) {
	t.Helper()
	r := shown(text)
	sum := sha256.Sum256([]byte(what))
	r.RemoteAddr = fmt.Sprintf("[2001:db8:%x::1]:1", sum[:2]) // so that none is held back for the others
	id, handled, err := w.Identify(r)
	if !handled || err == nil || err.Error() != bearer.ErrInvalid.Error() || rest.StatusOf(err) != 401 || id.Trusted() {
		t.Errorf("%s: %+v %v %v", what, id, handled, err)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	text := w.issue(t, "client", "1d")
	id, handled, err := w.Identify(shown(text))
	if err != nil || !handled || id.Kind != auth.Bearer || id.Name != "client-id" || id.Admin || !id.FineGrained || id.Session ||
		id.Expires.Unix() != w.now.AddDate(0, 0, 1).Unix() {
		t.Fatalf("%+v %v %v", id, handled, err)
	}
	if ui, _, err := w.Identify(shown(w.issue(t, "ui", ""))); err != nil || !ui.Admin {
		t.Errorf("%+v %v", ui, err)
	}
	again := w.issue(t, "client", "1H")
	refused(t, w, "an old one", text)
	if _, _, err := w.Identify(shown(again)); err != nil {
		t.Error(err)
	}
	w.server = "elsewhere"
	refused(t, w, "another server's", again)
	w.server = here
	w.now = w.now.Add(61 * time.Minute)
	refused(t, w, "one that is over", again)
	w.now = w.now.Add(-2 * time.Hour)
	refused(t, w, "one from the future", again)
	w.now = w.now.Add(time.Hour + time.Second)
	if err := w.Revoke(t.Context(), w.find(t, "client")); err != nil {
		t.Fatal(err)
	}
	refused(t, w, "a revoked one", again)
	more := w.issue(t, "client", "1H")
	if err := w.identities.Delete(t.Context(), "bearer", "client-id"); err != nil {
		t.Fatal(err)
	}
	refused(t, w, "one of nobody", more)
	for range limit.Tries + 1 {
		_, _, err = w.Identify(shown(more))
	}
	if !errors.Is(err, limit.ErrTooMany) {
		t.Error("guessing goes on:", err)
	}
}

func TestWhatATokenSays(t *testing.T) {
	w := newWorld(t)
	for name, audience := range map[string]string{"client": "lxd:" + here, "ui": "lxd:" + here, "guest": "devlxd:" + here} {
		parts := strings.Split(w.issue(t, name, "1H"), ".")
		head, _ := base64.RawURLEncoding.DecodeString(parts[0])
		body, _ := base64.RawURLEncoding.DecodeString(parts[1])
		var c map[string]any
		if err := json.Unmarshal(body, &c); err != nil {
			t.Fatal(err)
		}
		said, _ := c["aud"].([]any)
		if !strings.Contains(string(head), `"HS512"`) || c["iss"] != "lxd:"+here || len(said) != 1 || said[0] != audience ||
			c["sub"] != name+"-id" || c["server_cert_fingerprint"] != "f00" || c["exp"].(float64)-c["iat"].(float64) != 3600 {
			t.Errorf("%s: %s %s", name, head, body)
		}
	}
}

func TestExpiries(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, expiry string
		ok           bool
	}{
		{"client", "", true}, {"client", "10y", true}, {"client", "1d 12H", true}, {"client", "10y 1d", false}, {"client", "0d", false},
		{"client", "soon", false}, {"client", "65000y", false}, {"ui", "1d", true}, {"ui", "2d", false}, {"guest", "1M", true},
	} {
		_, err := w.Issue(t.Context(), w.find(t, c.name), c.expiry)
		if (err == nil) != c.ok || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%s %q: %v", c.name, c.expiry, err)
		}
	}
	gone := w.find(t, "client")
	gone.ID = "nobody"
	if _, err := w.Issue(t.Context(), gone, ""); !errs.Is(err, errs.NotFound) {
		t.Error("a token of an identity that went away:", err)
	}
}

func TestUsesAreKeptApart(t *testing.T) {
	w := newWorld(t)
	guest, client := w.issue(t, "guest", ""), w.issue(t, "client", "")
	refused(t, w, "a guest's token on the network", guest)
	if _, err := w.Guest(t.Context(), client, "c1"); !errors.Is(err, bearer.ErrInvalid) {
		t.Error("a client's token in a guest:", err)
	}
	id, err := w.Guest(t.Context(), guest, "c1")
	if err != nil || id.Name != "guest-id" || id.Address != "c1" || !id.FineGrained {
		t.Errorf("%+v %v", id, err)
	}
}

// TestForgeries shows what people send who have no secret.
func TestForgeries(t *testing.T) {
	w := newWorld(t)
	good := w.issue(t, "client", "")
	parts := strings.Split(good, ".")
	secret, err := base64.StdEncoding.DecodeString(w.find(t, "client").Secret)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"iss": "lxd:" + here, "aud": []string{"lxd:" + here}, "sub": "client-id", "iat": w.now.Unix() - 1, "nbf": w.now.Unix() - 1,
			"exp": w.now.Add(time.Hour).Unix()}
		change(c)
		return c
	}
	made := func(m jwt.SigningMethod, c jwt.Claims, key any) string {
		text, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	same := claims(func(jwt.MapClaims) {})
	if _, _, err := w.Identify(shown(made(jwt.SigningMethodHS512, same, secret))); err != nil {
		t.Fatal("the forger's tools do not work:", err)
	}
	with := func(k string, v any) jwt.Claims { return claims(func(c jwt.MapClaims) { c[k] = v }) }
	without := func(k string) jwt.Claims { return claims(func(c jwt.MapClaims) { delete(c, k) }) }
	for what, text := range map[string]string{
		"no signature":       made(jwt.SigningMethodNone, same, jwt.UnsafeAllowNoneSignatureType),
		"cut signature":      parts[0] + "." + parts[1] + ".",
		"changed claims":     parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"lxd:`+here+`","sub":"ui-id"}`)) + "." + parts[2],
		"empty key":          made(jwt.SigningMethodHS512, same, []byte{}),
		"weaker algorithm":   made(jwt.SigningMethodHS256, same, secret),
		"another's secret":   made(jwt.SigningMethodHS512, with("sub", "ui-id"), secret),
		"nobody":             made(jwt.SigningMethodHS512, without("sub"), secret),
		"a stranger":         made(jwt.SigningMethodHS512, with("sub", "x"), secret),
		"by name":            made(jwt.SigningMethodHS512, with("sub", "client"), secret),
		"no end":             made(jwt.SigningMethodHS512, without("exp"), secret),
		"two audiences":      made(jwt.SigningMethodHS512, with("aud", []string{"lxd:" + here, "devlxd:" + here}), secret),
		"no audience":        made(jwt.SigningMethodHS512, without("aud"), secret),
		"another issuer":     made(jwt.SigningMethodHS512, with("iss", "lxd:x"), secret),
		"issued in a minute": made(jwt.SigningMethodHS512, with("iat", w.now.Unix()+60), secret),
	} {
		refused(t, w, what, text)
	}
}

func TestWhatIsNoTokenOfOurs(t *testing.T) {
	w := newWorld(t)
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS512, jwt.MapClaims{"iss": "https://login.example.org"}).SignedString([]byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	good := w.issue(t, "client", "")
	for _, header := range []string{"", "Basic " + good, "Bearer", "Bearer a.b", "Bearer a.b.c", "Bearer " + foreign, "Bearer " + good + strings.Repeat("x", 5000)} {
		r := httptest.NewRequest("GET", "/1.0", nil)
		r.Header.Set("Authorization", header)
		if id, handled, err := w.Identify(r); handled || err != nil || id.Trusted() {
			t.Errorf("%.20q: %+v %v %v", header, id, handled, err)
		}
	}
}

func TestLinks(t *testing.T) {
	w := newWorld(t)
	text := w.issue(t, "ui", "1H")
	cookie, err := w.Redeem(t.Context(), text, "10.0.0.9:1")
	if err != nil || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || cookie.Name != "token_bearer_session" ||
		cookie.Expires.Unix() != w.now.Add(time.Hour).Unix() {
		t.Fatalf("%+v %v", cookie, err)
	}
	browser := func(value string) *http.Request {
		r := httptest.NewRequest("GET", "/1.0", nil)
		r.AddCookie(&http.Cookie{Name: bearer.Cookie, Value: value})
		return r
	}
	id, handled, err := w.Identify(browser(cookie.Value))
	if err != nil || !handled || !id.Admin || !id.Session || id.Name != "ui-id" {
		t.Fatalf("%+v %v %v", id, handled, err)
	}
	client := w.issue(t, "client", "1H")
	if _, err := w.Redeem(t.Context(), client, "10.0.0.9:1"); !errors.Is(err, bearer.ErrInvalid) {
		t.Error("a client's token opens the user interface:", err)
	}
	for what, value := range map[string]string{"a client's token": client, "nonsense": "x", "a cut one": text[:len(text)-4]} {
		if id, handled, err := w.Identify(browser(value)); handled || err != nil || id.Trusted() {
			t.Errorf("%s: %+v %v %v", what, id, handled, err)
		}
	}
	w.now = w.now.Add(time.Hour)
	if id, handled, err := w.Identify(browser(cookie.Value)); handled || err != nil || id.Trusted() {
		t.Errorf("a session that is over: %+v %v %v", id, handled, err)
	}
	if _, err := w.Redeem(t.Context(), text, "10.0.0.9:1"); !errors.Is(err, bearer.ErrInvalid) {
		t.Error("a link that is over:", err)
	}
	for range limit.Tries {
		_, err = w.Redeem(t.Context(), text+"x", "10.0.0.9:1")
	}
	if !errors.Is(err, limit.ErrTooMany) {
		t.Error("guessing goes on:", err)
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add("eyJhbGciOiJIUzUxMiJ9.eyJpc3MiOiJseGQ6eCIsInN1YiI6IngifQ.AA")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJseGQ6In0.")
	s := store.NewMem(store.Options{})
	w := &world{now: time.Now()}
	w.Service = bearer.New(bearer.Deps{Identities: identity.New(identity.Deps{Store: s}), Limit: &w.limit, Server: func(context.Context) (string, error) { return here, nil }})
	f.Fuzz(func(t *testing.T, text string) {
		if id, _, _ := w.Identify(shown(text)); id.Trusted() {
			t.Errorf("%q opens the door", text)
		}
	})
}
