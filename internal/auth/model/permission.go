package model

import (
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

// Check fails if there is no such entity or entitlement, or if the address cannot be one of such an entity.
func (p Permission) Check() error {
	_, err := p.object()
	return err
}

// Object is what the permission is about. Like every object it is in the project "default" if its address names none.
func (p Permission) Object() (auth.Object, error) { return p.object() }

func (p Permission) object() (o auth.Object, err error) {
	all := auth.Entitlements(p.Entity)
	if len(all) == 0 {
		return o, errs.Newf(errs.Invalid, "there are no rights on entities of type %q: use one of %s", p.Entity, strings.Join(auth.Entities(), ", "))
	}
	if !slices.Contains(all, p.Entitlement) {
		return o, errs.Newf(errs.Invalid, "entities of type %s have no entitlement %q: use one of %s", p.Entity, p.Entitlement, strings.Join(all, ", "))
	}
	o, ok := auth.Locate(p.URL)
	path, _, _ := strings.Cut(p.URL, "?")
	if !ok || o.Entity != p.Entity || auth.Canonical(path) != o.URL {
		return o, errs.Newf(errs.Invalid, "%q is not the address of an entity of type %s: it looks like %s", p.URL, p.Entity, auth.Path(p.Entity))
	}
	return o, nil
}
