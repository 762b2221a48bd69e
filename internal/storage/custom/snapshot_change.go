package custom

import (
	"context"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// DeleteSnapshot returns the work that removes a snapshot.
func (s *Service) DeleteSnapshot(ctx context.Context, at storage.Name, name string) (op.Spec, error) {
	snap, err := s.snapshot(ctx, at, name)
	if err != nil {
		return op.Spec{}, err
	}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return snapshotUnused(tx, snap) }); err != nil {
		return op.Spec{}, err
	}
	return s.removal(snap), nil
}

// snapshotUnused fails with Invalid while an instance or profile shows the snapshot.
func snapshotUnused(tx store.Tx, r storage.SnapshotRecord) error {
	users := project.UsedBy(storage.Snapshots.UsedBy(tx, storage.Snapshots.Key(r)))
	if len(users) == 0 {
		return nil
	}
	return errs.Newf(errs.Invalid, "snapshot %q of storage volume %q is in use, %d times, first by %s: detach it there first", r.Name, r.Volume, len(users), users[0])
}

// removal is the work that removes a snapshot. As with volumes the record goes first.
func (s *Service) removal(r storage.SnapshotRecord) op.Spec {
	o := snapshotSpec("volume-snapshot-delete", api.OperationDeletingStorageVolumeSnapshot, r)
	n, v := of(r), of(r).volume().At(r.Name)
	done := false
	run := func(ctx context.Context, t *op.Task) error {
		err := t.Step(ctx, "record", func(ctx context.Context) error { return s.forgetSnapshot(ctx, &r) }, func(ctx context.Context) error {
			if done {
				return nil
			}
			return s.d.Store.Update(ctx, func(tx store.Tx) error { return storage.Snapshots.Put(tx, r) })
		})
		if err != nil {
			return err
		}
		ctx = context.WithoutCancel(ctx)
		err = t.Step(ctx, "volume", func(ctx context.Context) error {
			err := s.d.Pools.Delete(ctx, n.Pool, v)
			done = err == nil
			return err
		}, nil)
		if err != nil {
			return err
		}
		return t.Step(ctx, "done", func(ctx context.Context) error {
			return s.d.Store.Update(ctx, func(tx store.Tx) error {
				tx.Announce(snapshotChange(ctx, api.LifecycleStorageVolumeSnapshotDeleted, r))
				return t.EndJournal(tx)
			})
		}, nil)
	}
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, n.Pool, v, func(ctx context.Context) error { return run(ctx, t) })
	}
	return o
}

// forgetSnapshot removes the record, and loads into r what it was, unless somebody uses the snapshot.
func (s *Service) forgetSnapshot(ctx context.Context, r *storage.SnapshotRecord) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		now, err := findSnapshot(tx, of(*r), r.Name)
		if err != nil {
			return err
		}
		if err := snapshotUnused(tx, now); err != nil {
			return err
		}
		*r = now
		return storage.Snapshots.Delete(tx, storage.Snapshots.Key(now))
	})
}

// recoverSnapshotDelete finishes a removal whose record is gone.
func (s *Service) recoverSnapshotDelete(ctx context.Context, j op.Journal) error {
	return s.recoverSnapshot(ctx, j)
}

// UpdateSnapshot returns the work that changes a snapshot's description, and when it expires.
func (s *Service) UpdateSnapshot(ctx context.Context, at storage.Name, name string, put api.StorageVolumeSnapshotPut) (op.Spec, error) {
	snap, err := s.snapshot(ctx, at, name)
	if err != nil {
		return op.Spec{}, err
	}
	o := snapshotSpec("volume-snapshot-update", api.OperationUpdatingStorageVolumeSnapshot, snap)
	o.Args = nil // it is one transaction
	o.Run = func(ctx context.Context, _ *op.Task) error {
		return s.d.Store.Update(ctx, func(tx store.Tx) error {
			tx.Announce(snapshotChange(ctx, api.LifecycleStorageVolumeSnapshotUpdated, snap))
			return storage.Snapshots.Modify(tx, storage.Snapshots.Key(snap), func(r *storage.SnapshotRecord) error {
				r.Description, r.ExpiresAt = put.Description, time.Time{}
				if put.ExpiresAt != nil {
					r.ExpiresAt = *put.ExpiresAt
				}
				return nil
			})
		})
	}
	return o, nil
}

// RenameSnapshot returns the work that gives a snapshot a new name.
func (s *Service) RenameSnapshot(ctx context.Context, at storage.Name, name string, post api.StorageVolumeSnapshotPost) (op.Spec, error) {
	from, err := s.snapshot(ctx, at, name)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Target != nil {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving snapshots to another server is not supported yet by this server")
	}
	if err := snapshot.CheckName(post.Name); err != nil {
		return op.Spec{}, err
	}
	to := from
	to.Name = post.Name
	admit := func(tx store.Tx) error {
		if storage.Snapshots.Has(tx, storage.Snapshots.Key(to)) {
			return errs.Newf(errs.Conflict, "snapshot %q of storage volume %q already exists: choose another name", to.Name, to.Volume)
		}
		if _, err := findSnapshot(tx, of(from), from.Name); err != nil {
			return err
		}
		return snapshotUnused(tx, from)
	}
	if err := s.d.Store.View(ctx, admit); err != nil {
		return op.Spec{}, err
	}
	o := snapshotSpec("volume-snapshot-rename", api.OperationRenamingStorageVolumeSnapshot, from)
	o.Args = snapshotTarget{Name: of(from), Snapshot: from.Name, To: to.Name}
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, from.Pool, of(from).volume().At(from.Name), func(ctx context.Context) error {
			if err := s.d.Store.View(ctx, admit); err != nil {
				return err
			}
			return s.renameSnapshot(ctx, t, from, to)
		})
	}
	return o, nil
}

func (s *Service) renameSnapshot(ctx context.Context, t *op.Task, from, to storage.SnapshotRecord) error {
	v, done := of(from).volume(), false
	err := t.Step(ctx, "volume", func(ctx context.Context) error { return s.call(ctx, from.Pool, v.At(from.Name), v.At(to.Name)) }, func(ctx context.Context) error {
		if done {
			return nil
		}
		return s.call(ctx, from.Pool, v.At(to.Name), v.At(from.Name))
	})
	if err != nil {
		return err
	}
	return t.Step(ctx, "record", func(ctx context.Context) error {
		err := s.d.Store.Update(ctx, func(tx store.Tx) error {
			snap, err := findSnapshot(tx, of(from), from.Name)
			if err != nil {
				return err
			}
			if err := storage.Snapshots.Delete(tx, storage.Snapshots.Key(snap)); err != nil {
				return err
			}
			snap.Name = to.Name
			e := snapshotChange(ctx, api.LifecycleStorageVolumeSnapshotRenamed, snap)
			e.Context = map[string]any{"old_name": from.Volume + "/" + from.Name}
			tx.Announce(e)
			if err := storage.Snapshots.Insert(tx, snap); err != nil {
				return err
			}
			return t.EndJournal(tx)
		})
		done = err == nil
		return err
	}, nil)
}

// recoverSnapshotRename takes back what the record does not tell of.
func (s *Service) recoverSnapshotRename(ctx context.Context, j op.Journal) error {
	var t snapshotTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	there, err := s.hasSnapshot(ctx, t.Name, t.Snapshot)
	if err != nil || !there {
		return err // the record was the last
	}
	return s.call(ctx, t.Pool, t.volume().At(t.To), t.volume().At(t.Snapshot))
}
