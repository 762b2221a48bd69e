package identity

import (
	"net/url"
	"slices"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/store"
)

// sort is a sort of objects that permissions can be about: where their records are, and how keys and addresses relate.
type sort struct {
	entity, collection string
	// path is the address, with a number for each part of the key that stands there.
	path string
	// project is which part of the key is the project; -1 is none.
	project int
	// parts is how many parts the key has.
	parts int
}

// sorts lists the objects that the store keeps. A certificate is an identity, too.
var sorts = []sort{
	{"certificate", "certificate", "/1.0/certificates/0", -1, 1},
	{"identity", "certificate", "/1.0/auth/identities/tls/0", -1, 1},
	{"identity", "identity", "/1.0/auth/identities/0/1", -1, 2},
	{"group", "auth_group", "/1.0/auth/groups/0", -1, 1},
	{"identity_provider_group", "identity_provider_group", "/1.0/auth/identity-provider-groups/0", -1, 1},
	{"project", "project", "/1.0/projects/0", -1, 1},
	{"storage_pool", "storage_pool", "/1.0/storage-pools/0", -1, 1},
	{"image", "image", "/1.0/images/1", 0, 2},
	{"image_alias", "image_alias", "/1.0/images/aliases/1", 0, 2},
	{"instance", "instance", "/1.0/instances/1", 0, 2},
	{"network", "network", "/1.0/networks/1", 0, 2},
	{"network_acl", "network_acl", "/1.0/network-acls/1", 0, 2},
	{"network_zone", "network_zone", "/1.0/network-zones/1", 0, 2},
	{"placement_group", "placement_group", "/1.0/placement-groups/1", 0, 2},
	{"profile", "profile", "/1.0/profiles/1", 0, 2},
	{"storage_bucket", "storage_bucket", "/1.0/storage-pools/0/buckets/2", 1, 3},
	{"storage_volume", "storage_volume", "/1.0/storage-pools/0/volumes/1/3", 2, 4},
}

// object is the object whose record has that key.
func (s sort) object(key string) (o auth.Object, ok bool) {
	parts := strings.SplitN(key, "/", s.parts)
	if len(parts) != s.parts {
		return o, false
	}
	o.Entity = s.entity
	words := strings.Split(s.path, "/")
	for i, w := range words[2:] {
		if len(w) == 1 && w[0] >= '0' && w[0] <= '9' {
			words[2+i] = url.PathEscape(parts[w[0]-'0'])
		}
	}
	o.URL = strings.Join(words, "/")
	if s.project >= 0 {
		o.Project = parts[s.project]
	}
	return o, true
}

// key is the key that the record of an object would have.
func (s sort) key(o auth.Object) (string, bool) {
	words, have := strings.Split(s.path, "/"), strings.Split(o.URL, "/")
	if s.entity != o.Entity || len(words) != len(have) {
		return "", false
	}
	parts := make([]string, s.parts)
	for i, w := range words {
		switch {
		case i >= 2 && len(w) == 1 && w[0] >= '0' && w[0] <= '9':
			name, err := url.PathUnescape(have[i])
			if err != nil {
				return "", false
			}
			parts[w[0]-'0'] = name
		case w != have[i]:
			return "", false
		}
	}
	if s.project >= 0 {
		parts[s.project] = o.Project
	}
	return strings.Join(parts, "/"), true
}

// address is the address of an object in permissions: it always names the project that the object is in.
func address(o auth.Object) string {
	if o.Project == "" {
		return o.URL
	}
	return o.URL + "?project=" + url.QueryEscape(o.Project)
}

// exists tells whether there is such an object.
func exists(tx store.Tx, o auth.Object) bool {
	return o.Entity == "server" || slices.ContainsFunc(sorts, func(s sort) bool {
		key, ok := s.key(o)
		return ok && store.Exists(tx, store.Ref{Collection: s.collection, Key: key})
	})
}

// exist fails if a permission that is not among the known ones is about an object that does not exist.
func exist(tx store.Tx, ps, known []model.Permission) error {
	for _, p := range ps {
		if _, ok := slices.BinarySearchFunc(known, p, compare); ok {
			continue
		}
		o, err := p.Object()
		if err != nil {
			return err
		}
		if !exists(tx, o) {
			return errs.Newf(errs.Invalid, "there is no %s %q to give %q on: make it first, or correct the address", p.Entity, p.URL, p.Entitlement)
		}
	}
	return nil
}
