package access

import (
	"bytes"
	"context"
	"reflect"
	"slices"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/identity"
	"lxd/internal/rest"
)

// Permissions is the route of /1.0/auth/permissions: all that can be given to groups, object by object.
func Permissions(svc *identity.Service) []rest.Route {
	h := permissions{svc}
	list := rest.Get("GET /1.0/auth/permissions", auth.Can("server", "can_view_permissions"), h.list).Reads("project", "entity-type").
		Depths(reflect.TypeFor[[]api.Permission](), reflect.TypeFor[[]api.PermissionInfo]())
	return global([]rest.Route{list})
}

type permissions struct{ svc *identity.Service }

// list writes its JSON itself, since there is one line for each entitlement on each object.
func (h permissions) list(ctx context.Context, c *rest.Call) (any, any, error) {
	var granted map[model.Permission][]string
	if c.Recursion > 0 {
		var err error
		if granted, err = h.granted(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	out := bytes.NewBufferString("[")
	write := writer(out, c.Recursion > 0, granted)
	err := h.svc.Objects(ctx, c.Param("project"), c.Param("entity-type"), func(o auth.Object, url string) {
		if !viewable(o.Entity) || c.Caller.May(o, "can_view") {
			write(o.Entity, url)
		}
	})
	out.WriteByte(']')
	return rest.Written(out.Bytes()), nil, err
}

// viewable tells whether viewing objects of a type is a right that one may lack.
func viewable(entity string) bool { return slices.Contains(auth.Entitlements(entity), "can_view") }

// granted is which groups that the caller may view give which permissions.
func (h permissions) granted(ctx context.Context, c *rest.Call) (map[model.Permission][]string, error) {
	all, err := h.svc.Granted(ctx)
	for p, groups := range all {
		all[p] = slices.DeleteFunc(groups, func(name string) bool {
			return !c.Caller.May(auth.Object{Entity: "group", URL: identity.GroupURL(name)}, "can_view")
		})
	}
	return all, err
}

// writer returns what writes all permissions on one object. Addresses and names of groups have no characters that JSON escapes.
func writer(out *bytes.Buffer, whole bool, granted map[model.Permission][]string) func(entity, url string) {
	entitlements := map[string][]string{}
	return func(entity, url string) {
		all, ok := entitlements[entity]
		if !ok {
			all = auth.Entitlements(entity)
			entitlements[entity] = all
		}
		for _, e := range all {
			if out.Len() > 1 {
				out.WriteByte(',')
			}
			out.WriteString(`{"entity_type":"` + entity + `","url":"` + url + `","entitlement":"` + e + `"`)
			if whole {
				out.WriteString(`,"groups":`)
				names(out, granted[model.Permission{Entity: entity, URL: url, Entitlement: e}])
			}
			out.WriteByte('}')
		}
	}
}

func names(out *bytes.Buffer, all []string) {
	out.WriteByte('[')
	for i, n := range all {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(`"` + n + `"`)
	}
	out.WriteByte(']')
}
