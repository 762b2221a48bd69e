package custom

import (
	"context"
	"maps"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// updating changes the description and configuration of one volume.
type updating struct {
	s    *Service
	n    Name
	put  api.StorageVolumePut
	old  storage.VolumeRecord
	next map[string]string
	done bool
}

// Update returns the work that replaces what clients may write of a volume, or that brings it back to a snapshot.
func (s *Service) Update(ctx context.Context, at storage.Name, put api.StorageVolumePut) (op.Spec, error) {
	n, _, err := s.load(ctx, at.Pool, at.Project, at.Name)
	if err != nil {
		return op.Spec{}, err
	}
	if put.Restore != "" {
		return s.restoring(ctx, n, put.Restore)
	}
	u := &updating{s: s, n: n, put: put}
	if err := s.d.Store.View(ctx, u.admit); err != nil {
		return op.Spec{}, err
	}
	o := spec("volume-update", api.OperationUpdatingStorageVolume, n)
	o.Args, o.Run = n, u.run
	return o, nil
}

// admit composes what the volume is to be, and checks it.
func (u *updating) admit(tx store.Tx) (err error) {
	if u.old, err = storage.Volumes.Get(tx, u.n.key()); err != nil {
		return err
	}
	keys, err := u.s.d.Pools.VolumeKeys(tx, u.n.Pool)
	if err != nil {
		return err
	}
	u.next = withoutEmpty(u.put.Config)
	for name, v := range u.old.Config {
		if _, given := u.next[name]; !given && strings.HasPrefix(name, "volatile.") {
			u.next[name] = v // what cannot change need not be sent
		}
		if name == "volatile.uuid" && u.next[name] != v {
			return errs.Newf(errs.Invalid, "volatile.uuid of storage volume %q cannot change", u.n.Name)
		}
	}
	if err := checkConfig(keys, u.next); err != nil {
		return err
	}
	const key = "security.unmapped"
	if schema.IsTrue(u.old.Config[key]) != schema.IsTrue(u.next[key]) {
		if err := unused(tx, u.n); err != nil {
			return errs.Newf(errs.Invalid, "%s cannot change now: %w", key, err)
		}
	}
	return nil
}

func (u *updating) run(ctx context.Context, t *op.Task) error {
	if err := u.s.d.Store.View(ctx, u.admit); err != nil {
		return err
	}
	if err := u.s.d.Store.Update(store.Trial(ctx), u.write); err != nil {
		return err // what the project does not allow must not become a quota
	}
	if u.old.Config["size"] != u.next["size"] {
		err := t.Step(ctx, "size", func(ctx context.Context) error { return u.s.resize(ctx, u.n, u.next) }, func(ctx context.Context) error {
			if u.done {
				return nil
			}
			return u.s.resize(ctx, u.n, u.old.Config)
		})
		if err != nil {
			return err
		}
	}
	return t.Step(ctx, "record", func(ctx context.Context) error { return u.record(ctx, t) }, nil)
}

func (u *updating) record(ctx context.Context, t *op.Task) error {
	err := u.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := u.admit(tx); err != nil {
			return err
		}
		tx.Announce(change(ctx, api.LifecycleStorageVolumeUpdated, u.n))
		if err := u.write(tx); err != nil {
			return err
		}
		return t.EndJournal(tx)
	})
	u.done = err == nil
	return err
}

func (u *updating) write(tx store.Tx) error {
	return storage.Volumes.Modify(tx, u.n.key(), func(r *storage.VolumeRecord) error {
		r.Description, r.Config = u.put.Description, maps.Clone(u.next)
		return nil
	})
}

// resize gives a volume the quota of that configuration.
func (s *Service) resize(ctx context.Context, n Name, cfg map[string]string) error {
	v := n.volume()
	v.Config = cfg
	return s.d.Pools.With(ctx, n.Pool, func(p storage.Pool) error { return resize(ctx, p, v) })
}

// recoverUpdate gives the volume the quota that its record tells of.
func (s *Service) recoverUpdate(ctx context.Context, j op.Journal) error {
	var n Name
	if err := unmarshal(j, &n); err != nil {
		return err
	}
	_, r, err := s.load(ctx, n.Pool, n.Project, n.Name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.resize(ctx, n, r.Config)
}

// restoring is the work that brings a volume back to what it was at a snapshot. Its pool does that at once or not at all, so that nothing
// of it is journalled.
func (s *Service) restoring(ctx context.Context, n Name, snapshot string) (op.Spec, error) {
	snapshot = strings.TrimPrefix(snapshot, n.Name+"/")
	check := func(tx store.Tx) error {
		if _, err := findSnapshot(tx, n, snapshot); err != nil {
			return err
		}
		return s.idle(tx, n)
	}
	if err := s.d.Store.View(ctx, check); err != nil {
		return op.Spec{}, err
	}
	o := spec("volume-restore", api.OperationRestoringSnapshot, n)
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, n.Pool, n.volume(), func(ctx context.Context) error {
			if err := s.d.Store.View(ctx, check); err != nil {
				return err
			}
			err := t.Step(ctx, "volume", func(ctx context.Context) error { return s.d.Pools.Restore(ctx, n.Pool, n.volume().At(snapshot)) }, nil)
			if err != nil {
				return err
			}
			return s.d.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) error {
				c := change(ctx, api.LifecycleStorageVolumeRestored, n)
				c.Context = map[string]any{"snapshot": snapshot}
				tx.Announce(c)
				return nil
			})
		})
	}
	return o, nil
}
