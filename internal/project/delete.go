package project

import (
	"context"
	"fmt"
	"slices"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Delete returns the work that removes an empty project, or with force one and all that is in it.
func (s *Service) Delete(ctx context.Context, name string, force bool) (op.Spec, error) {
	if name == Default {
		return op.Spec{}, errs.Newf(errs.Forbidden, "the default project cannot be deleted")
	}
	err := s.Store.View(ctx, func(tx store.Tx) error {
		if _, err := Collection.Get(tx, name); err != nil {
			return err
		}
		if force {
			return nil
		}
		return empty(tx, name)
	})
	if err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "project-delete", Description: api.OperationDeletingProject.String(), Project: Default,
		Resources: map[string][]string{string(api.EntityTypeProject): {URL("", "projects", name)}},
		Locks:     []string{"project " + name},
		Run: func(ctx context.Context, _ *op.Task) error {
			if force {
				if err := s.Contents.Empty(ctx, name); err != nil {
					return fmt.Errorf("project %q could not be emptied: %w", name, err)
				}
			}
			return s.remove(ctx, name)
		},
	}, nil
}

func (s *Service) remove(ctx context.Context, name string) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		r, err := Collection.Get(tx, name)
		if err != nil {
			return err
		}
		if err := empty(tx, name); err != nil {
			return err
		}
		if s.Profiles != nil {
			if err := s.Profiles.Drop(tx, name); err != nil {
				return err
			}
		}
		tx.Announce(change(api.LifecycleProjectDeleted, r))
		return Collection.Delete(tx, name)
	})
}

// empty fails when the project holds more than its default profile. The kind is Internal on purpose: clients get status 500.
func empty(tx store.Tx, name string) error {
	users := content(tx, name)
	if len(users) == 0 {
		return nil
	}
	return errs.Newf(errs.Internal, "project %q is not empty: it has %d objects, first %s", name, len(users), users[0].Key)
}

// content is what is in the project besides its default profile.
func content(tx store.Tx, name string) []store.Ref {
	return slices.DeleteFunc(Collection.UsedBy(tx, name), func(r store.Ref) bool {
		return r.Collection == "profile" && r.Key == name+"/"+Default
	})
}
