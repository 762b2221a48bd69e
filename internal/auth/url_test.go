package auth_test

import (
	"testing"

	"lxd/internal/auth"
)

func TestLocate(t *testing.T) {
	for address, want := range map[string]auth.Object{
		"/1.0":                                {Entity: "server", URL: "/1.0"},
		"/1.0/projects/a%20b":                 {Entity: "project", URL: "/1.0/projects/a%20b"},
		"/1.0/projects/p/state?project=q":     {Entity: "project", URL: "/1.0/projects/p"},
		"/1.0/instances/c1":                   {Entity: "instance", Project: "default", URL: "/1.0/instances/c1"},
		"/1.0/instances/%631?project=p":       {Entity: "instance", Project: "p", URL: "/1.0/instances/c1"},
		"/1.0/instances/c1/snapshots/s":       {Entity: "instance", Project: "default", URL: "/1.0/instances/c1"},
		"/1.0/instances/a%2Fb/exec":           {Entity: "instance", Project: "default", URL: "/1.0/instances/a%2Fb"},
		"/1.0/images/abc/export":              {Entity: "image", Project: "default", URL: "/1.0/images/abc"},
		"/1.0/images/aliases/a/b?project=p":   {Entity: "image_alias", Project: "p", URL: "/1.0/images/aliases/a%2Fb"},
		"/1.0/images/aliases/a%2Fb":           {Entity: "image_alias", Project: "default", URL: "/1.0/images/aliases/a%2Fb"},
		"/1.0/storage-pools/s":                {Entity: "storage_pool", URL: "/1.0/storage-pools/s"},
		"/1.0/storage-pools/s/resources":      {Entity: "storage_pool", URL: "/1.0/storage-pools/s"},
		"/1.0/storage-pools/s/volumes/custom": {Entity: "storage_pool", URL: "/1.0/storage-pools/s"},
		"/1.0/storage-pools/s/volumes/custom/v/snapshots/n?target=m&project=p": {Entity: "storage_volume", Project: "p",
			URL: "/1.0/storage-pools/s/volumes/custom/v"},
		"/1.0/storage-pools/s/buckets/b/keys/k": {Entity: "storage_bucket", Project: "default", URL: "/1.0/storage-pools/s/buckets/b"},
		"/1.0/auth/identities/oidc/a@b.c":       {Entity: "identity", URL: "/1.0/auth/identities/oidc/a@b.c"},
		"/1.0/auth/groups/g":                    {Entity: "group", URL: "/1.0/auth/groups/g"},
	} {
		if got, ok := auth.Locate(address); !ok || got != want {
			t.Errorf("%s: %+v %v", address, got, ok)
		}
	}
	for _, address := range []string{"", "/", "/1.0/", "/1.0/instances", "/1.0/instances/", "/1.0/spaceships/x", "https://h/1.0/instances/c1",
		"//h/1.0/instances/c1", "/1.0/instances/%zz", "/1.0/auth/identities/tls", "/1.0/instances/a#b", "/2.0/instances/c1"} {
		if got, ok := auth.Locate(address); ok {
			t.Errorf("%q: %+v", address, got)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, entity := range auth.Entities() {
		if auth.Path(entity) == "" || auth.Segments(entity) == 0 {
			t.Errorf("%s has no address", entity)
		}
	}
	if auth.Segments("storage_volume_snapshot") != 6 || auth.Segments("instance_backup") != 3 || auth.Path("spaceship") != "" {
		t.Error("Segments or Path")
	}
	if o := auth.ProjectObject("a b"); o.URL != "/1.0/projects/a%20b" || o.Entity != "project" || auth.ServerObject.URL != "/1.0" {
		t.Error(o)
	}
}
