package access_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/identity"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

func TestTLSIdentities(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	c := w.client(t, "laptop", "g")
	const list = "/1.0/auth/identities/tls"
	w.want(t, 409, "POST", list, `{"name": "other", "certificate": "`+text(c)+`"}`)
	w.want(t, 409, "POST", list, `{"name": "laptop", "certificate": "`+text(foreign(t))+`"}`)
	w.want(t, 400, "POST", list, `{"name": "x"}`)
	w.want(t, 400, "POST", list, `{"name": "x", "certificate": "AAAA"}`)
	w.want(t, 400, "POST", list, `{"name": "x", "token": true, "certificate": "`+text(foreign(t))+`"}`)
	w.want(t, 404, "POST", list, `{"name": "x", "token": true, "groups": ["nosuch"]}`)
	w.want(t, 403, "POST", list, `{"name": "x", "certificate": "`+text(trusttest.Certificate(t, -time.Minute))+`"}`)
	f := trust.Fingerprint(c)
	i := into[api.Identity](t, w.want(t, 200, "GET", list+"/"+f[:14], ""))
	if i.Name != "laptop" || i.Type != "Client certificate" || i.Identifier != f || !strings.HasPrefix(i.TLSCertificate, "-----BEGIN") || i.AuthenticationMethod != "tls" {
		t.Error(i)
	}
	if a := w.do(t, "PATCH", list+"/laptop", `{"groups": []}`, "If-Match", "old"); a.HTTP != 412 {
		t.Error(a)
	}
	w.want(t, 200, "PATCH", list+"/laptop", `{"groups": []}`)
	w.want(t, 404, "PATCH", list+"/laptop", `{"groups": ["nosuch"]}`)
	body, _ := json.Marshal(api.IdentityPut{Groups: []string{"g"}, TLSCertificate: i.TLSCertificate})
	w.want(t, 200, "PUT", list+"/laptop", string(body))
	next := foreign(t)
	w.want(t, 200, "PATCH", list+"/laptop", `{"tls_certificate": "`+text(next)+`"}`)
	if i := into[api.Identity](t, w.want(t, 200, "GET", list+"/laptop", "")); i.Identifier != trust.Fingerprint(next) || len(i.Groups) != 1 {
		t.Error(i)
	}
	w.want(t, 404, "GET", list+"/"+f, "")
	w.want(t, 200, "DELETE", list+"/laptop", "")
	w.want(t, 404, "DELETE", list+"/laptop", "")
	w.want(t, 404, "PUT", list+"/laptop", "{}")
}

func TestRenewal(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g", [3]string{"project", "/1.0/projects/default", "viewer"})
	w.group(t, "more", [3]string{"server", "/1.0", "admin"})
	c := w.client(t, "laptop", "g")
	at := "/1.0/auth/identities/tls/" + trust.Fingerprint(c)
	w.peer = c
	for _, body := range []string{`{"groups": ["more"]}`, `{"groups": ["g", "more"]}`} {
		w.want(t, 403, "PATCH", at, body)
		w.want(t, 403, "PUT", at, body)
	}
	next := foreign(t)
	w.want(t, 200, "PUT", at, `{"tls_certificate": "`+text(next)+`"}`)
	w.want(t, 403, "GET", "/1.0/auth/identities/current", "")
	w.peer = next
	info := into[api.IdentityInfo](t, w.want(t, 200, "GET", "/1.0/auth/identities/current", ""))
	if info.Identifier != trust.Fingerprint(next) || !info.FineGrained || len(info.EffectiveGroups) != 1 || info.EffectivePermissions[0].Entitlement != "viewer" ||
		info.ExpiresAt == nil || !info.ExpiresAt.Equal(next.NotAfter) {
		t.Errorf("%+v", info)
	}
	w.want(t, 200, "DELETE", "/1.0/auth/identities/tls/"+info.Identifier, "")
	w.want(t, 403, "GET", "/1.0/auth/identities/current", "")
}

func TestPendingIdentities(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	a := w.want(t, 201, "POST", "/1.0/auth/identities/tls", `{"name": "laptop", "token": true, "groups": ["g"]}`)
	token := into[api.CertificateAddToken](t, a)
	if token.ClientName != "laptop" || token.Fingerprint != "f00" || len(token.Addresses) != 1 || token.Secret == "" || token.Type != "Client certificate (pending)" ||
		time.Until(token.ExpiresAt) < 23*time.Hour {
		t.Errorf("%+v", token)
	}
	i := into[api.Identity](t, w.want(t, 200, "GET", a.Get("Location"), ""))
	if i.Type != "Client certificate (pending)" || i.TLSCertificate != "" || strings.Contains(string(a.Metadata), i.Identifier) {
		t.Errorf("%+v", i)
	}
	w.want(t, 400, "PATCH", a.Get("Location"), `{"tls_certificate": "`+text(foreign(t))+`"}`)
	b, _ := json.Marshal(token)
	redeem := fmt.Sprintf(`{"name": "root", "trust_token": %q}`, base64.StdEncoding.EncodeToString(b))
	w.want(t, 409, "POST", "/1.0/auth/identities/tls", redeem)
	w.who = auth.Identity{}
	w.want(t, 400, "POST", "/1.0/auth/identities/tls", redeem) // no certificate
	w.peer = foreign(t)
	w.want(t, 403, "POST", "/1.0/auth/identities/tls", `{"name": "x", "certificate": "`+text(w.peer)+`"}`)
	w.want(t, 403, "POST", "/1.0/auth/identities/tls", `{"name": "x", "token": true}`)
	w.want(t, 400, "POST", "/1.0/auth/identities/tls", strings.Replace(redeem, "{", `{"groups": ["g"], `, 1))
	done := w.want(t, 201, "POST", "/1.0/auth/identities/tls", redeem)
	if done.Get("Location") != identity.URL("tls", trust.Fingerprint(w.peer)) || string(done.Metadata) != "null" {
		t.Error(done)
	}
	info := into[api.IdentityInfo](t, w.want(t, 200, "GET", "/1.0/auth/identities/current", ""))
	if info.Name != "laptop" || info.Type != "Client certificate" || len(info.EffectiveGroups) != 1 {
		t.Errorf("%+v", info)
	}
	w.peer = foreign(t)
	for range 10 {
		w.want(t, 403, "POST", "/1.0/auth/identities/tls", redeem)
	}
	w.want(t, 429, "POST", "/1.0/auth/identities/tls", redeem)
}

func TestLegacyCertificatesAreIdentities(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	c := foreign(t)
	if _, err := w.trust.Add(t.Context(), api.CertificatesPost{Name: "old", Type: "client", Restricted: true, Projects: []string{"default"}, Certificate: text(c)}, nil); err != nil {
		t.Fatal(err)
	}
	i := into[api.Identity](t, w.want(t, 200, "GET", "/1.0/auth/identities/tls/old", ""))
	if i.Type != "Client certificate (restricted)" || i.Identifier != trust.Fingerprint(c) || i.Groups == nil {
		t.Errorf("%+v", i)
	}
	w.want(t, 501, "PATCH", "/1.0/auth/identities/tls/old", `{"groups": ["g"]}`)
	w.want(t, 501, "DELETE", "/1.0/auth/identities/tls/old", "")
	w.want(t, 409, "POST", "/1.0/auth/identities/tls", `{"name": "x", "certificate": "`+text(c)+`"}`)
	if all := into[[]string](t, w.want(t, 200, "GET", "/1.0/auth/identities", "")); len(all) != 1 || all[0] != identity.URL("tls", i.Identifier) {
		t.Error(all)
	}
	w.peer = c
	info := into[api.IdentityInfo](t, w.want(t, 200, "GET", "/1.0/auth/identities/current", ""))
	if info.FineGrained || len(info.EffectiveGroups) != 0 || info.EffectivePermissions == nil || info.ExpiresAt == nil {
		t.Errorf("%+v", info)
	}
	for _, path := range []string{"/1.0/auth/groups/g", "/1.0/auth/identities/tls/" + i.Identifier, "/1.0/auth/permissions"} {
		w.want(t, 403, "GET", path, "")
	}
	for _, path := range []string{"/1.0/auth/groups", "/1.0/auth/identities", "/1.0/auth/identity-provider-groups"} {
		if a := w.want(t, 200, "GET", path, ""); string(a.Metadata) != "[]" {
			t.Error(path, string(a.Metadata))
		}
	}
	w.want(t, 403, "POST", "/1.0/auth/groups", `{"name": "mine"}`)
	w.want(t, 403, "PUT", "/1.0/auth/identities/tls/"+i.Identifier, `{"groups": ["g"]}`)
}

func TestBearersAndOthers(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	a := w.want(t, 201, "POST", "/1.0/auth/identities/bearer", `{"name": "ci", "type": "Client token bearer", "groups": ["g"]}`)
	w.want(t, 201, "POST", "/1.0/auth/identities/bearer", `{"name": "guest", "type": "DevLXD token bearer"}`)
	w.want(t, 409, "POST", "/1.0/auth/identities/bearer", `{"name": "ci", "type": "Client token bearer"}`)
	w.want(t, 400, "POST", "/1.0/auth/identities/bearer", `{"name": "x", "type": "Initial UI token bearer", "groups": ["g"]}`)
	w.want(t, 201, "POST", "/1.0/auth/identities/bearer", `{"name": "first", "type": "Initial UI token bearer"}`)
	w.who = auth.Identity{Kind: auth.TLS, FineGrained: true, Rights: allowed{"/1.0 can_create_identities"}}
	w.want(t, 403, "POST", "/1.0/auth/identities/bearer", `{"name": "second", "type": "Initial UI token bearer"}`)
	w.who = auth.Identity{Kind: auth.Unix, Admin: true}
	w.want(t, 400, "POST", "/1.0/auth/identities/bearer", `{"name": "x"}`)
	if i := into[api.Identity](t, w.want(t, 200, "GET", a.Get("Location"), "")); i.Name != "ci" || i.Type != "Client token bearer" || a.Get("Location") != identity.URL("bearer", i.Identifier) {
		t.Error(i)
	}
	w.want(t, 400, "PATCH", "/1.0/auth/identities/bearer/ci", `{"tls_certificate": "`+text(foreign(t))+`"}`)
	w.want(t, 200, "PUT", "/1.0/auth/identities/bearer/ci", `{"groups": []}`)
	w.want(t, 200, "DELETE", "/1.0/auth/identities/bearer/ci", "")
	w.want(t, 404, "GET", "/1.0/auth/identities/oidc/nobody@x", "")
	if err := w.svc.Put(t.Context(), identity.Record{Method: "oidc", Type: api.IdentityTypeOIDCClient, ID: "a@x.org", Name: "Ann", Subject: "s"}); err != nil {
		t.Fatal(err)
	}
	w.want(t, 200, "PATCH", "/1.0/auth/identities/oidc/a@x.org", `{"groups": ["g"]}`)
	if a := w.want(t, 200, "GET", "/1.0/auth/identities/oidc?recursion=1", ""); string(a.Metadata) !=
		`[{"authentication_method":"oidc","type":"OIDC client","id":"a@x.org","name":"Ann","groups":["g"],"tls_certificate":""}]` {
		t.Error(string(a.Metadata))
	}
	w.want(t, 400, "GET", "/1.0/auth/identities/current", "") // the local socket
}
