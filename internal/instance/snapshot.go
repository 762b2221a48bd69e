package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// Snapshot is an instance as it was at a time, as stored.
type Snapshot struct {
	Name     string    `json:"name"`
	Instance Record    `json:"instance"`
	TakenAt  time.Time `json:"taken_at"`
	// ExpiresAt is when it is deleted; the zero time is never.
	ExpiresAt time.Time `json:"expires_at"`
	// Making is set until the volume is complete.
	Making bool `json:"making,omitempty"`
}

// Snapshots is where the snapshots of instances live.
var Snapshots = store.Collection[Snapshot]{
	Name: "instance_snapshot",
	Key:  Snapshot.key,
	Refs: func(s Snapshot) []store.Ref { return []store.Ref{{Collection: Collection.Name, Key: s.Instance.key()}} },
}

func (s Snapshot) key() string { return snapshotKey(s.Instance.key(), s.Name) }

func snapshotKey(instance, name string) string { return instance + "/" + name }

// URL is the snapshot's address.
func (s Snapshot) URL() string {
	return project.URL(s.Instance.Project, "instances", s.Instance.Name, "snapshots", s.Name)
}

// change is what happened to the snapshot.
func (s Snapshot) change(ctx context.Context, action string) event.Change {
	c := change(ctx, action, s.Instance)
	c.Source, c.Name = project.URL("", "instances", s.Instance.Name, "snapshots", s.Name), s.Instance.Name+"/"+s.Name
	return c
}

// api is the snapshot as clients see it. Profiles that are gone since add nothing.
func (s Snapshot) api(tx store.Tx) api.InstanceSnapshot {
	v := view{Record: s.Instance}
	for _, name := range s.Instance.Profiles {
		if p, err := profile.Collection.Get(tx, profile.Key(s.Instance.ProfileProject, name)); err == nil {
			v.layers = append(v.layers, p)
		}
	}
	v.expand()
	a := v.api(api.StatusStopped)
	return api.InstanceSnapshot{
		Name: s.Name, Architecture: a.Architecture, Config: a.Config, Devices: a.Devices, ExpandedConfig: a.ExpandedConfig,
		ExpandedDevices: a.ExpandedDevices, Profiles: a.Profiles, Ephemeral: a.Ephemeral, CreatedAt: s.TakenAt, ExpiresAt: s.ExpiresAt,
		Size: -1, // nobody has counted
	}
}

// snapshotsOf are the complete snapshots of an instance, the oldest first.
func snapshotsOf(tx store.Tx, instance string) (all []Snapshot) {
	for _, s := range Snapshots.AllRev(tx, instance+"/") {
		if !s.Making {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b Snapshot) int { return a.TakenAt.Compare(b.TakenAt) })
	return all
}

// ListSnapshots yields the snapshots of an instance with their addresses, the oldest first.
func (s *Service) ListSnapshots(ctx context.Context, proj, name string) (all []api.InstanceSnapshot, urls []string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all, urls = nil, nil
		if _, err := Collection.Get(tx, Key(proj, name)); err != nil {
			return err
		}
		for _, snap := range snapshotsOf(tx, Key(proj, name)) {
			all, urls = append(all, snap.api(tx)), append(urls, snap.URL())
		}
		return nil
	})
	return all, urls, err
}

// GetSnapshot is one snapshot, with what If-Match guards.
func (s *Service) GetSnapshot(ctx context.Context, proj, name, snapshot string) (a api.InstanceSnapshot, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		snap, err := findSnapshot(tx, proj, name, snapshot)
		if err != nil {
			return err
		}
		a, etag = snap.api(tx), []any{snap.ExpiresAt}
		return nil
	})
	return a, etag, err
}

// findSnapshot loads a complete snapshot.
func findSnapshot(tx store.Tx, proj, name, snapshot string) (Snapshot, error) {
	if _, err := Collection.Get(tx, Key(proj, name)); err != nil {
		return Snapshot{}, err
	}
	snap, err := Snapshots.Get(tx, snapshotKey(Key(proj, name), snapshot))
	if err == nil && snap.Making {
		err = errs.Newf(errs.NotFound, "instance snapshot %q not found: it is being made", snapshot)
	}
	return snap, err
}

func (s *Service) snapshot(ctx context.Context, proj, name, snapshot string) (snap Snapshot, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		snap, err = findSnapshot(tx, proj, name, snapshot)
		return err
	})
	return snap, err
}

// snapshotTarget is what the journals of operations on a snapshot hold.
type snapshotTarget struct {
	Project, Name, Snapshot string
	// To is the new name of a snapshot that is renamed.
	To string `json:",omitempty"`
}

// snapshotSpec begins the description of an operation on one snapshot.
func snapshotSpec(kind string, what api.OperationType, s Snapshot) op.Spec {
	o := spec(kind, what, s.Instance)
	o.Resources["instance_snapshot"] = []string{s.URL()}
	o.Args = snapshotTarget{Project: s.Instance.Project, Name: s.Instance.Name, Snapshot: s.Name}
	return o
}

// taking is one snapshot in the making.
type taking struct {
	s    *Service
	snap Snapshot
	v    view
	// generated says that the name was made up.
	generated bool
	// expires is what the request asks for; nil leaves it to the configuration.
	expires *time.Time
	// done is set once the snapshot is complete: what fails after that does not undo it.
	done bool
}

// Snapshot returns the work that keeps an instance as it is now. Without a name one is made up.
func (s *Service) Snapshot(ctx context.Context, proj, name string, post api.InstanceSnapshotsPost) (op.Spec, error) {
	switch {
	case post.Stateful:
		return op.Spec{}, errs.Newf(errs.Unsupported, "saving the running state is not supported yet by this server: leave stateful out")
	case post.DiskVolumesMode != "" && post.DiskVolumesMode != "root":
		return op.Spec{}, errs.Newf(errs.Unsupported, "disk_volumes_mode %q is not supported yet by this server: only the root disk is kept", post.DiskVolumesMode)
	}
	t := &taking{s: s, generated: post.Name == "", expires: post.ExpiresAt, snap: Snapshot{Name: post.Name, Making: true, TakenAt: now()}}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return t.admit(tx, Key(proj, name)) }); err != nil {
		return op.Spec{}, err
	}
	return t.spec(), nil
}

// spec is the work; admit has found the name.
func (t *taking) spec() op.Spec {
	o := snapshotSpec("instance-snapshot", api.OperationSnapshottingInstance, t.snap)
	o.Run, o.Metadata = t.run, map[string]any{"entity_url": t.snap.URL()}
	t.generated = false // the journal has the name
	return o
}

// admit finds the instance, and a name for the snapshot.
func (t *taking) admit(tx store.Tx, instance string) (err error) {
	if t.v, err = look(tx, instance); err != nil {
		return err
	}
	if t.v.Making {
		return errs.Newf(errs.Invalid, "the instance is not complete: delete it")
	}
	if t.generated {
		var taken []string
		for _, s := range Snapshots.AllRev(tx, instance+"/") {
			taken = append(taken, s.Name)
		}
		if t.snap.Name, err = snapshot.Name(Keys.Get(t.v.config, "snapshots.pattern"), taken, t.snap.TakenAt); err != nil {
			return err
		}
	}
	if err := snapshot.CheckName(t.snap.Name); err != nil {
		return err
	}
	t.snap.Instance = t.v.Record
	t.snap.Instance.Run, t.snap.Instance.Wanted = nil, false
	if Snapshots.Has(tx, t.snap.key()) {
		return errs.Newf(errs.Conflict, "snapshot %q of instance %q already exists: choose another name", t.snap.Name, t.v.Name)
	}
	if t.expires != nil {
		t.snap.ExpiresAt = *t.expires
		return nil
	}
	t.snap.ExpiresAt, err = schema.ExpiresAt(t.snap.TakenAt, Keys.Get(t.v.config, "snapshots.expiry"))
	return err
}

func (t *taking) run(ctx context.Context, task *op.Task) error {
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"record", t.record, t.undo(func(ctx context.Context) error { return t.s.forgetSnapshot(ctx, t.snap, false, noMore) })},
		{"volume", t.volume, t.undo(func(ctx context.Context) error { return t.s.dropSnapshot(ctx, t.snap) })},
		{"ready", func(ctx context.Context) error { return t.ready(ctx, task) }, nil},
	} {
		if err := task.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

func (t *taking) undo(back func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if t.done {
			return nil
		}
		return back(ctx)
	}
}

// noMore is for a transaction that has nothing to add.
func noMore(store.Tx) error { return nil }

func (t *taking) record(ctx context.Context) error {
	key := t.v.key()
	return t.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := t.admit(tx, key); err != nil {
			return err
		}
		return Snapshots.Insert(tx, t.snap)
	})
}

func (t *taking) volume(ctx context.Context) error {
	return t.s.still(ctx, t.v.key(), func(ctx context.Context) error {
		return t.s.d.Copies.Snapshot(ctx, t.v.Pool, t.s.volume(t.v).At(t.snap.Name))
	})
}

func (t *taking) ready(ctx context.Context, task *op.Task) error {
	err := t.s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(t.snap.change(ctx, api.LifecycleInstanceSnapshotCreated))
		err := Snapshots.Modify(tx, t.snap.key(), func(s *Snapshot) error {
			s.Making = false
			return nil
		})
		if err != nil {
			return err
		}
		return task.EndJournal(tx)
	})
	t.done = err == nil
	return err
}

// dropSnapshot removes what the pool holds of a snapshot.
func (s *Service) dropSnapshot(ctx context.Context, snap Snapshot) error {
	v := view{Record: snap.Instance}
	v.expand()
	s.holds.evict(snap.key())
	return s.d.Volumes.Delete(ctx, snap.Instance.Pool, s.volume(v).At(snap.Name))
}

// forgetSnapshot removes the record; told says whether there is an event.
func (s *Service) forgetSnapshot(ctx context.Context, snap Snapshot, told bool, last func(store.Tx) error) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if told && Snapshots.Has(tx, snap.key()) {
			tx.Announce(snap.change(ctx, api.LifecycleInstanceSnapshotDeleted))
		}
		if err := Snapshots.Delete(tx, snap.key()); err != nil {
			return err
		}
		return last(tx)
	})
}

// DeleteSnapshot returns the work that removes a snapshot.
func (s *Service) DeleteSnapshot(ctx context.Context, proj, name, snapshot string) (op.Spec, error) {
	snap, err := s.snapshot(ctx, proj, name, snapshot)
	if err != nil {
		return op.Spec{}, err
	}
	return s.removal(snap), nil
}

// removal is the work that removes a snapshot.
func (s *Service) removal(snap Snapshot) op.Spec {
	o := snapshotSpec("instance-snapshot-delete", api.OperationDeletingSnapshot, snap)
	o.Run = func(ctx context.Context, t *op.Task) error {
		if _, err := s.snapshot(ctx, snap.Instance.Project, snap.Instance.Name, snap.Name); err != nil {
			return err
		}
		err := t.Step(ctx, "volume", func(ctx context.Context) error { return s.dropSnapshot(ctx, snap) }, func(ctx context.Context) error {
			return s.forgetSnapshot(ctx, snap, true, noMore) // there is no way back: what is left is the record
		})
		if err != nil {
			return err
		}
		return t.Step(context.WithoutCancel(ctx), "record", func(ctx context.Context) error { return s.forgetSnapshot(ctx, snap, true, t.EndJournal) }, nil)
	}
	return o
}

// UpdateSnapshot returns the work that changes when a snapshot expires.
func (s *Service) UpdateSnapshot(ctx context.Context, proj, name, snapshot string, put api.InstanceSnapshotPut) (op.Spec, error) {
	snap, err := s.snapshot(ctx, proj, name, snapshot)
	if err != nil {
		return op.Spec{}, err
	}
	o := snapshotSpec("instance-snapshot-update", api.OperationUpdatingSnapshot, snap)
	o.Args = nil // it is one transaction
	o.Run = func(ctx context.Context, _ *op.Task) error {
		return s.d.Store.Update(ctx, func(tx store.Tx) error {
			tx.Announce(snap.change(ctx, api.LifecycleInstanceSnapshotUpdated))
			return Snapshots.Modify(tx, snap.key(), func(s *Snapshot) error {
				s.ExpiresAt = put.ExpiresAt
				return nil
			})
		})
	}
	return o, nil
}

// RenameSnapshot returns the work that gives a snapshot a new name.
func (s *Service) RenameSnapshot(ctx context.Context, proj, name, old string, post api.InstanceSnapshotPost) (op.Spec, error) {
	snap, err := s.snapshot(ctx, proj, name, old)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Target != nil {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving snapshots to another server is not supported yet by this server")
	}
	if err := snapshot.CheckName(post.Name); err != nil {
		return op.Spec{}, err
	}
	to := snap
	to.Name = post.Name
	if _, err := s.snapshot(ctx, proj, name, to.Name); err == nil {
		return op.Spec{}, errs.Newf(errs.Conflict, "snapshot %q of instance %q already exists: choose another name", to.Name, name)
	}
	o := snapshotSpec("instance-snapshot-rename", api.OperationRenamingSnapshot, snap)
	o.Args = snapshotTarget{Project: proj, Name: name, Snapshot: old, To: to.Name}
	o.Run = func(ctx context.Context, t *op.Task) error {
		if _, err := s.snapshot(ctx, proj, name, old); err != nil {
			return err
		}
		done := false
		err := t.Step(ctx, "volume", func(ctx context.Context) error { return s.moveSnapshot(ctx, snap, to) }, func(ctx context.Context) error {
			if done {
				return nil
			}
			return s.moveSnapshot(ctx, to, snap)
		})
		if err != nil {
			return err
		}
		return t.Step(ctx, "record", func(ctx context.Context) error {
			err := s.renameSnapshot(ctx, snap, to, t.EndJournal)
			done = err == nil
			return err
		}, nil)
	}
	return o, nil
}

// moveSnapshot renames what the pool holds.
func (s *Service) moveSnapshot(ctx context.Context, from, to Snapshot) error {
	v := view{Record: from.Instance}
	v.expand()
	vol := s.volume(v)
	s.holds.evict(from.key())
	return s.d.Copies.Rename(ctx, from.Instance.Pool, vol.At(from.Name), vol.At(to.Name))
}

func (s *Service) renameSnapshot(ctx context.Context, from, to Snapshot, last func(store.Tx) error) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		snap, err := Snapshots.Get(tx, from.key())
		if err != nil {
			return err
		}
		snap.Name = to.Name
		if err := Snapshots.Delete(tx, from.key()); err != nil {
			return err
		}
		if err := Snapshots.Insert(tx, snap); err != nil {
			return err
		}
		e := snap.change(ctx, api.LifecycleInstanceSnapshotRenamed)
		e.Context = map[string]any{"old_name": from.Instance.Name + "/" + from.Name}
		tx.Announce(e)
		return last(tx)
	})
}

// recoverSnapshot deals with a snapshot whose making, removal or renaming was cut short.
func (s *Service) recoverSnapshot(ctx context.Context, j op.Journal) error {
	var t snapshotTarget
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	var snap, renamed Snapshot
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		instance := Key(t.Project, t.Name)
		if renamed, err = Snapshots.Get(tx, snapshotKey(instance, t.To)); t.To != "" && err == nil {
			return nil
		}
		snap, err = Snapshots.Get(tx, snapshotKey(instance, t.Snapshot))
		return err
	})
	switch {
	case errs.Is(err, errs.NotFound):
		return nil // it was never recorded, or its record was the last to go
	case err != nil:
		return err
	case t.To != "" && renamed.Name != "":
		return nil // the record was the last
	case t.To != "":
		to := snap
		to.Name = t.To
		return s.moveSnapshot(ctx, to, snap)
	case !snap.Making && j.Kind == "instance-snapshot":
		return nil
	}
	if err := s.dropSnapshot(ctx, snap); err != nil {
		return err
	}
	return s.forgetSnapshot(ctx, snap, !snap.Making, noMore)
}
