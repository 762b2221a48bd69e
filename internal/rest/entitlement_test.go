package rest_test

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/rest"
)

// fine is an identity with fine-grained rights.
func fine(ps ...model.Permission) auth.Identity {
	return auth.Identity{Kind: auth.OIDC, Name: "jane", FineGrained: true, Rights: model.Compile(ps)}
}

// as makes a server for one caller, with the projects p and default, of which p has no profiles of its own.
func as(t *testing.T, who auth.Identity, routes ...rest.Route) http.Handler {
	t.Helper()
	s := newServer(t)
	s.Auth = func(*http.Request) (auth.Identity, error) { return who, nil }
	s.Owner = func(_ context.Context, project, what string) string {
		if strings.Contains(what, "profile") {
			return "default"
		}
		return project
	}
	s.Named = func(_ context.Context, o auth.Object) string {
		if o.Entity == "image" && strings.HasPrefix("/1.0/images/abcdef", o.URL) {
			return "/1.0/images/abcdef"
		}
		return o.URL
	}
	return s.Handler(routes)
}

func listed(url string, kept string) rest.Item[any] {
	it := rest.Item[any]{URL: url, Value: func(int) any { return api.Instance{Name: url[len("/1.0/instances/"):]} }}
	if kept != "" {
		it.JSON = func(int) []byte { return []byte(kept) }
	}
	return it
}

func instances() []rest.Route {
	return []rest.Route{
		rest.List("GET /1.0/instances", auth.Can("instance", "can_view"), func(context.Context, *rest.Call) iter.Seq2[rest.Item[any], error] {
			return func(yield func(rest.Item[any], error) bool) {
				_ = yield(listed("/1.0/instances/a?project=p", `{"name":"a"}`), nil) && yield(listed("/1.0/instances/b?project=p", `{}`), nil) &&
					yield(listed("/1.0/instances/c?project=p", ""), nil)
			}
		}),
		rest.Get("GET /1.0/instances/{name}", auth.Can("instance", "can_view"), func(context.Context, *rest.Call) (any, any, error) {
			return struct {
				Name string `json:"name"`
			}{"a"}, nil, nil
		}),
		rest.Get("GET /1.0", auth.Public, func(context.Context, *rest.Call) (api.Server, any, error) { return api.Server{}, nil, nil }),
		rest.Get("GET /1.0/instances/{name}/state", auth.Can("instance", "can_view"), func(context.Context, *rest.Call) (api.InstanceState, any, error) {
			return api.InstanceState{}, nil, nil
		}),
	}
}

func TestAccessEntitlements(t *testing.T) {
	jane := fine(model.Permission{Entity: "instance", URL: "/1.0/instances/a?project=p", Entitlement: "user"},
		model.Permission{Entity: "instance", URL: "/1.0/instances/b?project=p", Entitlement: "can_edit"},
		model.Permission{Entity: "instance", URL: "/1.0/instances/c?project=p", Entitlement: "can_view"},
		model.Permission{Entity: "server", URL: "/1.0", Entitlement: "can_view_metrics"})
	const ask = "with-access-entitlements="
	for name, c := range map[string]struct {
		who  auth.Identity
		url  string
		code int
		want string
	}{
		"list":             {jane, "/1.0/instances?project=p&recursion=1&" + ask + "can_edit,can_exec,can_exec", 200, `"metadata":[{"access_entitlements":["can_exec"],"name":"a"},{"access_entitlements":["can_edit"]},{"name":"c?`},
		"deep list":        {jane, "/1.0/instances?project=p&recursion=2&" + ask + "user", 200, `[{"access_entitlements":["user"],"name":"a"},{},{`},
		"list without":     {jane, "/1.0/instances?project=p&recursion=1", 200, `[{"name":"a"},{},{`},
		"flat list":        {jane, "/1.0/instances?project=p&" + ask + "can_edit", 500, "needs recursion"},
		"one":              {jane, "/1.0/instances/a?project=p&" + ask + "can_edit,can_view", 200, `"metadata":{"access_entitlements":["can_view"],"name":"a"}`},
		"one with nothing": {jane, "/1.0/instances/a?project=p&" + ask + "can_edit", 200, `"metadata":{"name":"a"}`},
		"none such":        {jane, "/1.0/instances/a?project=p&" + ask + "can_fly", 400, "can_fly"},
		"not of the type":  {jane, "/1.0/instances?recursion=1&" + ask + "can_view_metrics", 400, "can_view_metrics"},
		"server":           {jane, "/1.0?" + ask + "can_view_metrics,admin", 200, `{"access_entitlements":["can_view_metrics"],`},
		"administrator":    {auth.Identity{Kind: auth.Unix, Admin: true}, "/1.0/instances/a?" + ask + "can_edit", 400, "fine-grained"},
		"stranger":         {auth.Identity{}, "/1.0?" + ask + "can_edit", 400, "fine-grained"},
		"what cannot tell": {jane, "/1.0/instances/a/state?project=p&" + ask + "can_fly", 200, `"metadata":{`},
	} {
		w := do(as(t, c.who, instances()...), "GET", c.url, "")
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s\nwant %d %s", name, w.Code, w.Body, c.code, c.want)
		}
	}
}

// route is one that shows a T. Callers without fine-grained rights are refused on those that tell entitlements.
func tells[T any](t *testing.T) bool {
	get := rest.Get("GET /1.0/x", auth.Public, func(context.Context, *rest.Call) (out T, etag any, err error) { return out, nil, nil })
	w := do(as(t, auth.Identity{}, get), "GET", "/1.0/x?with-access-entitlements=can_edit", "")
	return w.Code == 400
}

func TestWhatTellsEntitlements(t *testing.T) {
	for name, got := range map[string]bool{
		"AuthGroup": tells[api.AuthGroup](t), "Certificate": tells[api.Certificate](t), "Identity": tells[api.Identity](t),
		"IdentityProviderGroup": tells[api.IdentityProviderGroup](t), "Image": tells[api.Image](t), "ImageAliasesEntry": tells[api.ImageAliasesEntry](t),
		"Instance": tells[api.Instance](t), "InstanceFull": tells[api.InstanceFull](t), "Network": tells[api.Network](t), "NetworkACL": tells[api.NetworkACL](t),
		"NetworkZone": tells[api.NetworkZone](t), "PlacementGroup": tells[api.PlacementGroup](t), "Profile": tells[api.Profile](t), "Project": tells[api.Project](t),
		"Server": tells[api.Server](t), "StorageBucket": tells[api.StorageBucket](t), "StoragePool": tells[api.StoragePool](t), "StorageVolume": tells[api.StorageVolume](t),
	} {
		if !got {
			t.Errorf("%s does not tell entitlements", name)
		}
	}
	if tells[api.InstanceState](t) {
		t.Error("InstanceState tells entitlements")
	}
}
