package auth

import (
	"net/url"
	"strings"
)

// paths says what the address of an entity looks like: a star stands for a name.
var paths = map[string]string{
	"server":                  "/1.0",
	"project":                 "/1.0/projects/*",
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

// Path says what the address of an entity of that type looks like; "" if there is no such type.
func Path(entity string) string { return paths[entity] }

// Segments is how many segments of a path name an entity of that type.
func Segments(entity string) int {
	whole, _ := decides(entity, "")
	return strings.Count(paths[whole], "/")
}

// Locate finds the object that an address of the API is about: the one that it names, or that which it names a part of. Each name
// in its URL is escaped in the same way, whatever way the address has it. An address without project is in the default one.
func Locate(address string) (o Object, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.IsAbs() || u.Host != "" || u.Fragment != "" {
		return o, false
	}
	path := u.EscapedPath()
	if path == paths["server"] {
		return Object{Entity: "server", URL: path}, true
	}
	parts := strings.Split(path, "/")
	for entity, pattern := range paths {
		// Of an alias and an image, or a volume and its pool, the longer address counts.
		if n := fits(strings.Split(pattern, "/"), parts); entity != "server" && n > Segments(o.Entity) {
			o.Entity = entity
		}
	}
	if o.Entity == "" {
		return o, false
	}
	if o.Entity == "image_alias" { // the name may have slashes in it
		parts = append(parts[:4:4], strings.Join(parts[4:], "/"))
	}
	o.URL = Canonical(strings.Join(parts[:Segments(o.Entity)+1], "/"))
	if InProject(o.Entity) {
		if o.Project = u.Query().Get("project"); o.Project == "" {
			o.Project = "default"
		}
	}
	return o, true
}

// fits is how many segments of a path name what a pattern stands for; 0 if they name something else.
func fits(pattern, path []string) int {
	if len(path) < len(pattern) {
		return 0
	}
	for i, want := range pattern {
		if want != path[i] && (want != "*" || path[i] == "") {
			return 0
		}
	}
	return len(pattern) - 1
}

// Canonical writes a path with each segment escaped in the one way that objects have it. The name of an image alias is a segment
// of which slashes are a part.
func Canonical(path string) string {
	const aliases = "/1.0/images/aliases/"
	if name, ok := strings.CutPrefix(path, aliases); ok {
		return aliases + escape(name)
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = escape(part)
	}
	return strings.Join(parts, "/")
}

func escape(name string) string {
	if plain, err := url.PathUnescape(name); err == nil {
		return url.PathEscape(plain)
	}
	return name
}

// ProjectObject is the project of that name.
func ProjectObject(name string) Object {
	return Object{Entity: "project", URL: "/1.0/projects/" + url.PathEscape(name)}
}

// ProjectName is the name of a project.
func ProjectName(o Object) (name string, ok bool) {
	escaped, ok := strings.CutPrefix(o.URL, "/1.0/projects/")
	if !ok || !strings.Contains(escaped, "%") {
		return escaped, ok
	}
	name, err := url.PathUnescape(escaped)
	return name, err == nil
}

// ServerObject is the server.
var ServerObject = Object{Entity: "server", URL: "/1.0"}
