package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/rest"
)

// page is a server with what browsers open, and whoever calls it.
func page(t *testing.T, who auth.Identity, err error) http.Handler {
	t.Helper()
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return who, err },
		Invite: func(_ context.Context, h http.Header) { h.Set("X-Invited", "yes") }}
	s.SetPhase(rest.Serving)
	ok := func(w http.ResponseWriter, _ *rest.Call) error { w.WriteHeader(http.StatusOK); return nil }
	change := func(context.Context, *rest.Call, rest.None) (none rest.None, err error) { return none, nil }
	return s.Handler([]rest.Route{
		rest.Raw("GET /page", auth.Public, ok), rest.Raw("GET /linked", auth.Public, ok).Linked(), rest.Raw("GET /private", auth.Authenticated, ok),
		rest.Sync("PUT /thing", auth.Authenticated, change), rest.Sync("DELETE /thing", auth.Authenticated, change),
	})
}

func TestSessionsOfBrowsers(t *testing.T) {
	session := auth.Identity{Kind: auth.OIDC, Admin: true, Session: true}
	cert := auth.Identity{Kind: auth.TLS, Admin: true}
	const own, other = "https://box:8443", "https://evil.example.org"
	for name, c := range map[string]struct {
		who          auth.Identity
		method, path string
		body         string
		header       []string
		want         int
	}{
		"read":                        {session, "GET", "/page", "", nil, 200},
		"change, from nowhere":        {session, "DELETE", "/thing", "", nil, 403},
		"change, own page":            {session, "DELETE", "/thing", "", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"change, own origin":          {session, "DELETE", "/thing", "", []string{"Origin", own}, 200},
		"change, other origin":        {session, "DELETE", "/thing", "", []string{"Origin", other}, 403},
		"change, both":                {session, "DELETE", "/thing", "", []string{"Origin", other, "Sec-Fetch-Site", "same-origin"}, 403},
		"change, without encryption":  {session, "DELETE", "/thing", "", []string{"Origin", "http://box:8443"}, 403},
		"change, opaque origin":       {session, "DELETE", "/thing", "", []string{"Origin", "null"}, 403},
		"change, typed":               {session, "DELETE", "/thing", "", []string{"Sec-Fetch-Site", "none"}, 403},
		"change, another site":        {session, "DELETE", "/thing", "", []string{"Sec-Fetch-Site", "cross-site", "Origin", own}, 403},
		"change, with a certificate":  {cert, "DELETE", "/thing", "", nil, 200},
		"old browser, own page":       {cert, "DELETE", "/thing", "", []string{"User-Agent", "Mozilla/5.0", "Origin", own}, 200},
		"old browser, other":          {cert, "DELETE", "/thing", "", []string{"User-Agent", "Mozilla/5.0", "Origin", other}, 403},
		"old browser, frame":          {cert, "DELETE", "/thing", "", []string{"User-Agent", "Mozilla/5.0", "Origin", "null"}, 403},
		"old browser, websocket":      {cert, "GET", "/page", "", []string{"User-Agent", "Mozilla/5.0", "Origin", other, "Upgrade", "websocket"}, 403},
		"old browser, read":           {cert, "GET", "/page", "", []string{"User-Agent", "Mozilla/5.0", "Origin", other}, 200},
		"program with an origin":      {cert, "DELETE", "/thing", "", []string{"Origin", other}, 200},
		"a form":                      {session, "PUT", "/thing", "{}", []string{"Origin", own, "Content-Type", "text/plain"}, 415},
		"a document":                  {session, "PUT", "/thing", "{}", []string{"Origin", own, "Content-Type", "application/json"}, 200},
		"websocket, from nowhere":     {session, "GET", "/page", "", []string{"Upgrade", "websocket"}, 403},
		"websocket, own page":         {session, "GET", "/page", "", []string{"Upgrade", "websocket", "Origin", own}, 200},
		"websocket, other":            {session, "GET", "/page", "", []string{"Upgrade", "websocket", "Origin", other}, 403},
		"link to a page":              {session, "GET", "/page", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		"link to a linked page":       {session, "GET", "/linked", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"linked page in a frame":      {session, "GET", "/linked", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		"linked page asked by script": {session, "GET", "/linked", "", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "https://box:8443"+c.path, strings.NewReader(c.body))
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			w := httptest.NewRecorder()
			page(t, c.who, nil).ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if w.Header().Get("X-Invited") != "" {
				t.Error("somebody who is trusted was invited")
			}
		})
	}
}

func TestStrangersAreInvited(t *testing.T) {
	refused := rest.WithStatus(http.StatusUnauthorized, errs.Newf(errs.Forbidden, "bad token"))
	for name, c := range map[string]struct {
		err     error
		path    string
		code    int
		invited bool
	}{
		"refused":         {nil, "/private", 403, true},
		"let in":          {nil, "/page", 200, false},
		"bad token":       {refused, "/page", 401, true},
		"issuer is away":  {errs.Newf(errs.Unavailable, "away"), "/private", 503, false},
		"no such address": {nil, "/nosuch", 404, false},
	} {
		w := httptest.NewRecorder()
		page(t, auth.Identity{}, c.err).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.code || (w.Header().Get("X-Invited") != "") != c.invited {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}
