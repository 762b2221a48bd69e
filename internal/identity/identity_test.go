package identity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

func TestFind(t *testing.T) {
	w := newWorld(t)
	c := w.put(t, "laptop")
	f := trust.Fingerprint(c)
	for _, by := range []string{f, "laptop", f[:12], strings.ToUpper(f[:20])} {
		if r, err := w.Find(t.Context(), "tls", by); err != nil || r.ID != f {
			t.Error(by, r, err)
		}
	}
	for _, by := range []string{"", f[:11], "lap", "nosuch", f + "0"} {
		if _, err := w.Find(t.Context(), "tls", by); !errs.Is(err, errs.NotFound) {
			t.Error(by, err)
		}
	}
	if _, err := w.Find(t.Context(), "oidc", "laptop"); !errs.Is(err, errs.NotFound) {
		t.Error("methods share names", err)
	}
	for _, mail := range []string{"a@x", "b@x"} {
		if err := w.Put(t.Context(), identity.Record{Method: "oidc", Type: api.IdentityTypeOIDCClient, ID: mail, Name: "Ann"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Find(t.Context(), "oidc", "Ann"); !errs.Is(err, errs.Invalid) {
		t.Error("two have that name", err)
	}
	all, err := w.List(t.Context(), "oidc")
	if everything, _ := w.List(t.Context(), ""); err != nil || len(all) != 2 || len(everything) != 3 {
		t.Error(all, everything, err)
	}
}

func TestPut(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g")
	w.heard()
	rec := identity.Record{Method: "oidc", Type: api.IdentityTypeOIDCClient, ID: "a@x", Name: "Ann", Groups: []string{"g", "g"}}
	for _, want := range []string{"identity-created /1.0/auth/identities/oidc/a@x", ""} {
		if err := w.Put(t.Context(), rec); err != nil || w.heard() != want {
			t.Error(err, want)
		}
	}
	rec.Name = "Ann B."
	if err := w.Put(t.Context(), rec); err != nil || w.heard() != "identity-updated /1.0/auth/identities/oidc/a@x" {
		t.Error(err)
	}
	if r, err := w.Find(t.Context(), "oidc", "a@x"); err != nil || !slices.Equal(r.Groups, []string{"g"}) || r.Name != "Ann B." {
		t.Error(r, err)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	good := record(trusttest.Certificate(t, time.Hour), "laptop")
	w.put(t, "taken")
	legacy := trusttest.Certificate(t, time.Hour)
	if _, err := w.trust.Add(t.Context(), api.CertificatesPost{Type: "client", Certificate: text(legacy)}, nil); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*identity.Record)
		want   errs.Kind
	}{
		"no such type":       {func(r *identity.Record) { r.Type = "x" }, errs.Invalid},
		"another method":     {func(r *identity.Record) { r.Method = "oidc" }, errs.Invalid},
		"a legacy type":      {func(r *identity.Record) { r.Type = api.IdentityTypeClientCertificateUnrestricted }, errs.Invalid},
		"no identifier":      {func(r *identity.Record) { r.ID = "" }, errs.Invalid},
		"a bad identifier":   {func(r *identity.Record) { r.ID = "a\nb" }, errs.Invalid},
		"no name":            {func(r *identity.Record) { r.Name = "" }, errs.Invalid},
		"a slash in a name":  {func(r *identity.Record) { r.Name = "a/b" }, errs.Invalid},
		"no such group":      {func(r *identity.Record) { r.Groups = []string{"nosuch"} }, errs.NotFound},
		"many groups":        {func(r *identity.Record) { r.Groups = strings.Split(manyNames(501), ",") }, errs.Invalid},
		"the name of others": {func(r *identity.Record) { r.Name = "taken" }, errs.Conflict},
		"trusted otherwise":  {func(r *identity.Record) { r.ID = trust.Fingerprint(legacy) }, errs.Conflict},
	} {
		r := good
		c.change(&r)
		if err := w.Create(t.Context(), r); !errs.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := w.Create(t.Context(), good); !errs.Is(err, errs.Conflict) {
		t.Error("twice", err)
	}
}

// manyNames is n names.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("g" + strings.Repeat("x", i%40) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)))
	}
	return b.String()
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "web-team": true, "Ann B.": true, "ann@example.org": true, "a_b+c": true, strings.Repeat("x", 64): true,
		"": false, ".": false, "..": false, "-x": false, " x": false, "x ": false, "a/b": false, "a:b": false, "a\nb": false,
		"a\x00": false, "ä": false, "a?b": false, "a%b": false, "a#b": false, `a"b`: false, "a\u202eb": false, strings.Repeat("x", 65): false,
	} {
		if err := identity.CheckName("group", name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTLSCallers(t *testing.T) {
	w := newWorld(t)
	w.group(t, "viewers", permission("server", "/1.0", "can_view_warnings"), permission("project", "/1.0/projects/default", "can_view"))
	w.group(t, "admins", permission("server", "/1.0", "admin"))
	viewer, admin, none := w.put(t, "viewer", "viewers"), w.put(t, "admin", "viewers", "admins"), trusttest.Certificate(t, time.Hour)
	if id := w.who(t, none); id.Trusted() {
		t.Errorf("%+v", id)
	}
	if id := w.who(t, nil); id.Trusted() {
		t.Errorf("%+v", id)
	}
	id := w.who(t, viewer)
	server := auth.Object{Entity: "server", URL: "/1.0"}
	if id.Kind != auth.TLS || id.Name != trust.Fingerprint(viewer) || !id.FineGrained || id.Admin || !slices.Equal(id.Groups, []string{"viewers"}) ||
		id.Type != api.IdentityTypeClientCertificate || !id.Expires.Equal(viewer.NotAfter) || len(id.Permissions()) != 2 {
		t.Errorf("%+v", id)
	}
	if !id.May(server, "can_view_warnings") || id.May(server, "can_edit") {
		t.Error("the wrong rights")
	}
	itself := auth.Object{Entity: "identity", URL: identity.URL("tls", id.ID)}
	if !id.May(itself, "can_view") || !id.May(itself, "can_delete") || id.May(itself, "can_edit") {
		t.Error("what an identity may do with itself")
	}
	if id := w.who(t, admin); !id.Admin || !id.FineGrained {
		t.Errorf("%+v", id)
	}
	old := trusttest.Certificate(t, -time.Minute)
	if err := w.Put(t.Context(), record(old, "old")); err != nil || w.who(t, old).Trusted() {
		t.Error("an expired certificate", err)
	}
}

func TestRightsFollowGroups(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g", permission("server", "/1.0", "can_edit"))
	c := w.put(t, "x", "g")
	server := auth.Object{Entity: "server", URL: "/1.0"}
	before := w.who(t, c)
	for _, step := range []struct {
		what string
		do   func() error
		want bool
	}{
		{"at first", func() error { return nil }, true},
		{"without permissions", func() error { return w.ReplaceGroup(t.Context(), "g", api.AuthGroupPut{}) }, false},
		{"with them", func() error {
			return w.ReplaceGroup(t.Context(), "g", api.AuthGroupPut{Permissions: []api.Permission{permission("server", "/1.0", "can_edit")}})
		}, true},
		{"without the group", func() error { return w.Update(t.Context(), "tls", before.ID, api.IdentityPut{}) }, false},
		{"with it", func() error { return w.Update(t.Context(), "tls", before.ID, api.IdentityPut{Groups: []string{"g"}}) }, true},
		{"the group is gone", func() error { return w.DeleteGroup(t.Context(), "g") }, false},
		{"another of its name", func() error { w.group(t, "g", permission("server", "/1.0", "can_edit")); return nil }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.what, err)
		}
		if w.who(t, c).May(server, "can_edit") != step.want {
			t.Errorf("%s: want %v", step.what, step.want)
		}
	}
	if err := w.Delete(t.Context(), "tls", before.ID); err != nil || w.who(t, c).Trusted() {
		t.Error("a removed identity", err)
	}
	if err := w.Delete(t.Context(), "tls", before.ID); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestProviderGroupsStandForGroups(t *testing.T) {
	w := newWorld(t)
	w.group(t, "own")
	w.group(t, "mapped", permission("server", "/1.0", "can_view_metrics"))
	if err := w.CreateProviderGroup(t.Context(), api.IdentityProviderGroup{Name: "/sales", Groups: []string{"mapped"}}); err != nil {
		t.Fatal(err)
	}
	rec := identity.Record{Method: "oidc", Type: api.IdentityTypeOIDCClient, ID: "a@x", Name: "Ann", Groups: []string{"own"}}
	id, err := w.Caller(t.Context(), rec, []string{"/sales", "unknown", "own"}, "10.0.0.1:1")
	if err != nil || !slices.Equal(id.Groups, []string{"mapped", "own"}) || id.Address != "10.0.0.1:1" {
		t.Errorf("%+v %v", id, err)
	}
	if !id.May(auth.Object{Entity: "server", URL: "/1.0"}, "can_view_metrics") {
		t.Error("the group of the provider gives nothing")
	}
	first, err := w.Caller(t.Context(), identity.Record{Method: "bearer", Type: api.IdentityTypeInitialUITokenBearer, ID: "u"}, nil, "")
	if err != nil || !first.Admin || first.FineGrained {
		t.Errorf("%+v %v", first, err)
	}
}
