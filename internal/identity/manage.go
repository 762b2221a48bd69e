package identity

import (
	"context"
	"slices"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/store"
)

// Groups loads all groups, in order of their names.
func (s *Service) Groups(ctx context.Context) (all []api.AuthGroup, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for g, err := range GroupCollection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, g.api(tx))
		}
		return nil
	})
	return all, err
}

// Group loads one group.
func (s *Service) Group(ctx context.Context, name string) (g api.AuthGroup, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := GroupCollection.Get(tx, name)
		g = r.api(tx)
		return err
	})
	return g, err
}

// CreateGroup adds a group.
func (s *Service) CreateGroup(ctx context.Context, post api.AuthGroupsPost) error {
	g, err := newGroup(post.Name, post.AuthGroupPut)
	if err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := exist(tx, g.Permissions, nil); err != nil {
			return err
		}
		tx.Announce(g.change(api.LifecycleAuthGroupCreated))
		return GroupCollection.Insert(tx, g)
	})
}

// ReplaceGroup replaces what clients may write of a group.
func (s *Service) ReplaceGroup(ctx context.Context, name string, put api.AuthGroupPut) error {
	g, err := newGroup(name, put)
	if err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := GroupCollection.Get(tx, name)
		if err != nil {
			return err
		}
		if err := exist(tx, g.Permissions, old.Permissions); err != nil {
			return err
		}
		tx.Announce(g.change(api.LifecycleAuthGroupUpdated))
		return GroupCollection.Put(tx, g)
	})
}

// RenameGroup gives a group a new name; who is in it stays in it.
func (s *Service) RenameGroup(ctx context.Context, from, to string) error {
	if err := CheckName("group", to); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		g, err := GroupCollection.Get(tx, from)
		if err != nil {
			return err
		}
		g.Name = to
		if err := GroupCollection.Insert(tx, g); err != nil {
			return err
		}
		c := g.change(api.LifecycleAuthGroupRenamed)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		if err := regroup(tx, from, func(groups []string) []string { return append(groups, to) }); err != nil {
			return err
		}
		return GroupCollection.Delete(tx, from)
	})
}

// DeleteGroup removes a group from all that are in it, and then itself.
func (s *Service) DeleteGroup(ctx context.Context, name string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		g, err := GroupCollection.Get(tx, name)
		if err != nil {
			return err
		}
		if err := regroup(tx, name, func(groups []string) []string { return groups }); err != nil {
			return err
		}
		tx.Announce(g.change(api.LifecycleAuthGroupDeleted))
		return GroupCollection.Delete(tx, name)
	})
}

// regroup takes a group from all that are in it; edit is given their other groups, and may add to them.
func regroup(tx store.Tx, name string, edit func(others []string) []string) error {
	next := func(groups []string) []string {
		others := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == name })
		return sorted(edit(others))
	}
	for _, user := range GroupCollection.UsedBy(tx, name) {
		var err error
		switch user.Collection {
		case Collection.Name:
			err = Collection.Modify(tx, user.Key, func(r *Record) error { r.Groups = next(r.Groups); return nil })
		case ProviderGroupCollection.Name:
			err = ProviderGroupCollection.Modify(tx, user.Key, func(g *ProviderGroup) error { g.Groups = next(g.Groups); return nil })
		default:
			err = errs.Newf(errs.Internal, "%s %q is in the group %q, and cannot be taken from it", user.Collection, user.Key, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ProviderGroups loads all groups of identity providers, in order of their names.
func (s *Service) ProviderGroups(ctx context.Context) (all []api.IdentityProviderGroup, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for g, err := range ProviderGroupCollection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, g.API())
		}
		return nil
	})
	return all, err
}

// ProviderGroup loads one group of an identity provider.
func (s *Service) ProviderGroup(ctx context.Context, name string) (g api.IdentityProviderGroup, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := ProviderGroupCollection.Get(tx, name)
		g = r.API()
		return err
	})
	return g, err
}

// CreateProviderGroup adds a group of an identity provider.
func (s *Service) CreateProviderGroup(ctx context.Context, in api.IdentityProviderGroup) error {
	g := ProviderGroup{Name: in.Name, Groups: sorted(in.Groups)}
	if err := g.check(); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(g.change(api.LifecycleIdentityProviderGroupCreated))
		return ProviderGroupCollection.Insert(tx, g)
	})
}

// ReplaceProviderGroup lets a group of an identity provider stand for these groups and no others.
func (s *Service) ReplaceProviderGroup(ctx context.Context, name string, groups []string) error {
	g := ProviderGroup{Name: name, Groups: sorted(groups)}
	if err := g.check(); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := ProviderGroupCollection.Get(tx, name); err != nil {
			return err
		}
		tx.Announce(g.change(api.LifecycleIdentityProviderGroupUpdated))
		return ProviderGroupCollection.Put(tx, g)
	})
}

// RenameProviderGroup gives a group of an identity provider a new name.
func (s *Service) RenameProviderGroup(ctx context.Context, from, to string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		g, err := ProviderGroupCollection.Get(tx, from)
		if err != nil {
			return err
		}
		g.Name = to
		if err := g.check(); err != nil {
			return err
		}
		if err := ProviderGroupCollection.Insert(tx, g); err != nil {
			return err
		}
		c := g.change(api.LifecycleIdentityProviderGroupRenamed)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		return ProviderGroupCollection.Delete(tx, from)
	})
}

// DeleteProviderGroup removes a group of an identity provider.
func (s *Service) DeleteProviderGroup(ctx context.Context, name string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		g, err := ProviderGroupCollection.Get(tx, name)
		if err != nil {
			return err
		}
		tx.Announce(g.change(api.LifecycleIdentityProviderGroupDeleted))
		return ProviderGroupCollection.Delete(tx, name)
	})
}
