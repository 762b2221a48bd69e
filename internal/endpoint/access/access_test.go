package access_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/endpoint/access"
	"lxd/internal/identity"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// world is a server with the routes of this package alone; who asks is a TLS connection's certificate, or else who.
type world struct {
	*httptest.Server
	store store.Store
	svc   *identity.Service
	trust *trust.Service
	who   auth.Identity
	peer  *x509.Certificate
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{store: identity.Following(store.NewMem(store.Options{})), who: auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}}
	t.Cleanup(func() { _ = w.store.Close() })
	if err := project.New(project.Deps{Store: w.store}).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.trust = trust.New(trust.Deps{Store: w.store, Limit: &limit.Limiter{}})
	w.svc = identity.New(identity.Deps{Store: w.store, Trust: w.trust, Fingerprint: "f00", Addresses: func() []string { return []string{"10.0.0.1:8443"} },
		Expiry: func(context.Context) (string, error) { return "1d", nil }})
	srv := &rest.Server{Named: w.svc.Named, Ops: op.NewManager(t.Context(), op.Options{Store: w.store, Location: "none"}), Auth: func(r *http.Request) (auth.Identity, error) {
		if w.peer == nil {
			return w.who, nil
		}
		if id, err := w.trust.Identify(r); err != nil || id.Trusted() {
			return id, err
		}
		id, _, err := w.svc.TLS(r)
		return id, err
	}}
	srv.SetPhase(rest.Serving)
	inner := srv.Handler(access.Identities(w.svc, w.trust), access.Groups(w.svc), access.ProviderGroups(w.svc), access.Permissions(w.svc))
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.peer != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.peer}}
		}
		inner.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

// answer is an envelope.
type answer struct {
	http.Header
	HTTP     int
	Error    string
	Metadata json.RawMessage
}

func (w *world) do(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{HTTP: resp.StatusCode, Header: resp.Header}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// want sends a request that must be answered with that status.
func (w *world) want(t testing.TB, status int, method, path, body string) answer {
	t.Helper()
	a := w.do(t, method, path, body)
	if a.HTTP != status {
		t.Errorf("%s %s %s: %d %s, want %d", method, path, body, a.HTTP, a.Error, status)
	}
	return a
}

func into[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.Metadata, &v); err != nil {
		t.Fatalf("%s: %v", a.Metadata, err)
	}
	return v
}

// foreign is the certificate of some client.
func foreign(t *testing.T) *x509.Certificate {
	t.Helper()
	return trusttest.Certificate(t, time.Hour)
}

func text(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }

// client makes an identity in these groups, and asks as it from then on; root is who asked before.
func (w *world) client(t *testing.T, name string, groups ...string) *x509.Certificate {
	t.Helper()
	c := foreign(t)
	list, _ := json.Marshal(groups)
	w.want(t, 201, "POST", "/1.0/auth/identities/tls", fmt.Sprintf(`{"name": %q, "certificate": %q, "groups": %s}`, name, text(c), list))
	return c
}

func (w *world) group(t *testing.T, name string, ps ...[3]string) {
	t.Helper()
	all := []api.Permission{}
	for _, p := range ps {
		all = append(all, api.Permission{EntityType: p[0], EntityReference: p[1], Entitlement: p[2]})
	}
	b, _ := json.Marshal(api.AuthGroupsPost{AuthGroupPost: api.AuthGroupPost{Name: name}, AuthGroupPut: api.AuthGroupPut{Permissions: all}})
	w.want(t, 201, "POST", "/1.0/auth/groups", string(b))
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g", [3]string{"project", "/1.0/projects/default", "viewer"})
	w.want(t, 409, "POST", "/1.0/auth/groups", `{"name": "g"}`)
	w.want(t, 400, "POST", "/1.0/auth/groups", `{"name": "a/b"}`)
	w.want(t, 400, "POST", "/1.0/auth/groups", `{"name": "h", "permissions": [{"entity_type": "server", "url": "/1.0", "entitlement": "can_fly"}]}`)
	w.want(t, 400, "POST", "/1.0/auth/groups", `{"name": "h", "permissions": [{"entity_type": "project", "url": "/1.0/projects/no", "entitlement": "viewer"}]}`)
	a := w.want(t, 200, "GET", "/1.0/auth/groups/g", "")
	if got := string(a.Metadata); got != `{"name":"g","description":"","permissions":[{"entity_type":"project","url":"/1.0/projects/default","entitlement":"viewer"}],"identities":{},"identity_provider_groups":[]}` {
		t.Error(got)
	}
	if a := w.do(t, "PUT", "/1.0/auth/groups/g", `{"description": "x"}`, "If-Match", "old"); a.HTTP != 412 {
		t.Error(a)
	}
	w.want(t, 200, "PATCH", "/1.0/auth/groups/g", `{"description": "x"}`)
	if g := into[api.AuthGroup](t, w.want(t, 200, "GET", "/1.0/auth/groups/g", "")); g.Description != "x" || len(g.Permissions) != 1 {
		t.Error(g)
	}
	c := w.client(t, "laptop", "g")
	w.want(t, 201, "POST", "/1.0/auth/identity-provider-groups", `{"name": "/sales", "groups": ["g"]}`)
	if a := w.want(t, 201, "POST", "/1.0/auth/groups/g", `{"name": "h h"}`); a.Get("Location") != "/1.0/auth/groups/h%20h" {
		t.Error(a.Header)
	}
	g := into[api.AuthGroup](t, w.want(t, 200, "GET", "/1.0/auth/groups/h%20h", ""))
	if len(g.Identities["tls"]) != 1 || g.Identities["tls"][0] != trust.Fingerprint(c) || len(g.IdentityProviderGroups) != 1 {
		t.Error(g)
	}
	if a := w.want(t, 200, "GET", "/1.0/auth/groups", ""); string(a.Metadata) != `["/1.0/auth/groups/h%20h"]` {
		t.Error(string(a.Metadata))
	}
	w.want(t, 200, "DELETE", "/1.0/auth/groups/h%20h", "")
	w.want(t, 404, "DELETE", "/1.0/auth/groups/h%20h", "")
	if p := into[api.IdentityProviderGroup](t, w.want(t, 200, "GET", "/1.0/auth/identity-provider-groups/%2Fsales", "")); len(p.Groups) != 0 || p.Groups == nil {
		t.Error("a group left something behind", p)
	}
	if i := into[api.Identity](t, w.want(t, 200, "GET", "/1.0/auth/identities/tls/laptop", "")); len(i.Groups) != 0 || i.Groups == nil {
		t.Error("a group left something behind", i)
	}
}

func TestProviderGroups(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	w.group(t, "h")
	w.want(t, 201, "POST", "/1.0/auth/identity-provider-groups", `{"name": "/sales", "groups": ["g"]}`)
	w.want(t, 409, "POST", "/1.0/auth/identity-provider-groups", `{"name": "/sales"}`)
	w.want(t, 404, "POST", "/1.0/auth/identity-provider-groups", `{"name": "x", "groups": ["nosuch"]}`)
	w.want(t, 400, "POST", "/1.0/auth/identity-provider-groups", `{"name": "a\nb"}`)
	w.want(t, 201, "POST", "/1.0/auth/identity-provider-groups/%2Fsales", `{"name": "sales"}`)
	w.want(t, 404, "GET", "/1.0/auth/identity-provider-groups/%2Fsales", "")
	w.want(t, 200, "PUT", "/1.0/auth/identity-provider-groups/sales", `{"groups": ["h", "g", "h"]}`)
	if a := w.want(t, 200, "GET", "/1.0/auth/identity-provider-groups?recursion=1", ""); string(a.Metadata) != `[{"name":"sales","groups":["g","h"]}]` {
		t.Error(string(a.Metadata))
	}
	w.want(t, 200, "DELETE", "/1.0/auth/identity-provider-groups/sales", "")
	w.want(t, 404, "PUT", "/1.0/auth/identity-provider-groups/sales", `{"groups": []}`)
}
