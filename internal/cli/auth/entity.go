package auth

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"lxd/api"
	"lxd/client"
)

// entity is how entities of one type are named.
type entity struct {
	// segments are the parts of the URL's path. {name} is the entity's own name, {pool} and {type} are given beside it.
	segments []string
	// project says that it is in a project, member that it may be on one member of a cluster.
	project, member bool
}

// entities are the types of entities that something can be granted on.
func entities() map[string]entity {
	plain := func(collection ...string) entity { return entity{segments: append(collection, "{name}")} }
	in := func(collection ...string) entity {
		return entity{segments: append(collection, "{name}"), project: true}
	}
	return map[string]entity{
		"server": {}, "certificate": plain("certificates"), "group": plain("auth", "groups"), "identity": plain("auth", "identities", "{method}"),
		"identity_provider_group": plain("auth", "identity-provider-groups"), "project": plain("projects"), "storage_pool": plain("storage-pools"),
		"image": in("images"), "image_alias": in("images", "aliases"), "instance": in("instances"), "network": in("networks"), "network_acl": in("network-acls"),
		"network_zone": in("network-zones"), "placement_group": in("placement-groups"), "profile": in("profiles"),
		"storage_bucket": {[]string{"storage-pools", "{pool}", "buckets", "{name}"}, true, true},
		"storage_volume": {[]string{"storage-pools", "{pool}", "volumes", "{type}", "{name}"}, true, true},
	}
}

// keys are those that may follow the name of such an entity.
func (e entity) keys() (out []string) {
	if e.project {
		out = append(out, "project")
	}
	for _, key := range []string{"pool", "type"} {
		if slices.Contains(e.segments, "{"+key+"}") {
			out = append(out, key)
		}
	}
	if e.member {
		out = append(out, "location")
	}
	return out
}

// permission is what the arguments "<entity_type> [<entity_name>] <entitlement> [<key>=<value>...]" mean.
func permission(ctx context.Context, server *client.Client, args []string) (p api.Permission, err error) {
	kind, ok := entities()[args[0]]
	if !ok {
		return p, fmt.Errorf("There are no permissions on %q; the types of entities are: %s", args[0], strings.Join(slices.Sorted(maps.Keys(entities())), ", "))
	}
	p.EntityType = args[0]
	if kind.segments == nil {
		p.EntityReference, p.Entitlement = "/1.0", args[1]
		_, err = pairs(args[2:])
		return p, err
	}
	if len(args) < 3 {
		return p, fmt.Errorf("A name and an entitlement have to follow %q", args[0])
	}
	p.Entitlement = args[2]
	given, err := pairs(args[3:], kind.keys()...)
	if err != nil {
		return p, err
	}
	given["name"] = args[1]
	if err := kind.complete(ctx, server, p.EntityType, given); err != nil {
		return p, err
	}
	p.EntityReference = kind.url(given)
	return p, nil
}

// complete adds what was not given but can be known.
func (e entity) complete(ctx context.Context, server *client.Client, name string, given map[string]string) (err error) {
	if e.project {
		given["project"] = cmp.Or(given["project"], server.Project(), "default")
	}
	given["type"] = cmp.Or(given["type"], "custom")
	if slices.Contains(e.segments, "{pool}") && given["pool"] == "" {
		return fmt.Errorf("Which pool the %s is in is missing: add pool=<pool>", strings.ReplaceAll(name, "_", " "))
	}
	switch name {
	case "identity":
		if given["method"], given["name"], err = who(given["name"]); err != nil {
			return err
		}
		given["name"], err = identifier(ctx, server, given["method"], given["name"])
	case "image":
		given["name"], err = fingerprint(ctx, server.InProject(given["project"]), "images", given["name"])
	case "certificate":
		given["name"], err = fingerprint(ctx, server, "certificates", given["name"])
	}
	return err
}

// identifier is what an identity is known by when its name changes. What is not there keeps what it was called.
func identifier(ctx context.Context, server *client.Client, method, name string) (string, error) {
	i, _, err := server.Identity(ctx, method, name)
	if client.IsNotFound(err) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	return i.Identifier, nil
}

// fingerprint is the whole one that prefix is the beginning of. What is not there keeps what it was called.
func fingerprint(ctx context.Context, server *client.Client, collection, prefix string) (string, error) {
	var found struct{ Fingerprint string }
	_, err := server.Get(ctx, client.Path(collection, prefix), &found)
	if client.IsNotFound(err) {
		return prefix, nil
	}
	return found.Fingerprint, err
}

// url is the URL of an entity, with what was given for it.
func (e entity) url(given map[string]string) string {
	segments := slices.Clone(e.segments)
	for i, s := range segments {
		if key := strings.Trim(s, "{}"); key != s {
			segments[i] = given[key]
		}
	}
	query := url.Values{}
	if e.project {
		query.Set("project", given["project"])
	}
	if given["location"] != "" {
		query.Set("target", given["location"])
	}
	path := client.Path(segments...)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// same tells whether two permissions are one, however their URLs are written.
func same(a, b api.Permission) bool {
	return a.EntityType == b.EntityType && a.Entitlement == b.Entitlement && plainURL(a.EntityReference) == plainURL(b.EntityReference)
}

// plainURL is a URL without escapes, with the project that one without project means.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	query := u.Query()
	if query.Get("project") == "default" {
		query.Del("project")
	}
	return u.Path + "?" + query.Encode()
}
