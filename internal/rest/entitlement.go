package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
)

// shown are the entities that types of answers stand for which tell what the caller may do with them.
var shown = map[reflect.Type]string{
	reflect.TypeFor[api.AuthGroup]():             "group",
	reflect.TypeFor[api.Certificate]():           "certificate",
	reflect.TypeFor[api.Identity]():              "identity",
	reflect.TypeFor[api.IdentityProviderGroup](): "identity_provider_group",
	reflect.TypeFor[api.Image]():                 "image",
	reflect.TypeFor[api.ImageAliasesEntry]():     "image_alias",
	reflect.TypeFor[api.Instance]():              "instance",
	reflect.TypeFor[api.InstanceFull]():          "instance",
	reflect.TypeFor[api.Network]():               "network",
	reflect.TypeFor[api.NetworkACL]():            "network_acl",
	reflect.TypeFor[api.NetworkZone]():           "network_zone",
	reflect.TypeFor[api.PlacementGroup]():        "placement_group",
	reflect.TypeFor[api.Profile]():               "profile",
	reflect.TypeFor[api.Project]():               "project",
	reflect.TypeFor[api.Server]():                "server",
	reflect.TypeFor[api.StorageBucket]():         "storage_bucket",
	reflect.TypeFor[api.StoragePool]():           "storage_pool",
	reflect.TypeFor[api.StorageVolume]():         "storage_volume",
}

// entity is what the answers of a route are; "" for those that do not tell what may be done with them.
func (r *Route) entity() string {
	t := r.Out
	if n := len(r.Doc.Depths); n > 0 {
		t = r.Doc.Depths[n-1]
	}
	if r.Kind == ListKind {
		t = t.Elem()
	}
	if t.Kind() == reflect.Interface && len(auth.Entitlements(r.Access.Entity())) > 0 {
		return r.Access.Entity() // its depth decides which type it is
	}
	return shown[t]
}

// want reads which entitlements the caller wants to have told of each object, and refuses where that cannot be answered.
func (c *Call) want(whole bool) error {
	if c.route.shows == "" || !c.query.Has("with-access-entitlements") {
		return nil
	}
	switch {
	case !whole:
		return errs.Newf(errs.Internal, "with-access-entitlements needs recursion 1 or more")
	case !c.Caller.FineGrained:
		return errs.Newf(errs.Invalid, "with-access-entitlements is for identities with fine-grained rights; this one has none")
	}
	known := auth.Entitlements(c.route.shows)
	for what := range strings.SplitSeq(strings.Join(c.query["with-access-entitlements"], ","), ",") {
		if what = strings.TrimSpace(what); !slices.Contains(known, what) {
			return errs.Newf(errs.Invalid, "%q is no entitlement on entities of type %s: ask for some of %s", what, c.route.shows, strings.Join(known, ", "))
		}
		if !slices.Contains(c.wanted, what) {
			c.wanted = append(c.wanted, what)
		}
	}
	return nil
}

// entitled are those of the wanted entitlements that the caller has.
func (c *Call) entitled(o auth.Object) (have []string) {
	for _, what := range c.wanted {
		if c.May(o, what) {
			have = append(have, what)
		}
	}
	return have
}

// entitle writes entitlements into the JSON of an object, which may be kept by others and is not changed.
func entitle(object []byte, have []string) []byte {
	left, ok := bytes.CutPrefix(object, []byte("{"))
	if !ok || len(have) == 0 {
		return object
	}
	list, _ := json.Marshal(have) // texts always marshal
	const name = `{"access_entitlements":`
	out := make([]byte, 0, len(name)+len(list)+1+len(left))
	out = append(append(out, name...), list...)
	if !bytes.HasPrefix(left, []byte("}")) {
		out = append(out, ',')
	}
	return append(out, left...)
}

// told is an object with what the caller may do with it, if it asked for that.
func (c *Call) told(out any) (any, error) {
	if c.wanted == nil {
		return out, nil
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(entitle(b, c.entitled(c.named(c.objectOf(c.route.shows))))), nil
}
