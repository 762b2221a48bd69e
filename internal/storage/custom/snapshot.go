package custom

import (
	"context"
	"maps"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// show is a snapshot as clients see it.
func show(r storage.SnapshotRecord) api.StorageVolumeSnapshot {
	v := api.StorageVolumeSnapshot{Name: r.Name, Description: r.Description, ContentType: r.ContentType, CreatedAt: r.CreatedAt,
		Config: maps.Clone(r.Config)}
	if v.Config == nil {
		v.Config = map[string]string{}
	}
	if !r.ExpiresAt.IsZero() {
		at := r.ExpiresAt
		v.ExpiresAt = &at
	}
	return v
}

// Snapshots lists the snapshots of a volume with their addresses, the oldest first.
func (s *Service) Snapshots(ctx context.Context, at storage.Name) (all []api.StorageVolumeSnapshot, urls []string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all, urls = nil, nil
		r, err := storage.Find(tx, at)
		if err != nil {
			return err
		}
		for _, snap := range storage.SnapshotsOf(tx, storage.Volumes.Key(r)) {
			all, urls = append(all, show(snap)), append(urls, snap.URL())
		}
		return nil
	})
	return all, urls, err
}

// GetSnapshot is one snapshot, with what If-Match guards.
func (s *Service) GetSnapshot(ctx context.Context, at storage.Name, name string) (a api.StorageVolumeSnapshot, etag any, err error) {
	snap, err := s.snapshot(ctx, at, name)
	if err != nil {
		return a, nil, err
	}
	a = show(snap)
	return a, []any{a.Description, a.ExpiresAt}, nil
}

func (s *Service) snapshot(ctx context.Context, at storage.Name, name string) (snap storage.SnapshotRecord, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := storage.Find(tx, at)
		if err != nil {
			return err
		}
		snap, err = findSnapshot(tx, Name{r.Pool, r.Project, r.Name}, name)
		return err
	})
	return snap, err
}

// of is the volume that a snapshot belongs to.
func of(r storage.SnapshotRecord) Name { return Name{r.Pool, r.Project, r.Volume} }

// snapshotTarget is what the journals of operations on a snapshot hold.
type snapshotTarget struct {
	Name
	Snapshot string
	// To is the new name of a snapshot that is renamed.
	To string `json:",omitempty"`
}

// snapshotSpec begins the description of an operation on one snapshot.
func snapshotSpec(kind string, what api.OperationType, r storage.SnapshotRecord) op.Spec {
	o := spec(kind, what, of(r))
	o.Resources[string(api.EntityTypeStorageVolumeSnapshot)] = []string{r.URL()}
	o.Args = snapshotTarget{Name: of(r), Snapshot: r.Name}
	return o
}

// snapshotChange is what happened to a snapshot.
func snapshotChange(ctx context.Context, action string, r storage.SnapshotRecord) event.Change {
	c := change(ctx, action, of(r))
	c.Source, c.Name = project.URL("", of(r).segments("snapshots", r.Name)...), r.Volume+"/"+r.Name
	return c
}

// taking is one snapshot in the making.
type taking struct {
	s *Service
	n Name
	r storage.SnapshotRecord
	// generated says that the name is made up.
	generated bool
	// expires is what the request asks for; nil leaves it to the configuration.
	expires *time.Time
	done    bool
}

// Snapshot returns the work that keeps a volume as it is now. Without a name one is made up.
func (s *Service) Snapshot(ctx context.Context, at storage.Name, post api.StorageVolumeSnapshotsPost) (op.Spec, error) {
	n, _, err := s.load(ctx, at.Pool, at.Project, at.Name)
	if err != nil {
		return op.Spec{}, err
	}
	t := &taking{s: s, n: n, generated: post.Name == "", expires: post.ExpiresAt}
	t.r = storage.SnapshotRecord{Name: post.Name, Description: post.Description, CreatedAt: s.d.Now()}
	if err := s.d.Store.View(ctx, t.admit); err != nil {
		return op.Spec{}, err
	}
	return t.spec(), nil
}

// spec is the work; admit has found the name.
func (t *taking) spec() op.Spec {
	o := snapshotSpec("volume-snapshot", api.OperationCreatingStorageVolumeSnapshot, t.r)
	o.Metadata = map[string]any{"entity_url": t.r.URL()}
	o.Run = t.run
	t.generated = false // the journal has the name
	return o
}

// admit finds the volume, and a name for the snapshot.
func (t *taking) admit(tx store.Tx) error {
	v, err := storage.Volumes.Get(tx, t.n.key())
	if err != nil {
		return err
	}
	keys, err := t.s.d.Pools.VolumeKeys(tx, t.n.Pool)
	if err != nil {
		return err
	}
	if t.generated {
		var taken []string
		for _, snap := range storage.SnapshotsOf(tx, t.n.key()) {
			taken = append(taken, snap.Name)
		}
		if t.r.Name, err = snapshot.Name(keys.Get(v.Config, "snapshots.pattern"), taken, t.r.CreatedAt); err != nil {
			return err
		}
	}
	if err := snapshot.CheckName(t.r.Name); err != nil {
		return err
	}
	t.r.Pool, t.r.Project, t.r.Volume, t.r.ContentType = v.Pool, v.Project, v.Name, v.ContentType
	t.r.Config = storage.WithUUID(v.Config)
	if storage.Snapshots.Has(tx, storage.Snapshots.Key(t.r)) {
		return errs.Newf(errs.Conflict, "snapshot %q of storage volume %q already exists: choose another name", t.r.Name, v.Name)
	}
	if t.expires != nil {
		t.r.ExpiresAt = *t.expires
		return nil
	}
	t.r.ExpiresAt, err = schema.ExpiresAt(t.r.CreatedAt, keys.Get(v.Config, "snapshots.expiry"))
	return err
}

func (t *taking) run(ctx context.Context, task *op.Task) error {
	if err := t.s.d.Store.View(ctx, t.admit); err != nil {
		return err
	}
	err := t.s.d.Store.Update(store.Trial(ctx), func(tx store.Tx) error { return storage.Snapshots.Insert(tx, t.r) })
	if err != nil {
		return err
	}
	v := t.n.volume().At(t.r.Name)
	err = task.Step(ctx, "volume", func(ctx context.Context) error { return t.s.d.Pools.Snapshot(ctx, t.n.Pool, v) }, func(ctx context.Context) error {
		if t.done {
			return nil
		}
		return t.s.d.Pools.Delete(ctx, t.n.Pool, v)
	})
	if err != nil {
		return err
	}
	return task.Step(ctx, "record", func(ctx context.Context) error {
		err := t.s.d.Store.Update(ctx, func(tx store.Tx) error {
			tx.Announce(snapshotChange(ctx, api.LifecycleStorageVolumeSnapshotCreated, t.r))
			if err := storage.Snapshots.Insert(tx, t.r); err != nil {
				return err
			}
			return task.EndJournal(tx)
		})
		t.done = err == nil
		return err
	}, nil)
}

// hasSnapshot tells whether a snapshot has a record.
func (s *Service) hasSnapshot(ctx context.Context, n Name, name string) (there bool, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		there = storage.Snapshots.Has(tx, n.key()+"/"+name)
		return nil
	})
	return there, err
}

// recoverSnapshot removes a snapshot that has no record.
func (s *Service) recoverSnapshot(ctx context.Context, j op.Journal) error {
	var t snapshotTarget
	if err := unmarshal(j, &t); err != nil {
		return err
	}
	there, err := s.hasSnapshot(ctx, t.Name, t.Snapshot)
	if err != nil || there {
		return err
	}
	return s.dropSnapshot(ctx, t.Name, t.Snapshot)
}

// dropSnapshot removes what the pool holds of a snapshot, unless the volume has gone, and with it all of its snapshots.
func (s *Service) dropSnapshot(ctx context.Context, n Name, name string) error {
	err := s.d.Pools.Delete(ctx, n.Pool, n.volume().At(name))
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	return err
}
