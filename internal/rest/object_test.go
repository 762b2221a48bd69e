package rest_test

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/rest"
)

func TestVisible(t *testing.T) {
	all := []string{
		"/1.0/instances/c1", "/1.0/instances/c1?project=p", "/1.0/instances/a%20b/snapshots/s?project=p", "/1.0/profiles/x?project=p",
		"/1.0/storage-pools/tank/volumes/custom/v/snapshots/s", "/1.0/storage-pools/tank", "/1.0/", "%zz",
	}
	mine := auth.Identity{Kind: auth.TLS, Rights: granted{
		"instance p /1.0/instances/c1 can_view": true, "instance p /1.0/instances/a%20b can_view": true,
		"storage_volume default /1.0/storage-pools/tank/volumes/custom/v can_view": true,
	}}
	for name, c := range map[string]struct {
		who  auth.Identity
		want []string
	}{
		"administrator": {auth.Identity{Kind: auth.Unix, Admin: true}, all},
		"restricted":    {mine, []string{all[1], all[2], all[4]}},
		"stranger":      {auth.Identity{}, []string{}},
	} {
		s := newServer(t)
		s.Auth = func(*http.Request) (auth.Identity, error) { return c.who, nil }
		var got []string
		h := s.Handler([]rest.Route{rest.Get("GET /1.0/x", auth.Public, func(_ context.Context, c *rest.Call) (string, any, error) {
			got = c.Visible(all)
			return strings.Join(got, " "), nil, nil
		})})
		do(h, "GET", "/1.0/x", "")
		if got == nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// here answers with what was asked for.
func here(context.Context, *rest.Call, rest.None) (string, error) { return "here", nil }

func TestJudgedWhereItIs(t *testing.T) {
	routes := []rest.Route{
		rest.Sync("GET /1.0/profiles/{name}", auth.Can("profile", "can_view"), here),
		rest.Sync("PUT /1.0/profiles/{name}", auth.Can("profile", "can_edit"), here),
		rest.Sync("POST /1.0/profiles", auth.Can("project", "can_create_profiles"), here),
		rest.Sync("POST /1.0/instances", auth.Can("project", "can_create_instances"), here),
		rest.Sync("GET /1.0/images/{fingerprint}", auth.Can("image", "can_view"), here),
		rest.Sync("DELETE /1.0/images/aliases/{name...}", auth.Can("image_alias", "can_delete"), here),
		rest.Sync("GET /1.0/storage-pools/{pool}/volumes/{type}/{name}/state", auth.Can("storage_volume", "can_view"), here),
		rest.Sync("DELETE /1.0/storage-pools/{pool}", auth.Can("storage_pool", "can_delete"), here),
		rest.Sync("GET /1.0/operations", auth.Authenticated, here),
	}
	for name, c := range map[string]struct {
		entity, url, entitlement string
		method, path             string
		code                     int
	}{
		"the owner's profile":             {"profile", "/1.0/profiles/x", "can_view", "GET", "/1.0/profiles/x", 200},
		"seen from a project nobody told": {"profile", "/1.0/profiles/x", "can_view", "GET", "/1.0/profiles/x?project=p", 404},
		"not owned":                       {"profile", "/1.0/profiles/x?project=p", "can_view", "GET", "/1.0/profiles/x?project=p", 404},
		"seen by an operator":             {"project", "/1.0/projects/p", "operator", "GET", "/1.0/profiles/x?project=p", 200},
		"seen by who may view profiles":   {"project", "/1.0/projects/p", "can_view_profiles", "GET", "/1.0/profiles/x?project=p", 200},
		"not by who may view others":      {"project", "/1.0/projects/p", "can_view_images", "GET", "/1.0/profiles/x?project=p", 404},
		"not where it is":                 {"project", "/1.0/projects/p", "operator", "GET", "/1.0/profiles/x", 404},
		"seen and not to be changed":      {"project", "/1.0/projects/p", "operator", "PUT", "/1.0/profiles/x?project=p", 403},
		"makes it elsewhere":              {"project", "/1.0/projects/p", "operator", "POST", "/1.0/profiles?project=p", 403},
		"makes what is here":              {"project", "/1.0/projects/p", "operator", "POST", "/1.0/instances?project=p", 200},
		"unknown project":                 {"project", "/1.0/projects/default", "operator", "POST", "/1.0/instances?project=p", 404},
		"knows by an instance":            {"instance", "/1.0/instances/i?project=p", "can_view", "GET", "/1.0/operations?project=p", 200},
		"does not know":                   {"instance", "/1.0/instances/i?project=q", "can_view", "GET", "/1.0/operations?project=p", 404},
		"beginning of a name":             {"image", "/1.0/images/abcdef", "can_view", "GET", "/1.0/images/abc", 200},
		"beginning of another":            {"image", "/1.0/images/abcdee", "can_view", "GET", "/1.0/images/abc", 404},
		"name in another writing":         {"image_alias", "/1.0/images/aliases/a%2Fb", "can_delete", "DELETE", "/1.0/images/aliases/a/%62", 200},
		"alias below another":             {"image_alias", "/1.0/images/aliases/a", "can_delete", "DELETE", "/1.0/images/aliases/a/b", 404},
		"part of a volume":                {"storage_volume", "/1.0/storage-pools/s/volumes/custom/v", "can_view", "GET", "/1.0/storage-pools/s/volumes/custom/v/state", 200},
		"what all see":                    {"storage_pool", "/1.0/storage-pools/s", "can_edit", "DELETE", "/1.0/storage-pools/s", 403},
		"without project":                 {"storage_pool", "/1.0/storage-pools/s", "can_delete", "DELETE", "/1.0/storage-pools/s?project=default", 200},
	} {
		who := fine(model.Permission{Entity: c.entity, URL: c.url, Entitlement: c.entitlement})
		w := do(as(t, who, routes...), c.method, c.path, "")
		if w.Code != c.code || strings.Contains(w.Body.String(), "abcdef") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.code)
		}
	}
}

func TestItemsAreSeenThroughProjects(t *testing.T) {
	list := rest.List("GET /1.0/profiles", auth.Can("profile", "can_view"), func(context.Context, *rest.Call) iter.Seq2[rest.Item[string], error] {
		return rest.Items([]string{"x"}, nil, func(n string) string { return "/1.0/profiles/" + n })
	})
	some := fine(model.Permission{Entity: "project", URL: "/1.0/projects/p", Entitlement: "can_view_profiles"})
	one := fine(model.Permission{Entity: "profile", URL: "/1.0/profiles/x", Entitlement: "can_view"})
	other := fine(model.Permission{Entity: "project", URL: "/1.0/projects/p", Entitlement: "can_view_images"})
	restricted := auth.Identity{Kind: auth.TLS, Name: "ben", Rights: granted{"project  /1.0/projects/p can_view": true, "profile p /1.0/profiles/x can_view": true}}
	for name, c := range map[string]struct {
		who   auth.Identity
		query string
		seen  bool
	}{
		"by its project":         {some, "?project=p", true},
		"where it is":            {some, "?project=default", false},
		"of all projects":        {some, "?all-projects=true", false},
		"itself, of all":         {one, "?all-projects=true", true},
		"by others":              {other, "?project=p", false},
		"restricted to projects": {restricted, "?project=p", true},
		"restricted, of all":     {restricted, "?all-projects=true", false},
	} {
		w := do(as(t, c.who, list), "GET", "/1.0/profiles"+c.query, "")
		if got := strings.Contains(w.Body.String(), "profiles/x"); got != c.seen {
			t.Errorf("%s: %d %s, want %v", name, w.Code, w.Body, c.seen)
		}
	}
}

func TestItemsBelongToObjects(t *testing.T) {
	h := as(t, fine(model.Permission{Entity: "instance", URL: "/1.0/instances/a?project=p", Entitlement: "can_view"}),
		rest.List("GET /1.0/instances/{name}/snapshots", auth.Can("instance", "can_view"), func(context.Context, *rest.Call) iter.Seq2[rest.Item[string], error] {
			return rest.Items([]string{"s1", "s2"}, nil, func(n string) string { return "/1.0/instances/a/snapshots/" + n })
		}))
	w := do(h, "GET", "/1.0/instances/a/snapshots?project=p", "")
	if want := `["/1.0/instances/a/snapshots/s1","/1.0/instances/a/snapshots/s2"]`; !strings.Contains(w.Body.String(), want) {
		t.Error(w.Body)
	}
	if w := do(h, "GET", "/1.0/instances/b/snapshots?project=p", ""); w.Code != 404 {
		t.Error(w.Code, w.Body)
	}
}
