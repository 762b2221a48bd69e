package access_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/access"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// allowed is the rights of somebody who may do some things with some objects: "URL entitlement".
type allowed []string

func (a allowed) Allows(o auth.Object, entitlement string) bool {
	for _, one := range a {
		if one == o.URL+" "+entitlement {
			return true
		}
	}
	return false
}

func TestTokens(t *testing.T) {
	s := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = s.Close() })
	guard := trust.New(trust.Deps{Store: s})
	identities := identity.New(identity.Deps{Store: s, Trust: guard})
	svc := bearer.New(bearer.Deps{Identities: identities, Server: func(context.Context) (string, error) { return "here", nil }})
	for kind, id := range map[string]string{api.IdentityTypeClientTokenBearer: "id1", api.IdentityTypeInitialUITokenBearer: "id2"} {
		if err := identities.Create(t.Context(), identity.Record{Method: "bearer", Type: kind, ID: id, Name: "n" + id}); err != nil {
			t.Fatal(err)
		}
	}
	const one, two = "/1.0/auth/identities/bearer/id1", "/1.0/auth/identities/bearer/id2"
	admin := auth.Identity{Kind: auth.Unix, Admin: true}
	editor := auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: allowed{one + " can_edit", two + " can_edit"}}
	viewer := auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: allowed{one + " can_view"}}
	for name, c := range map[string]struct {
		who              auth.Identity
		method, id, body string
		code             int
		want             string
	}{
		"issue":                   {admin, "POST", "id1", `{}`, 200, `"token":"ey`},
		"by name":                 {admin, "POST", "nid1", `{"expiry":"1H"}`, 200, `"token":"ey`},
		"bad expiry":              {admin, "POST", "id1", `{"expiry":"x"}`, 400, "expiry"},
		"nobody":                  {admin, "POST", "id3", `{}`, 404, "not found"},
		"revoke":                  {admin, "DELETE", "nid1", "", 200, ""},
		"editor":                  {editor, "POST", "nid1", `{}`, 200, `"token":"ey`},
		"editor, administrator's": {editor, "POST", "id2", `{}`, 403, "only administrators"},
		"editor, revoking":        {editor, "DELETE", "id2", "", 403, "only administrators"},
		"viewer":                  {viewer, "POST", "id1", `{}`, 403, "can_edit"},
		"viewer, hidden":          {viewer, "POST", "nid2", `{}`, 404, `/bearer/nid2 not found`},
		"viewer, nobody":          {viewer, "POST", "nid3", `{}`, 404, `/bearer/nid3 not found`},
		"stranger":                {auth.Identity{}, "POST", "id1", `{}`, 403, "not authorized"},
	} {
		srv := &rest.Server{Named: identities.Named, Auth: func(*http.Request) (auth.Identity, error) { return c.who, nil }}
		srv.SetPhase(rest.Serving)
		w := httptest.NewRecorder()
		srv.Handler(access.Tokens(identities, svc)).ServeHTTP(w, httptest.NewRequest(c.method, "/1.0/auth/identities/bearer/"+c.id+"/token", strings.NewReader(c.body)))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
