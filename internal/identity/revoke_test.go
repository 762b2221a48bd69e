package identity_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/identity"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

func TestRevocations(t *testing.T) {
	w := newWorld(t)
	view, edit := permission("server", "/1.0", "can_view_metrics"), permission("server", "/1.0", "can_edit")
	w.group(t, "g", view, edit)
	w.group(t, "other")
	if err := w.CreateProviderGroup(t.Context(), api.IdentityProviderGroup{Name: "sales", Groups: []string{"g"}}); err != nil {
		t.Fatal(err)
	}
	legacy := trusttest.Certificate(t, time.Hour)
	if _, err := w.trust.Add(t.Context(), api.CertificatesPost{Type: "client", Certificate: text(legacy)}, nil); err != nil {
		t.Fatal(err)
	}
	ann, bob := w.who(t, w.put(t, "ann", "g", "other")), w.who(t, w.put(t, "bob"))
	oidc, err := w.Caller(t.Context(), identity.Record{Method: "oidc", Type: api.IdentityTypeOIDCClient, ID: "o@x"}, []string{"sales"}, "")
	if err != nil {
		t.Fatal(err)
	}
	everybody := map[string]auth.Identity{"ann": ann, "bob": bob, "oidc": oidc, "legacy": {Kind: auth.TLS, Name: trust.Fingerprint(legacy)}, "root": {Kind: auth.Unix, Name: "root"}}
	var mu sync.Mutex
	ended := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.Revocations(ctx, func(m identity.Match) {
			mu.Lock()
			defer mu.Unlock()
			for name, i := range everybody {
				if m(i) {
					ended[name] = true
				}
			}
		})
	}()
	time.Sleep(50 * time.Millisecond) // until it watches
	update := func(put api.IdentityPut) error { return w.Update(t.Context(), "tls", ann.ID, put) }
	replace := func(ps ...api.Permission) error {
		return w.ReplaceGroup(t.Context(), "g", api.AuthGroupPut{Description: time.Now().String(), Permissions: ps})
	}
	for _, c := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"a description", func() error { return replace(view, edit) }, nil},
		{"a permission more", func() error { return replace(view, edit, permission("server", "/1.0", "viewer")) }, nil},
		{"a permission less", func() error { return replace(view, edit) }, []string{"ann", "oidc"}},
		{"a group less", func() error { return update(api.IdentityPut{Groups: []string{"g"}}) }, []string{"ann"}},
		{"a group more", func() error { return update(api.IdentityPut{Groups: []string{"g", "other"}}) }, nil},
		{"the provider's group stands for less", func() error { return w.ReplaceProviderGroup(t.Context(), "sales", []string{"other"}) }, []string{"oidc"}},
		{"another certificate", func() error {
			return update(api.IdentityPut{Groups: []string{"g", "other"}, TLSCertificate: text(trusttest.Certificate(t, time.Hour))})
		}, []string{"ann"}},
		{"bob goes", func() error { return w.Delete(t.Context(), "tls", bob.ID) }, []string{"bob"}},
		{"a certificate goes", func() error { return w.trust.Delete(t.Context(), trust.Fingerprint(legacy)) }, []string{"legacy"}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(c.what, err)
		}
		deadline := time.Now().Add(5 * time.Second)
		for wait := c.want == nil; ; time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			n := len(ended)
			mu.Unlock()
			if n >= len(c.want) && !wait || time.Now().After(deadline) {
				break
			}
			if wait {
				time.Sleep(30 * time.Millisecond)
				wait = false
			}
		}
		mu.Lock()
		for name := range everybody {
			want := false
			for _, n := range c.want {
				want = want || n == name
			}
			if ended[name] != want {
				t.Errorf("%s: %s ended is %v", c.what, name, ended[name])
			}
		}
		clear(ended)
		mu.Unlock()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
