package identity_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// sent is a token as clients send it.
func sent(t *testing.T, token api.CertificateAddToken) string {
	t.Helper()
	b, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (w *world) issue(t *testing.T, name string, groups ...string) (identity.Record, string) {
	t.Helper()
	rec, token, err := w.Issue(t.Context(), name, groups)
	if err != nil {
		t.Fatal(err)
	}
	return rec, sent(t, token)
}

func TestTokensLetOneClientIn(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	pending, token := w.issue(t, "laptop", "g")
	w.group(t, "watchers", permission("identity", pending.URL(), "can_view"))
	w.heard()
	var in atomic.Int32
	var all sync.WaitGroup
	var owner atomic.Value
	for range 8 {
		c := trusttest.Certificate(t, time.Hour)
		all.Go(func() {
			location, err := w.Redeem(context.Background(), token, "10.0.0.9:1", c)
			switch {
			case err == nil:
				in.Add(1)
				owner.Store(trust.Fingerprint(c))
				if location != identity.URL("tls", trust.Fingerprint(c)) {
					t.Error(location)
				}
			case !errs.Is(err, errs.Forbidden):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Fatalf("%d clients got in", in.Load())
	}
	got, err := w.Find(t.Context(), "tls", "laptop")
	if err != nil || got.ID != owner.Load() || got.Type != api.IdentityTypeClientCertificate || got.Secret != "" || !slices.Equal(got.Groups, []string{"g"}) || got.PEM == "" {
		t.Errorf("%+v %v", got, err)
	}
	if said := w.heard(); said != "identity-updated "+got.URL() {
		t.Error(said)
	}
	if g, err := w.Group(t.Context(), "watchers"); err != nil || len(g.Permissions) != 1 || g.Permissions[0].EntityReference != got.URL() {
		t.Error("what was permitted on it is lost", g, err)
	}
}

func TestTokensThatOpenNothing(t *testing.T) {
	w := newWorld(t)
	gone, withdrawn := w.issue(t, "gone")
	if err := w.Delete(t.Context(), "tls", gone.ID); err != nil {
		t.Fatal(err)
	}
	w.expiry = "0M"
	old, late := w.issue(t, "late")
	w.expiry = ""
	_, never := w.issue(t, "forever")
	c, other := trusttest.Certificate(t, time.Hour), w.put(t, "other")
	for what, token := range map[string]string{"withdrawn": withdrawn, "late": late, "nothing": "", "no token": "!!", "empty": sent(t, api.CertificateAddToken{}),
		"a secret of nobody": sent(t, api.CertificateAddToken{Secret: "x"})} {
		if _, err := w.Redeem(t.Context(), token, "10.0.0.9:1", c); !errs.Is(err, errs.Forbidden) {
			t.Error(what, err)
		}
	}
	if _, err := w.Redeem(t.Context(), never, "10.0.0.9:1", other); !errs.Is(err, errs.Conflict) {
		t.Error("the certificate of another identity", err)
	}
	if _, err := w.Redeem(t.Context(), never, "10.0.0.9:1", nil); !errs.Is(err, errs.Invalid) {
		t.Error("no certificate", err)
	}
	if _, err := w.Redeem(t.Context(), never, "10.0.0.9:1", trusttest.Certificate(t, -time.Minute)); !errs.Is(err, errs.Forbidden) {
		t.Error("an expired certificate", err)
	}
	if err := w.Prune(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Find(t.Context(), "tls", old.ID); !errs.Is(err, errs.NotFound) {
		t.Error("it was not removed", err)
	}
	if _, err := w.Redeem(t.Context(), never, "10.0.0.9:1", c); err != nil {
		t.Error("a good token does not work after failures that were not its own", err)
	}
	w.addresses = nil
	if _, _, err := w.Issue(t.Context(), "x", nil); !errs.Is(err, errs.Invalid) {
		t.Error("nobody can come", err)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	c, other := w.put(t, "a"), w.put(t, "b")
	id := trust.Fingerprint(c)
	pending, _ := w.issue(t, "p")
	for what, x := range map[string]struct {
		id   string
		put  api.IdentityPut
		want errs.Kind
	}{
		"the certificate of another": {id, api.IdentityPut{TLSCertificate: text(other)}, errs.Conflict},
		"one that has expired":       {id, api.IdentityPut{TLSCertificate: text(trusttest.Certificate(t, -time.Minute))}, errs.Forbidden},
		"none":                       {id, api.IdentityPut{TLSCertificate: "x"}, errs.Invalid},
		"no such group":              {id, api.IdentityPut{Groups: []string{"no"}}, errs.NotFound},
		"one that waits":             {pending.ID, api.IdentityPut{TLSCertificate: text(trusttest.Certificate(t, time.Hour))}, errs.Invalid},
		"nobody":                     {"x", api.IdentityPut{}, errs.NotFound},
	} {
		if err := w.Update(t.Context(), "tls", x.id, x.put); !errs.Is(err, x.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.Update(t.Context(), "tls", id, api.IdentityPut{Groups: []string{"g"}, TLSCertificate: text(c)}); err != nil {
		t.Error("its own certificate", err)
	}
	if err := w.Update(t.Context(), "tls", pending.ID, api.IdentityPut{Groups: []string{"g"}}); err != nil {
		t.Error("the groups of one that waits", err)
	}
	if _, err := w.TLSRecord("x", text(trusttest.Certificate(t, -time.Minute)), nil); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
}

func TestNamed(t *testing.T) {
	w := newWorld(t)
	f := trust.Fingerprint(w.put(t, "my laptop"))
	legacy := trusttest.Certificate(t, time.Hour)
	if _, err := w.trust.Add(t.Context(), api.CertificatesPost{Type: "client", Name: "old", Certificate: text(legacy)}, nil); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"/1.0/auth/identities/tls/old": identity.URL("tls", trust.Fingerprint(legacy)), "/1.0/auth/identities/oidc/old": "/1.0/auth/identities/oidc/old",
		"/1.0/auth/identities/tls/my%20laptop": identity.URL("tls", f), "/1.0/auth/identities/tls/" + f[:12]: identity.URL("tls", f),
		"/1.0/auth/identities/tls/" + f: identity.URL("tls", f), "/1.0/auth/identities/tls/nobody": "/1.0/auth/identities/tls/nobody",
		"/1.0/auth/identities/tls/%zz": "/1.0/auth/identities/tls/%zz", "/1.0/auth/identities": "/1.0/auth/identities",
	} {
		if got := w.Named(t.Context(), auth.Object{Entity: "identity", URL: from}); got != to {
			t.Errorf("%s: %s", from, got)
		}
	}
}

// FuzzPermissions looks for permissions that are taken and do not name what they were given on, or come back in another form.
func FuzzPermissions(f *testing.F) {
	f.Add("instance", "/1.0/instances/c1?project=p", "can_view", "g")
	f.Add("image_alias", "/1.0/images/aliases/a%2Fb", "can_edit", "a b")
	f.Add("server", "/1.0", "admin", "..")
	f.Add("project", "/1.0/projects/default", "viewer", "x\ny")
	f.Add("identity", "/1.0/auth/identities/oidc/a@b?project=x#y", "can_view", "é")
	f.Fuzz(func(t *testing.T, entity, url, entitlement, name string) {
		w := newWorld(t)
		post := api.AuthGroupsPost{AuthGroupPost: api.AuthGroupPost{Name: name}, AuthGroupPut: api.AuthGroupPut{Permissions: []api.Permission{permission(entity, url, entitlement)}}}
		if err := w.CreateGroup(t.Context(), post); err != nil {
			if k := errs.KindOf(err); k != errs.Invalid {
				t.Fatal(k, err)
			}
			return
		}
		g, err := w.Group(t.Context(), name)
		if err != nil || len(g.Permissions) != 1 || identity.CheckName("group", name) != nil {
			t.Fatal(g, err)
		}
		if err := w.ReplaceGroup(t.Context(), name, g.Writable()); err != nil {
			t.Fatal("what is shown is not taken", err)
		}
		if again, err := w.Group(t.Context(), name); err != nil || again.Permissions[0] != g.Permissions[0] {
			t.Fatal(again, g, err)
		}
	})
}
