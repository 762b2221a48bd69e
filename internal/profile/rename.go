package profile

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Renamer is an Instances that can follow a profile to a new name.
type Renamer interface {
	// RenameProfile makes every instance that uses profile "from" use "to" instead, within tx.
	RenameProfile(tx store.Tx, project, from, to string) error
}

// Rename gives a profile a new name; the instances that use it follow.
func (s *Service) Rename(ctx context.Context, proj, from, to string) error {
	if from == project.Default {
		return errs.Newf(errs.Forbidden, "profile %q cannot be renamed: every project needs it", from)
	}
	if err := CheckName(to); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := find(tx, proj, from)
		if err != nil {
			return err
		}
		r := old
		r.Name = to
		if err := Collection.Insert(tx, r); err != nil {
			return err
		}
		if f, ok := s.d.Instances.(Renamer); ok {
			if err := f.RenameProfile(tx, r.Project, from, to); err != nil {
				return err
			}
		}
		c := change(api.LifecycleProfileRenamed, r)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		return Collection.Delete(tx, Key(old.Project, from))
	})
}
