package project

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Rename returns the work that gives an empty project a new name.
func (s *Service) Rename(ctx context.Context, from, to string) (op.Spec, error) {
	if from == Default {
		return op.Spec{}, errs.Newf(errs.Forbidden, "the default project cannot be renamed")
	}
	if err := CheckName(to); err != nil {
		return op.Spec{}, err
	}
	err := s.Store.View(ctx, func(tx store.Tx) error { return renamable(tx, from, to) })
	if err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "project-rename", Description: api.OperationRenamingProject.String(), Project: Default,
		Resources: map[string][]string{string(api.EntityTypeProject): {URL("", "projects", from)}},
		Locks:     []string{"project " + from, "project " + to},
		Run:       func(ctx context.Context, _ *op.Task) error { return s.rename(ctx, from, to) },
	}, nil
}

func renamable(tx store.Tx, from, to string) error {
	if _, err := Collection.Get(tx, from); err != nil {
		return err
	}
	if Collection.Has(tx, to) {
		return errs.Newf(errs.Conflict, "project %q already exists: choose another name", to)
	}
	return empty(tx, from)
}

// rename moves the record; of the content only the default profile is there, which is made anew.
func (s *Service) rename(ctx context.Context, from, to string) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := renamable(tx, from, to); err != nil {
			return err
		}
		r, err := Collection.Get(tx, from)
		if err != nil {
			return err
		}
		r.Name = to
		if err := Collection.Insert(tx, r); err != nil {
			return err
		}
		if s.Profiles != nil {
			if err := s.Profiles.Move(tx, from, to); err != nil {
				return err
			}
		}
		c := change(api.LifecycleProjectRenamed, r)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		return Collection.Delete(tx, from)
	})
}
