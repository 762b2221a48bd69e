package custom

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// deletion is one volume on its way out. The records go first, so that nobody can begin to use it, and come back if the content stays.
type deletion struct {
	s         *Service
	n         Name
	r         storage.VolumeRecord
	snapshots []storage.SnapshotRecord
	done      bool
}

// Delete returns the work that removes a volume with its snapshots and backups.
func (s *Service) Delete(ctx context.Context, pool, proj, name string) (op.Spec, error) {
	n, _, err := s.load(ctx, pool, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	d := &deletion{s: s, n: n}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return unused(tx, n) }); err != nil {
		return op.Spec{}, err
	}
	o := spec("volume-delete", api.OperationDeletingStorageVolume, n)
	o.Args = n
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, n.Pool, n.volume(), func(ctx context.Context) error { return d.run(ctx, t) })
	}
	return o, nil
}

func (d *deletion) run(ctx context.Context, t *op.Task) error {
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"records", d.forget, d.remember},
		{"volume", func(ctx context.Context) error { return d.volume(context.WithoutCancel(ctx)) }, nil},
		{"done", func(ctx context.Context) error { return d.tell(context.WithoutCancel(ctx), t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the records unless somebody uses the volume.
func (d *deletion) forget(ctx context.Context) error {
	return d.s.d.Store.Update(ctx, func(tx store.Tx) (err error) {
		if d.r, err = storage.Volumes.Get(tx, d.n.key()); err != nil {
			return err
		}
		if err := unused(tx, d.n); err != nil {
			return err
		}
		d.snapshots = storage.SnapshotsOf(tx, d.n.key())
		for _, snap := range d.snapshots {
			if err := storage.Snapshots.Delete(tx, storage.Snapshots.Key(snap)); err != nil {
				return err
			}
		}
		return storage.Volumes.Delete(tx, d.n.key())
	})
}

// remember brings the records back, if the content is still there.
func (d *deletion) remember(ctx context.Context) error {
	if d.done {
		return nil
	}
	return d.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := storage.Volumes.Put(tx, d.r); err != nil {
			return err
		}
		for _, snap := range d.snapshots {
			if err := storage.Snapshots.Put(tx, snap); err != nil {
				return err
			}
		}
		return nil
	})
}

// volume removes the content. There is no way back once it has gone.
func (d *deletion) volume(ctx context.Context) error {
	err := d.s.d.Pools.Delete(ctx, d.n.Pool, d.n.volume())
	d.done = err == nil
	return err
}

// tell is the end of it.
func (d *deletion) tell(ctx context.Context, t *op.Task) error {
	return d.s.gone(ctx, d.n, t.EndJournal)
}

// gone is the last transaction of a removal.
func (s *Service) gone(ctx context.Context, n Name, last func(store.Tx) error) error {
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(change(ctx, api.LifecycleStorageVolumeDeleted, n))
		if s.d.Backups != nil {
			if err := s.d.Backups.Deleted(tx, n); err != nil {
				return err
			}
		}
		return last(tx)
	})
	if err == nil && s.d.Backups != nil {
		s.d.Backups.Sweep()
	}
	return err
}

// recoverDelete finishes a removal whose record is gone.
func (s *Service) recoverDelete(ctx context.Context, j op.Journal) error {
	var n Name
	if err := unmarshal(j, &n); err != nil {
		return err
	}
	there, err := s.has(ctx, n)
	if err != nil || there {
		return err
	}
	if err := s.d.Pools.Delete(ctx, n.Pool, n.volume()); err != nil {
		return err
	}
	return s.gone(ctx, n, func(store.Tx) error { return nil })
}

// findSnapshot loads a snapshot.
func findSnapshot(tx store.Tx, n Name, name string) (storage.SnapshotRecord, error) {
	snap, err := storage.Snapshots.Get(tx, n.key()+"/"+name)
	if errs.Is(err, errs.NotFound) {
		err = errs.Newf(errs.NotFound, "snapshot %q of storage volume %q not found", name, n.Name)
	}
	return snap, err
}
