package custom

import (
	"cmp"
	"context"
	"fmt"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// moving gives a volume another name, pool or project.
type moving struct {
	s        *Service
	from, to Name
	done     bool
}

// moveTarget is what the journal holds.
type moveTarget struct{ From, To Name }

// Move returns the work that gives a volume another name, pool or project.
func (s *Service) Move(ctx context.Context, at storage.Name, post api.StorageVolumePost) (op.Spec, error) {
	n, _, err := s.load(ctx, at.Pool, at.Project, at.Name)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Target != nil {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving volumes to another server is not supported yet by this server")
	}
	m := &moving{s: s, from: n, to: Name{cmp.Or(post.Pool, n.Pool), cmp.Or(post.Project, at.Project), cmp.Or(post.Name, n.Name)}}
	if err := CheckName(m.to.Name); err != nil {
		return op.Spec{}, err
	}
	if err := s.d.Store.View(ctx, m.admit); err != nil {
		return op.Spec{}, err
	}
	kind, what, run := "volume-rename", api.OperationMovingStorageVolume, m.rename
	if m.from.Pool != m.to.Pool {
		kind, run = "volume-move", m.copy
	}
	o := spec(kind, what, n)
	o.Locks = append(o.Locks, m.to.lock())
	o.Args = moveTarget{m.from, m.to}
	o.Metadata = map[string]any{"entity_url": m.to.URL()}
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, n.Pool, n.volume(), func(ctx context.Context) error {
			if err := s.d.Store.View(ctx, m.admit); err != nil {
				return err
			}
			return run(ctx, t)
		})
	}
	return o, nil
}

// admit checks the request against what is there.
func (m *moving) admit(tx store.Tx) (err error) {
	if _, err := storage.Pools.Get(tx, m.to.Pool); err != nil {
		return err
	}
	if m.to.Project, err = project.Owner(tx, m.to.Project, project.Volumes); err != nil {
		return err
	}
	if storage.Volumes.Has(tx, m.to.key()) {
		return errs.Newf(errs.Conflict, "storage volume %q of type \"custom\" already exists in storage pool %q: choose another name", m.to.Name, m.to.Pool)
	}
	if m.from.Project != m.to.Project {
		if err := unused(tx, m.from); err != nil {
			return err
		}
	}
	r, err := storage.Volumes.Get(tx, m.from.key())
	if err != nil {
		return err
	}
	keys, err := m.s.d.Pools.VolumeKeys(tx, m.to.Pool)
	if err != nil {
		return err
	}
	if err := checkConfig(keys, r.Config); err != nil {
		return fmt.Errorf("in storage pool %q the volume cannot have its configuration: %w", m.to.Pool, err)
	}
	return m.s.idle(tx, m.from)
}

// rename moves the volume within its pool.
func (m *moving) rename(ctx context.Context, t *op.Task) error {
	err := t.Step(ctx, "volume", func(ctx context.Context) error { return m.s.call(ctx, m.from.Pool, m.from.volume(), m.to.volume()) },
		func(ctx context.Context) error {
			if m.done {
				return nil
			}
			return m.s.call(ctx, m.from.Pool, m.to.volume(), m.from.volume())
		})
	if err != nil {
		return err
	}
	return t.Step(ctx, "record", func(ctx context.Context) error { return m.records(ctx, t.EndJournal) }, nil)
}

// call has a pool call a volume or snapshot by another name.
func (s *Service) call(ctx context.Context, pool string, from, to storage.Volume) error {
	return s.d.Pools.With(ctx, pool, func(p storage.Pool) error {
		r, ok := p.(storage.Renamer)
		if !ok {
			return errs.Newf(errs.Unsupported, "storage pool %q cannot rename volumes", pool)
		}
		return r.Rename(ctx, from, to)
	})
}

// copy moves the volume to another pool: the old one goes when the new one is complete.
func (m *moving) copy(ctx context.Context, t *op.Task) error {
	return m.s.d.Pools.With(ctx, m.to.Pool, func(p storage.Pool) error {
		err := t.Step(ctx, "volume", func(ctx context.Context) error { return m.content(ctx, p) }, func(ctx context.Context) error {
			if m.done {
				return nil
			}
			return m.s.d.Pools.Delete(ctx, m.to.Pool, m.to.volume())
		})
		if err != nil {
			return err
		}
		drop := func(ctx context.Context) error { return m.s.d.Pools.Delete(ctx, m.from.Pool, m.from.volume()) }
		// Once the record tells of the new volume there is no way back: what is left to do is done even if something fails.
		err = t.Step(ctx, "record", func(ctx context.Context) error { return m.records(ctx, func(store.Tx) error { return nil }) }, drop)
		if err != nil {
			return err
		}
		return t.Step(context.WithoutCancel(ctx), "old", drop, nil)
	})
}

// content copies volume and snapshots. On failure nothing is left.
func (m *moving) content(ctx context.Context, p storage.Pool) error {
	o := &origin{Source: Source{Name: m.from}, quiet: true}
	err := m.s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		o.kept = storage.SnapshotsOf(tx, m.from.key())
		o.r, err = storage.Volumes.Get(tx, m.from.key())
		return err
	})
	if err != nil {
		return err
	}
	if _, err := o.copyTo(ctx, m.s, m.to); err != nil {
		return err
	}
	v := m.to.volume()
	v.Config = o.r.Config
	if err := resize(ctx, p, v); err != nil {
		return m.s.dropped(ctx, m.to.Pool, v, err)
	}
	return nil
}

// records gives the volume its new address, everywhere.
func (m *moving) records(ctx context.Context, last func(store.Tx) error) error {
	err := m.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := m.admit(tx); err != nil {
			return err
		}
		if err := m.move(tx); err != nil {
			return err
		}
		c := change(ctx, api.LifecycleStorageVolumeRenamed, m.to)
		c.Context = map[string]any{"old_name": m.from.Name, "old_pool": m.from.Pool, "old_project": m.from.Project}
		tx.Announce(c)
		return last(tx)
	})
	m.done = err == nil
	return err
}

// move writes the new records, has the users refer to them, and removes the old ones.
func (m *moving) move(tx store.Tx) error {
	r, err := storage.Volumes.Get(tx, m.from.key())
	if err != nil {
		return err
	}
	r.Pool, r.Project, r.Name = m.to.Pool, m.to.Project, m.to.Name
	if err := storage.InsertVolume(tx, r); err != nil {
		return err
	}
	snapshots := storage.SnapshotsOf(tx, m.from.key())
	for _, snap := range snapshots {
		snap.Pool, snap.Project, snap.Volume = m.to.Pool, m.to.Project, m.to.Name
		if err := storage.Snapshots.Insert(tx, snap); err != nil {
			return err
		}
	}
	if err := m.users(tx); err != nil {
		return err
	}
	for _, snap := range snapshots {
		if err := storage.Snapshots.Delete(tx, storage.Snapshots.Key(snap)); err != nil {
			return err
		}
	}
	if m.s.d.Backups != nil {
		if err := m.s.d.Backups.Moved(tx, m.from, m.to); err != nil {
			return err
		}
	}
	return storage.Volumes.Delete(tx, m.from.key())
}

// users has the devices of instances and profiles name the volume as it is called now.
func (m *moving) users(tx store.Tx) error {
	rename := func(cfg map[string]string) {
		name, _ := profile.DiskSource(cfg)
		if cfg["type"] == "disk" && cfg["pool"] == m.from.Pool && name == m.from.Name {
			cfg["pool"], cfg["source"] = m.to.Pool, m.to.Name+cfg["source"][len(name):]
		}
	}
	for _, u := range storage.Users(tx, m.from.key()) {
		var err error
		switch u.Collection {
		case "instance":
			err = m.s.d.Instances.ChangeDevices(tx, u.Key, rename)
		case profile.Collection.Name:
			err = profile.Collection.Modify(tx, u.Key, func(r *profile.Record) error {
				for _, cfg := range r.Devices {
					rename(cfg)
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recoverRename takes back what the record does not tell of.
func (s *Service) recoverRename(ctx context.Context, j op.Journal) error {
	var t moveTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	there, err := s.has(ctx, t.From)
	if err != nil || !there {
		return err // the record was the last
	}
	return s.call(ctx, t.From.Pool, t.To.volume(), t.From.volume())
}

// recoverMove removes the copy that the record does not tell of.
func (s *Service) recoverMove(ctx context.Context, j op.Journal) error {
	var t moveTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	there, err := s.has(ctx, t.From)
	if err != nil {
		return err
	}
	if there {
		if err := s.hide(ctx, t.From); err != nil {
			return err
		}
		return s.d.Pools.Delete(ctx, t.To.Pool, t.To.volume())
	}
	return s.d.Pools.Delete(ctx, t.From.Pool, t.From.volume())
}

// hide unmounts a volume and its snapshots after a crash.
func (s *Service) hide(ctx context.Context, n Name) error {
	o := Source{Name: n}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		o.Kept = nil
		for _, snap := range storage.SnapshotsOf(tx, n.key()) {
			o.Kept = append(o.Kept, snap.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.release(ctx, o)
}
