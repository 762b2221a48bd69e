package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/event"
	"lxd/internal/identity"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// world is a service on an empty store.
type world struct {
	*identity.Service
	store     store.Store
	trust     *trust.Service
	expiry    string
	addresses []string

	mu   sync.Mutex
	said []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{expiry: "15d", addresses: []string{"10.0.0.1:8443"}}
	w.store = identity.Following(store.NewMem(store.Options{OnAnnounce: func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		c := ev.(event.Change)
		w.said = append(w.said, c.Action+" "+c.Source)
	}}))
	t.Cleanup(func() { _ = w.store.Close() })
	p := project.New(project.Deps{Store: w.store})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.trust = trust.New(trust.Deps{Store: w.store, Taken: func(tx store.Tx, f string) bool { return identity.Collection.Has(tx, identity.Key("tls", f)) }})
	w.Service = identity.New(identity.Deps{Store: w.store, Trust: w.trust, Fingerprint: "f00", Addresses: func() []string { return w.addresses },
		Expiry: func(context.Context) (string, error) { return w.expiry, nil }})
	w.heard()
	return w
}

// heard is what was announced since the last call.
func (w *world) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.said, "\n")
	w.said = nil
	return out
}

func text(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }

// request is one that comes over a connection with that certificate.
func request(c *x509.Certificate) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	if c != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{c}
	}
	return r
}

// who is the identity that a connection with that certificate has.
func (w *world) who(t *testing.T, c *x509.Certificate) auth.Identity {
	t.Helper()
	id, handled, err := w.TLS(request(c))
	if err != nil || handled != id.Trusted() {
		t.Fatal(handled, err)
	}
	return id
}

func (w *world) group(t *testing.T, name string, ps ...api.Permission) {
	t.Helper()
	if err := w.CreateGroup(t.Context(), api.AuthGroupsPost{AuthGroupPost: api.AuthGroupPost{Name: name}, AuthGroupPut: api.AuthGroupPut{Permissions: ps}}); err != nil {
		t.Fatal(err)
	}
}

// put keeps an identity with a certificate of its own, which is returned.
func (w *world) put(t *testing.T, name string, groups ...string) *x509.Certificate {
	t.Helper()
	c := trusttest.Certificate(t, time.Hour)
	if err := w.Put(t.Context(), record(c, name, groups...)); err != nil {
		t.Fatal(err)
	}
	return c
}

func record(c *x509.Certificate, name string, groups ...string) identity.Record {
	return identity.Record{Method: "tls", Type: api.IdentityTypeClientCertificate, ID: trust.Fingerprint(c), Name: name, Groups: groups, PEM: "x"}
}

func permission(entity, url, entitlement string) api.Permission {
	return api.Permission{EntityType: entity, EntityReference: url, Entitlement: entitlement}
}
