package model_test

import (
	"testing"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
)

func TestPermissionsNameObjects(t *testing.T) {
	for _, c := range []struct {
		p    model.Permission
		want auth.Object
	}{
		{model.Permission{Entity: "server", URL: "/1.0", Entitlement: "admin"}, auth.Object{URL: "/1.0"}},
		{model.Permission{Entity: "project", URL: "/1.0/projects/a%20b", Entitlement: "viewer"}, auth.Object{URL: "/1.0/projects/a%20b"}},
		{model.Permission{Entity: "instance", URL: "/1.0/instances/c1", Entitlement: "user"}, auth.Object{Project: "default", URL: "/1.0/instances/c1"}},
		{model.Permission{Entity: "instance", URL: "/1.0/instances/c1?project=p", Entitlement: "user"}, auth.Object{Project: "p", URL: "/1.0/instances/c1"}},
		{model.Permission{Entity: "storage_volume", URL: "/1.0/storage-pools/s/volumes/custom/%76?project=p&target=m", Entitlement: "can_view"},
			auth.Object{Project: "p", URL: "/1.0/storage-pools/s/volumes/custom/v"}},
		{model.Permission{Entity: "identity", URL: "/1.0/auth/identities/oidc/a@b.c", Entitlement: "can_edit"}, auth.Object{URL: "/1.0/auth/identities/oidc/a@b.c"}},
	} {
		c.want.Entity = c.p.Entity
		if got, err := c.p.Object(); err != nil || got != c.want {
			t.Errorf("%v: %+v %v, want %+v", c.p, got, err, c.want)
		}
	}
}

func TestMalformedPermissions(t *testing.T) {
	for _, p := range []model.Permission{
		{},
		{Entity: "spaceship", URL: "/1.0/spaceships/x", Entitlement: "can_view"},
		{Entity: "instance", URL: "/1.0/instances/c1", Entitlement: "can_fly"},
		{Entity: "instance", URL: "/1.0/instances/", Entitlement: "can_view"},
		{Entity: "instance", URL: "/1.0/instances/c1/snapshots/s", Entitlement: "can_view"},
		{Entity: "instance", URL: "/1.0/profiles/c1", Entitlement: "can_view"},
		{Entity: "instance", URL: "https://elsewhere/1.0/instances/c1", Entitlement: "can_view"},
		{Entity: "server", URL: "/1.0/", Entitlement: "admin"},
		{Entity: "storage_volume", URL: "/1.0/storage-pools/s/volumes/custom", Entitlement: "can_view"},
		{Entity: "instance", URL: "/1.0/instances/%zz", Entitlement: "can_view"},
	} {
		if err := p.Check(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%v: %v", p, err)
		}
		if s := model.Compile([]model.Permission{p}); s.Allows(auth.Object{Entity: p.Entity, Project: "default", URL: p.URL}, p.Entitlement) {
			t.Errorf("%v gives something", p)
		}
	}
}

func TestDirectGrants(t *testing.T) {
	s := model.Compile([]model.Permission{{"instance", "/1.0/instances/c1?project=p", "can_view"}, {"project", "/1.0/projects/q", "can_edit"}})
	for _, c := range []struct {
		o    auth.Object
		what string
		want bool
	}{
		{auth.Object{Entity: "instance", Project: "p", URL: "/1.0/instances/c1"}, "can_view", true},
		{auth.Object{Entity: "instance", Project: "p", URL: "/1.0/instances/c1"}, "can_edit", false},
		{auth.Object{Entity: "instance", Project: "p", URL: "/1.0/instances/c2"}, "can_view", false},
		{auth.Object{Entity: "instance", Project: "q", URL: "/1.0/instances/c1"}, "can_view", false},
		{auth.Object{Entity: "project", URL: "/1.0/projects/q"}, "can_edit", true},
		{auth.Object{Entity: "project", URL: "/1.0/projects/q"}, "can_delete", false},
		{auth.Object{Entity: "project", URL: "/1.0/projects/p"}, "can_edit", false},
	} {
		if s.Allows(c.o, c.what) != c.want {
			t.Errorf("%s on %+v: want %v", c.what, c.o, c.want)
		}
	}
}
