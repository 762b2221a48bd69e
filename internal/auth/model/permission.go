package model

import (
	"net/url"
	"slices"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/errs"
)

// The entities that hold others.
const (
	server  = "server"
	project = "project"
)

// paths says what the address of an entity looks like: the words that it begins with, and how many names follow.
var paths = map[string]string{
	server:                    "/1.0",
	project:                   "/1.0/projects/*",
	"certificate":             "/1.0/certificates/*",
	"group":                   "/1.0/auth/groups/*",
	"identity":                "/1.0/auth/identities/*/*",
	"identity_provider_group": "/1.0/auth/identity-provider-groups/*",
	"image":                   "/1.0/images/*",
	"image_alias":             "/1.0/images/aliases/*",
	"instance":                "/1.0/instances/*",
	"network":                 "/1.0/networks/*",
	"network_acl":             "/1.0/network-acls/*",
	"network_zone":            "/1.0/network-zones/*",
	"placement_group":         "/1.0/placement-groups/*",
	"profile":                 "/1.0/profiles/*",
	"storage_bucket":          "/1.0/storage-pools/*/buckets/*",
	"storage_pool":            "/1.0/storage-pools/*",
	"storage_volume":          "/1.0/storage-pools/*/volumes/*/*",
}

// Check fails if there is no such entity or entitlement, or if the address cannot be one of such an entity.
func (p Permission) Check() error {
	_, err := p.object()
	return err
}

// Object is what the permission is about. Like every object it is in the project "default" if its address names none.
func (p Permission) Object() (auth.Object, error) { return p.object() }

func (p Permission) object() (o auth.Object, err error) {
	pattern, ok := paths[p.Entity]
	if !ok {
		return o, errs.Newf(errs.Invalid, "there are no rights on entities of type %q: use one of %s", p.Entity, strings.Join(auth.Entities(), ", "))
	}
	if all := auth.Entitlements(p.Entity); !slices.Contains(all, p.Entitlement) {
		return o, errs.Newf(errs.Invalid, "entities of type %s have no entitlement %q: use one of %s", p.Entity, p.Entitlement, strings.Join(all, ", "))
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.IsAbs() || u.Host != "" || u.Fragment != "" || !matches(pattern, u.EscapedPath()) {
		return o, errs.Newf(errs.Invalid, "%q is not the address of an entity of type %s: it looks like %s", p.URL, p.Entity, pattern)
	}
	o = auth.Object{Entity: p.Entity, URL: canonical(u.EscapedPath())}
	if auth.InProject(p.Entity) {
		if o.Project = u.Query().Get("project"); o.Project == "" {
			o.Project = "default"
		}
	}
	return o, nil
}

// matches tells whether a path has the words of the pattern, and a name for each star.
func matches(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, have, func(w, h string) bool { return w == h || w == "*" && h != "" })
}

// canonical writes a path with each name escaped in the same way.
func canonical(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, err := url.PathUnescape(part); err == nil {
			parts[i] = url.PathEscape(name)
		}
	}
	return strings.Join(parts, "/")
}

// nameOf is the name of a project.
func nameOf(o auth.Object) string {
	name := strings.TrimPrefix(o.URL, "/1.0/projects/")
	if !strings.Contains(name, "%") {
		return name
	}
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}
