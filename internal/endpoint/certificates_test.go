package endpoint_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/endpoint"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// certificateWorld is a server with the routes of certificates alone, asked by w.who.
func certificateWorld(t *testing.T) *world {
	t.Helper()
	st := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = st.Close() })
	w := &world{ops: op.NewManager(t.Context(), op.Options{Store: st, Location: "none"}), who: auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}}
	svc := trust.New(trust.Deps{Store: st, Fingerprint: "f00", Addresses: func() []string { return []string{"10.0.0.1:8443"} },
		Expiry: func(context.Context) (string, error) { return "1d", nil }})
	srv := &rest.Server{Ops: w.ops, Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil }}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(endpoint.Certificates(svc), endpoint.Operations(w.ops)))
	t.Cleanup(w.Close)
	return w
}

// foreign is the certificate of some TLS server, which is as good as any.
func foreign(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	return base64.StdEncoding.EncodeToString(s.Certificate().Raw)
}

func TestCertificates(t *testing.T) {
	w := certificateWorld(t)
	cert := foreign(t)
	add := func(body string) answer { t.Helper(); return w.do(t, "POST", "/1.0/certificates", body) }
	made := add(`{"type": "client", "name": "desk", "certificate": "` + cert + `"}`)
	if made.HTTP != 201 || !strings.HasPrefix(made.Get("Location"), "/1.0/certificates/") {
		t.Fatalf("%+v", made)
	}
	at := made.Get("Location")
	if a := add(`{"type": "client", "certificate": "` + cert + `"}`); a.HTTP != 409 {
		t.Error("twice", a)
	}
	var c api.Certificate
	a := w.do(t, "GET", at[:len(at)-40], "")
	a.into(t, &c)
	if c.Name != "desk" || a.Get("ETag") == "" || c.Projects == nil {
		t.Errorf("%+v", c)
	}
	if a := w.do(t, "PUT", at, `{"name": "x", "type": "client"}`, "If-Match", "old"); a.HTTP != 412 {
		t.Error(a)
	}
	if a := w.do(t, "PUT", at, `{"name": "x", "type": "client"}`, "If-Match", a.Get("ETag")); a.HTTP != 200 {
		t.Error(a)
	}
	for what, who := range map[string]auth.Identity{"stranger": {}, "another": {Kind: auth.TLS, Name: "other"}} {
		w.who = who
		for _, method := range []string{"GET", "DELETE", "PUT", "PATCH"} {
			if a := w.do(t, method, at, `{"name": "y"}`); a.HTTP != 403 {
				t.Error(what, method, a.HTTP)
			}
		}
		if a := add(`{"type": "client", "token": true, "name": "t"}`); a.HTTP != 403 {
			t.Error(what, a)
		}
		if a := add(`{"type": "client", "password": "hush"}`); a.HTTP != 501 {
			t.Error(what, a)
		}
		if a := w.do(t, "GET", "/1.0/certificates/0123", ""); a.HTTP != 403 {
			t.Error(what, "learns which certificates there are", a)
		}
	}
	w.who = auth.Identity{Kind: auth.OIDC, Name: "auditor", FineGrained: true, Rights: model.Compile([]model.Permission{
		{Entity: "server", URL: "/1.0", Entitlement: "can_view_identities"}})}
	if a := w.do(t, "GET", at, ""); a.HTTP != 200 {
		t.Error("who may view identities does not see it", a)
	}
	renewed, err := json.Marshal(map[string]any{"name": "x", "type": "client", "certificate": foreign(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"DELETE", "PUT", "PATCH"} {
		if a := w.do(t, method, at, string(renewed)); a.HTTP != 403 {
			t.Error("who may only view identities changes them", method, a.HTTP)
		}
	}
	w.who = auth.Identity{Kind: auth.TLS, Name: c.Fingerprint}
	if a := w.do(t, "GET", "/1.0/certificates", ""); string(a.Metadata) != `["`+at+`"]` {
		t.Error(a)
	}
	if a := w.do(t, "PATCH", at, `{"name": "root"}`); a.HTTP != 403 {
		t.Error(a)
	}
	if a := w.do(t, "DELETE", at, ""); a.HTTP != 200 {
		t.Error("a client may leave", a)
	}
	w.who.Admin = true
	if a := w.do(t, "GET", at, ""); a.HTTP != 404 {
		t.Error(a)
	}
}

func TestTokenOverTheAPI(t *testing.T) {
	w := certificateWorld(t)
	a := w.do(t, "POST", "/1.0/certificates", `{"type": "client", "token": true, "name": "laptop"}`)
	var o api.Operation
	a.into(t, &o)
	if a.HTTP != 202 || o.Class != "token" || a.Get("Location") != "/1.0/operations/"+o.ID || o.Metadata["fingerprint"] != "f00" {
		t.Fatalf("%+v", a)
	}
	b, err := json.Marshal(map[string]any{"client_name": "laptop", "secret": o.Metadata["secret"]})
	if err != nil {
		t.Fatal(err)
	}
	token := base64.StdEncoding.EncodeToString(b)
	if a := w.do(t, "POST", "/1.0/certificates", `{"type": "client", "trust_token": "`+token+`"}`); a.HTTP != 409 {
		t.Error("who is trusted needs none", a)
	}
	w.who = auth.Identity{}
	// clients from before there was a field for it send the token as a password
	use := func() int {
		return w.do(t, "POST", "/1.0/certificates", `{"type": "client", "password": "`+token+`", "certificate": "`+foreign(t)+`"}`).HTTP
	}
	code := use()
	for deadline := time.Now().Add(5 * time.Second); code == 403 && time.Now().Before(deadline); code = use() {
		time.Sleep(2 * time.Millisecond)
	}
	if code != 201 {
		t.Fatal(code)
	}
	if code := use(); code != 403 {
		t.Error("the token is good for two", code)
	}
}
