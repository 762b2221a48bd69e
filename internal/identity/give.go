package identity

import (
	"context"
	"slices"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/store"
)

// Manages tells whether the caller decides over who may do what. Such a one is as good as an administrator: it can put itself into
// any group.
func Manages(caller auth.Identity) bool {
	return caller.Admin || caller.May(auth.Object{Entity: "server", URL: "/1.0"}, "permission_manager")
}

// MayGive fails unless the caller may give others, or itself, what these groups give: nobody gives what he has not. It is asked before
// an identity gets a group, and before anybody gets what another identity proves itself with.
func (s *Service) MayGive(ctx context.Context, caller auth.Identity, groups []string) error {
	if Manages(caller) {
		return nil
	}
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, name := range sorted(groups) {
			g, err := GroupCollection.Get(tx, name)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(g.Permissions, func(p model.Permission) bool { return !has(caller, p) }) {
				return beyond(caller, name)
			}
		}
		return nil
	})
}

// beyond is why somebody may not give a group. One that the caller may not view looks like one that is not there.
func beyond(caller auth.Identity, group string) error {
	if caller.FineGrained && !caller.May(auth.Object{Entity: "group", URL: GroupURL(group)}, "can_view") {
		return errs.Newf(errs.NotFound, "auth group %q not found", group)
	}
	return errs.Newf(errs.Forbidden, "not authorized: the group %q gives more than you have; permission_manager on the server is needed for that", group)
}

// MayGrant fails unless the caller may give others what the permissions say, but for those that the group has already.
func (s *Service) MayGrant(ctx context.Context, caller auth.Identity, group string, wanted []api.Permission) error {
	if Manages(caller) {
		return nil
	}
	return s.d.Store.View(ctx, func(tx store.Tx) error {
		g, err := GroupCollection.Get(tx, group)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
		given := map[model.Permission]bool{}
		for _, p := range g.Permissions {
			given[p] = true
		}
		for _, w := range wanted {
			p, err := common(w)
			if err != nil {
				return err
			}
			if !given[p] && !has(caller, p) {
				return errs.Newf(errs.Forbidden, "not authorized: you do not have %s on %s yourself; permission_manager on the server is needed to give it", p.Entitlement, p.URL)
			}
		}
		return nil
	})
}

func has(caller auth.Identity, p model.Permission) bool {
	o, err := p.Object()
	return err == nil && caller.May(o, p.Entitlement)
}
