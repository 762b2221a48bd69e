package custom

import (
	"context"
	"slices"

	"lxd/api"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// refreshing brings a copy up to date: it gets the content of its source as it is now, and the same snapshots.
type refreshing struct {
	s *Service
	o *origin
	n Name
}

// refresh returns the work that brings the volume that c is to make up to date, if there is one; ok tells.
func (s *Service) refresh(ctx context.Context, c *creation) (work op.Spec, ok bool, err error) {
	n, _, err := s.load(ctx, c.r.Pool, c.r.Project, c.r.Name)
	if err != nil {
		return op.Spec{}, false, nil //nolint:nilerr // it is made
	}
	r := &refreshing{s: s, o: c.origin, n: n}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return s.idle(tx, n) }); err != nil {
		return op.Spec{}, true, err
	}
	o := spec("volume-refresh", api.OperationCopyingStorageVolume, n)
	o.Metadata = map[string]any{"entity_url": n.URL()}
	o.Args = createTarget{Name: n, From: &c.origin.Source}
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.d.Pools.Quiet(ctx, n.Pool, n.volume(), func(ctx context.Context) error {
			if err := s.d.Store.View(ctx, func(tx store.Tx) error { return s.idle(tx, n) }); err != nil {
				return err
			}
			return r.run(ctx, t)
		})
	}
	return o, true, nil
}

func (r *refreshing) run(ctx context.Context, t *op.Task) error {
	var old []storage.SnapshotRecord
	err := r.s.d.Store.View(ctx, func(tx store.Tx) error {
		old = storage.SnapshotsOf(tx, r.n.key())
		return nil
	})
	if err != nil {
		return err
	}
	if r.o.Snapshot == "" && len(r.o.kept) > 0 {
		if err := t.Step(ctx, "snapshots", func(ctx context.Context) error { return r.snapshots(ctx, old) }, nil); err != nil {
			return err
		}
	}
	return t.Step(ctx, "volume", func(ctx context.Context) error {
		return r.s.copyOne(ctx, r.o, r.o.at(), place{r.n.Pool, r.n.volume(), true})
	}, nil)
}

// snapshots makes those that are missing or older than their namesakes, and removes those that the source does not have.
func (r *refreshing) snapshots(ctx context.Context, old []storage.SnapshotRecord) error {
	for _, have := range old {
		same := slices.ContainsFunc(r.o.kept, func(want storage.SnapshotRecord) bool {
			return want.Name == have.Name && want.CreatedAt.Equal(have.CreatedAt)
		})
		if same {
			continue
		}
		if err := r.s.forgetSnapshot(ctx, &have); err != nil {
			return err
		}
		if err := r.s.dropSnapshot(ctx, r.n, have.Name); err != nil {
			return err
		}
	}
	for _, want := range r.o.kept {
		there, err := r.s.hasSnapshot(ctx, r.n, want.Name)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		v := r.n.volume().At(want.Name)
		if err := r.s.copyOne(ctx, r.o, r.o.volume().At(want.Name), place{r.n.Pool, v, true}); err != nil {
			return err
		}
		made := moved(want, r.n)
		err = r.s.d.Store.Update(ctx, func(tx store.Tx) error { return storage.Snapshots.Insert(tx, made) })
		if err != nil {
			return r.s.dropped(ctx, r.n.Pool, v, err)
		}
	}
	return nil
}

// recoverRefresh removes the snapshots that have no record.
func (s *Service) recoverRefresh(ctx context.Context, j op.Journal) error {
	var t createTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	if t.From == nil {
		return nil
	}
	if err := s.release(ctx, *t.From); err != nil {
		return err
	}
	for _, name := range t.From.Kept {
		there, err := s.hasSnapshot(ctx, t.Name, name)
		if err != nil {
			return err
		}
		if !there {
			if err := s.dropSnapshot(ctx, t.Name, name); err != nil {
				return err
			}
		}
	}
	return nil
}
