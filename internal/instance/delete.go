package instance

import (
	"context"
	"errors"
	"os"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// Delete returns the work that removes an instance; a running one only with force.
func (s *Service) Delete(ctx context.Context, proj, name string, force bool) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if Keys.Bool(v.config, "security.protection.delete") {
		return op.Spec{}, errs.Newf(errs.Forbidden, "the instance is protected from being deleted: set security.protection.delete to false first")
	}
	if !force && s.status(v.key()) != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Invalid, "the instance is running: stop it first, or delete with force")
	}
	return s.deletion(v.Record, force), nil
}

// deletion is the work that removes an instance.
func (s *Service) deletion(r Record, force bool) op.Spec {
	o := spec("instance-delete", api.OperationDeletingInstance, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		cur, err := s.current(ctx, r.key())
		if err != nil {
			return err
		}
		if cur != nil && !force {
			return errs.Newf(errs.Invalid, "the instance is running: stop it first, or delete with force")
		}
		if cur != nil {
			if err := s.stop(ctx, t, r.key(), 0, stopped); err != nil {
				return err
			}
		}
		return s.destroy(ctx, t, r.key())
	}
	return o
}

// destroy removes a stopped instance. From its first step on it is not cancelled: what is left after that is of no use.
func (s *Service) destroy(ctx context.Context, t *op.Task, key string) error {
	v, err := s.viewByKey(ctx, key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if v.Run != nil {
		if err := s.sweep(ctx, v); err != nil {
			return err
		}
	}
	begun := false
	t.Add("finish the removal", func(ctx context.Context) error {
		if !begun {
			return nil
		}
		return s.finishOrSpoil(ctx, v)
	})
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"volume", func(ctx context.Context) error {
			err := s.dropVolume(ctx, v)
			begun = !errs.Is(err, errs.Unavailable) // a pool that is not there now still has all of the volume
			return err
		}},
		{"files", func(context.Context) error { return s.dropFiles(v.Record) }},
		{"record", func(ctx context.Context) error { return s.forget(ctx, v, t.EndJournal) }},
	} {
		if err := t.Step(ctx, step.name, step.do, nil); err != nil {
			return err
		}
	}
	return nil
}

// finishOrSpoil is for a removal that failed half way: there is no way back, so it is tried once more, and if that fails too the
// instance is marked as one that can only be removed.
func (s *Service) finishOrSpoil(ctx context.Context, v view) error {
	err := errors.Join(s.dropVolume(ctx, v), s.dropFiles(v.Record))
	if err == nil {
		err = s.forget(ctx, v, func(store.Tx) error { return nil })
	}
	if err == nil {
		return nil
	}
	return s.spoil(ctx, v.key())
}

// spoil marks an instance that can only be removed.
func (s *Service) spoil(ctx context.Context, key string) error {
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		return Collection.Modify(tx, key, func(r *Record) error {
			r.Making = true
			return nil
		})
	})
	if errs.Is(err, errs.NotFound) {
		return nil // what failed came after the removal
	}
	return err
}

func (s *Service) dropVolume(ctx context.Context, v view) error {
	if v.Pool == "" {
		return nil
	}
	s.holds.evict(v.key())
	return s.d.Volumes.Delete(ctx, v.Pool, s.volume(v))
}

func (s *Service) dropFiles(r Record) error {
	return errors.Join(os.RemoveAll(s.runDir(r)), os.RemoveAll(s.logDir(r)))
}

// forget removes the record. One that was never complete goes without an event.
func (s *Service) forget(ctx context.Context, v view, last func(store.Tx) error) error {
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		var kept []Snapshot
		for _, snap := range Snapshots.AllRev(tx, v.key()+"/") {
			kept = append(kept, snap)
		}
		for _, snap := range kept {
			if !snap.Making {
				tx.Announce(snap.change(ctx, api.LifecycleInstanceSnapshotDeleted))
			}
			if err := Snapshots.Delete(tx, snap.key()); err != nil {
				return err
			}
		}
		if !v.Making {
			tx.Announce(change(ctx, api.LifecycleInstanceDeleted, v.Record))
		}
		if s.d.Belongings != nil {
			if err := s.d.Belongings.Deleted(tx, v.Project, v.Name); err != nil {
				return err
			}
		}
		if err := warning.Forget(tx, v.entity()); err != nil {
			return err
		}
		if err := Collection.Delete(tx, v.key()); err != nil {
			return err
		}
		return last(tx)
	})
	if err == nil && s.d.Belongings != nil {
		s.d.Belongings.Sweep()
	}
	if err == nil {
		s.shown.drop(v.key())
		s.portsChanged(v.NetworkProject, v.nics())
		s.nicsGone(ctx, v)
	}
	return err
}

// announce publishes what happened without a change of the record.
func (s *Service) announce(e event.Change) {
	if s.d.Announce != nil {
		s.d.Announce(e)
	}
}
