package complete

import (
	"maps"
	"slices"
	"strings"

	"lxd/api"
)

// authWords answers for arguments of "lxc auth" that no collection lists.
func (q *query) authWords(s spot) ([]string, bool) {
	switch {
	case strings.HasPrefix(q.path, "lxc auth group permission ") && len(q.args) > 0:
		return q.permission(), true
	case q.path == "lxc auth permission list" && q.typed == "": // the remote may be left out
		return q.filters(), true
	case q.path == "lxc auth identity create" && s.remote:
		return prefixed(q.typed, []string{"bearer/", "devlxd/", "tls/"}), true
	case strings.HasPrefix(q.path, "lxc auth identity ") && s.remote && s.what != "":
		return q.identities(), true
	}
	return nil, false
}

// identities are those who may call, of the types that hold tokens where those are meant.
func (q *query) identities() []string {
	server := q.server()
	if server == nil {
		return nil
	}
	all, err := server.Identities(q.ctx, "")
	if err != nil {
		return nil
	}
	var out []string
	for _, i := range all {
		if strings.HasPrefix(q.path, "lxc auth identity token ") && i.AuthenticationMethod != "bearer" {
			continue
		}
		name := i.Name
		if i.AuthenticationMethod == "oidc" || name == "" { // several people may have the same name
			name = i.Identifier
		}
		out = append(out, q.typed+i.AuthenticationMethod+"/"+name)
	}
	slices.Sort(out)
	return out
}

// permission completes what follows the group: a type of entity, a name unless it is the server, an entitlement, and what else names it.
func (q *query) permission() []string {
	if len(q.args) == 1 {
		return slices.Sorted(maps.Keys(q.entities()))
	}
	kind := q.args[1]
	place := len(q.args) - 1 // of what is asked for, among the arguments from the type on
	if kind == "server" {
		place++ // it has no name
	}
	switch place {
	case 1:
		if kind == "identity" {
			return q.identities()
		}
		return q.list(entityCollections()[kind], nil)
	case 2:
		var out []string
		for _, e := range q.entities()[kind].Entitlements {
			out = append(out, e.Name)
		}
		slices.Sort(out)
		return out
	}
	return q.place(kind)
}

// place completes the key=value arguments that say where an entity is.
func (q *query) place(kind string) []string {
	keys := map[string]string{}
	if q.entities()[kind].ProjectSpecific {
		keys["project"] = "projects"
	}
	if kind == "storage_volume" || kind == "storage_bucket" {
		keys["pool"], keys["location"] = "storage-pools", "cluster/members"
	}
	if kind == "storage_volume" {
		keys["type"] = ""
	}
	key, _, ok := strings.Cut(q.prefix, "=")
	switch {
	case !ok:
		return assignable(keys)
	case key == "type" && kind == "storage_volume":
		return prefixed("type=", []string{"container", "custom", "virtual-machine"})
	}
	return prefixed(key+"=", q.list(keys[key], nil))
}

// filters completes what a list of permissions may be limited to.
func (q *query) filters() []string {
	key, _, ok := strings.Cut(q.prefix, "=")
	switch {
	case !ok:
		return assignable(map[string]string{"project": "", "entity_type": ""})
	case key == "project":
		return prefixed("project=", q.list("projects", nil))
	case key == "entity_type":
		return prefixed("entity_type=", slices.Sorted(maps.Keys(q.entities())))
	}
	return nil
}

// entities are the types of entities that the server describes.
func (q *query) entities() map[string]api.MetadataConfigurationEntity {
	server := q.server()
	var doc api.MetadataConfiguration
	if server == nil {
		return nil
	}
	if _, err := server.Get(q.ctx, "/1.0/metadata/configuration", &doc); err != nil {
		return nil
	}
	return doc.Entities
}

// entityCollections list the entities of a type; those in a pool, which is not known yet, are not among them.
func entityCollections() map[string]string {
	return map[string]string{
		"certificate": "certificates", "group": "auth/groups", "identity_provider_group": "auth/identity-provider-groups", "image": "images",
		"image_alias": "images/aliases", "instance": "instances", "network": "networks", "network_acl": "network-acls", "network_zone": "network-zones",
		"placement_group": "placement-groups", "profile": "profiles", "project": "projects", "storage_pool": "storage-pools",
	}
}

// assignable are keys with their equals signs.
func assignable(keys map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, key+"=")
	}
	return out
}

// prefixed is words with something in front of each.
func prefixed(with string, words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = with + w
	}
	return out
}
