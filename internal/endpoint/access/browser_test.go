package access_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/access"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/identity/oidc"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// site is the routes of browsers and sessions on an empty store.
type site struct {
	store      store.Store
	identities *identity.Service
	bearers    *bearer.Service
	issuer     *oidc.Service
	who        auth.Identity
	ui         string
}

func newSite(t *testing.T) *site {
	t.Helper()
	w := &site{store: store.NewMem(store.Options{})}
	t.Cleanup(func() { _ = w.store.Close() })
	w.identities = identity.New(identity.Deps{Store: w.store, Trust: trust.New(trust.Deps{Store: w.store})})
	w.bearers = bearer.New(bearer.Deps{Identities: w.identities, Server: func(context.Context) (string, error) { return "here", nil }})
	w.issuer = oidc.New(oidc.Deps{Store: w.store, Identities: w.identities, Config: func(context.Context) (map[string]string, error) { return nil, nil }})
	return w
}

func (w *site) open(method, url string, header ...string) *httptest.ResponseRecorder {
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	s.SetPhase(rest.Serving)
	r := httptest.NewRequest(method, "https://box:8443"+url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	s.Handler(access.Browser(w.issuer, w.bearers, w.ui), access.Sessions(w.issuer)).ServeHTTP(rec, r)
	return rec
}

func TestUserInterface(t *testing.T) {
	w := newSite(t)
	if r := w.open("GET", "/ui/"); r.Code != 404 || !strings.Contains(r.Body.String(), "LXD_UI") {
		t.Error(r.Code, r.Body)
	}
	w.ui = t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for path, text := range map[string]string{filepath.Join(w.ui, "index.html"): "first page", filepath.Join(w.ui, "app.js"): "code()", secret: "hush"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(w.ui, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.ui, "assets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/ui": "first page", "/ui/": "first page", "/ui/app.js": "code()", "/ui/project/default/instances": "first page",
		"/ui/assets": "first page", "/ui/%2e%2e/secret": "first page", "/ui/../../secret": "first page", "/ui/out": "no such page"} {
		r := w.open("GET", path)
		if !strings.Contains(r.Body.String(), want) || r.Header().Get("X-Frame-Options") != "DENY" || strings.Contains(r.Body.String(), "hush") {
			t.Errorf("%s: %d %s %v", path, r.Code, r.Body, r.Header())
		}
	}
}

func TestLinkToTheUserInterface(t *testing.T) {
	w := newSite(t)
	rec := identity.Record{Method: "bearer", Type: api.IdentityTypeInitialUITokenBearer, ID: "id1", Name: "first"}
	if err := w.identities.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	token, err := w.bearers.Issue(t.Context(), rec, "1H")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/ui", "/ui/", "/ui/login"} {
		r := w.open("GET", path+"?token="+token, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
		set := r.Result().Cookies()
		if r.Code != 303 || r.Header().Get("Location") != "/ui/" || len(set) != 1 || set[0].Value != token || r.Header().Get("Referrer-Policy") != "no-referrer" ||
			r.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, r.Code, r.Header())
		}
	}
	if r := w.open("GET", "/ui?token=x"); r.Code != 401 || len(r.Result().Cookies()) > 0 {
		t.Error(r.Code, r.Header())
	}
}

func TestSigningInNeedsAnIssuer(t *testing.T) {
	w := newSite(t)
	for path, code := range map[string]int{"/oidc/login": 404, "/oidc/callback": 404, "/oidc/logout": 302} {
		if r := w.open("GET", path); r.Code != code {
			t.Error(path, r.Code, r.Body)
		}
	}
	if r := w.open("GET", "/oidc/logout", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"); r.Code != 403 {
		t.Error("another site signs people out", r.Code)
	}
}

func TestSessions(t *testing.T) {
	const bob = "/1.0/auth/identities/oidc/bob@example.org"
	admin := auth.Identity{Kind: auth.Unix, Admin: true}
	self := auth.Identity{Kind: auth.OIDC, ID: "alice@example.org", FineGrained: true, Rights: allowed{}}
	viewer := auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: allowed{bob + " can_view"}}
	restricted := auth.Identity{Kind: auth.TLS}
	for name, c := range map[string]struct {
		who          auth.Identity
		method, path string
		code         int
		want, not    string
	}{
		"all":                        {admin, "GET", "", 200, "/1.0/auth/oidc-sessions/b1", "-"},
		"of one":                     {admin, "GET", "?email=bob@example.org&recursion=1", 200, `"uuid":"b1"`, "alice"},
		"one's own":                  {self, "GET", "", 200, "a1", "b1"},
		"those to be seen":           {viewer, "GET", "", 200, "b1", "a1"},
		"none":                       {restricted, "GET", "", 200, "[]", "a1"},
		"one":                        {admin, "GET", "/a1", 200, `"email":"alice@example.org"`, "s-secret"},
		"one that is over":           {admin, "GET", "/old", 404, "not found", "-"},
		"one's own one":              {self, "GET", "/a1", 200, `"user_agent":"Mozilla"`, "-"},
		"ending one's own":           {self, "DELETE", "/a1", 200, "", "-"},
		"ending what is hidden":      {self, "DELETE", "/b1", 404, `session \"b1\" not found`, "-"},
		"ending what is not there":   {self, "DELETE", "/c1", 404, `session \"c1\" not found`, "-"},
		"ending what is only seen":   {viewer, "DELETE", "/b1", 403, "can_delete", "-"},
		"restricted":                 {restricted, "GET", "/a1", 403, "can_view", "a1"},
		"restricted, nothing there":  {restricted, "GET", "/c1", 403, "can_view", "c1"},
		"stranger":                   {auth.Identity{}, "GET", "", 403, "", "a1"},
		"administrator, ending":      {admin, "DELETE", "/b1", 200, "", "-"},
		"administrator, not there":   {admin, "DELETE", "/c1", 404, "not found", "-"},
		"stranger, to a session":     {auth.Identity{}, "GET", "/a1", 403, "", "alice"},
		"stranger, ending a session": {auth.Identity{}, "DELETE", "/a1", 403, "", "-"},
	} {
		w := newSite(t)
		now := time.Now()
		err := w.store.Update(t.Context(), func(tx store.Tx) error {
			for _, s := range []oidc.Session{
				{UUID: "a1", Email: "alice@example.org", Created: now, Expires: now.Add(time.Hour), Secret: "s-secret", Agent: "Mozilla"},
				{UUID: "b1", Email: "bob@example.org", Created: now, Expires: now.Add(time.Hour)},
				{UUID: "old", Email: "bob@example.org", Created: now, Expires: now.Add(-time.Hour)},
			} {
				if err := oidc.Sessions.Insert(tx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.who = c.who
		r := w.open(c.method, "/1.0/auth/oidc-sessions"+c.path)
		if r.Code != c.code || !strings.Contains(r.Body.String(), c.want) || c.not != "-" && strings.Contains(r.Body.String(), c.not) {
			t.Errorf("%s: %d %s", name, r.Code, r.Body)
		}
	}
}
