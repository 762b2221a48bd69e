package identity

import (
	"context"
	"slices"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/store"
)

// Objects calls fn with each object that permissions can be about, sort by sort, and with its address in permissions. Of a project
// that is those in it and itself; "" is all. entity limits it to one type of entity; "" is every type.
func (s *Service) Objects(ctx context.Context, project, entity string, fn func(o auth.Object, url string)) error {
	if entity != "" && !slices.Contains(auth.Entities(), entity) {
		return errs.Newf(errs.Invalid, "there are no permissions on entities of type %q", entity)
	}
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		if project != "" && !store.Exists(tx, store.Ref{Collection: "project", Key: project}) {
			return errs.Newf(errs.NotFound, "project %q not found", project)
		}
		if project == "" && (entity == "" || entity == "server") {
			fn(auth.Object{Entity: "server", URL: "/1.0"}, "/1.0")
		}
		for _, of := range sorts {
			if entity == "" || entity == of.entity {
				of.each(tx, project, fn)
			}
		}
		return nil
	})
}

// each calls fn with each object of the sort that is in the project, or is the project; "" is all.
func (s sort) each(tx store.Tx, project string, fn func(o auth.Object, url string)) {
	for key := range store.Keys(tx, s.collection) {
		o, ok := s.object(key)
		if ok && (project == "" || o.Project == project || s.entity == "project" && key == project) {
			fn(o, address(o))
		}
	}
}

// Granted is which groups give which permissions.
func (s *Service) Granted(ctx context.Context) (map[model.Permission][]string, error) {
	by := map[model.Permission][]string{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		clear(by)
		for g, err := range GroupCollection.All(tx, "") {
			if err != nil {
				return err
			}
			for _, p := range g.Permissions {
				by[p] = append(by[p], g.Name)
			}
		}
		return nil
	})
	return by, err
}
