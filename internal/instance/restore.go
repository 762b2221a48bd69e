package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// restoring brings an instance back to what it was at a snapshot.
type restoring struct {
	s    *Service
	snap Snapshot
	v    view
	next Record
	// up says that the instance ran and is to run again.
	up bool
	// done is set once the volume is restored: what fails after that undoes nothing.
	done bool
}

// restoreTarget is what the journal holds.
type restoreTarget struct {
	snapshotTarget
	// Up says that the instance ran.
	Up bool
}

// restoreSpec is the work that PUT with a snapshot's name to restore asks for.
func (s *Service) restoreSpec(ctx context.Context, v view, put api.InstancePut) (op.Spec, error) {
	switch {
	case put.Stateful:
		return op.Spec{}, errs.Newf(errs.Unsupported, "restoring the running state is not supported yet by this server: leave stateful out")
	case put.RestoreDiskVolumesMode != "" && put.RestoreDiskVolumesMode != "root":
		return op.Spec{}, errs.Newf(errs.Unsupported, "restore_disk_volumes_mode %q is not supported yet by this server: only the root disk is restored", put.RestoreDiskVolumesMode)
	}
	// Older clients send the name of the instance as well.
	snap, err := s.snapshot(ctx, v.Project, v.Name, strings.TrimPrefix(put.Restore, v.Name+"/"))
	if err != nil {
		return op.Spec{}, err
	}
	o := snapshotSpec("instance-restore", api.OperationRestoringSnapshot, snap)
	o.Args = restoreTarget{snapshotTarget{Project: v.Project, Name: v.Name, Snapshot: snap.Name}, s.status(v.key()) != api.StatusStopped}
	o.Run = func(ctx context.Context, t *op.Task) error {
		r := &restoring{s: s, snap: snap}
		return r.run(ctx, t)
	}
	return o, nil
}

func (r *restoring) run(ctx context.Context, t *op.Task) error {
	key := r.snap.Instance.key()
	cur, err := r.s.current(ctx, key)
	if err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if cur != nil {
		r.up = true
		if err := r.s.stop(ctx, t, key, 0, restarting); err != nil {
			return err
		}
		if err := r.prepare(ctx); err != nil { // what it had while it ran is gone
			return err
		}
	} else if r.v.Run != nil {
		if err := r.s.sweep(ctx, r.v); err != nil {
			return err
		}
	}
	if err := r.apply(ctx, t); err != nil || !r.up {
		return err
	}
	return r.s.start(ctx, t, key, api.LifecycleInstanceStarted)
}

// apply changes record and volume, both or none.
func (r *restoring) apply(ctx context.Context, t *op.Task) error {
	old := r.v.Record
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"record", func(ctx context.Context) error { return r.record(ctx, r.next) }, func(ctx context.Context) error {
			if r.done {
				return nil
			}
			return r.record(ctx, old)
		}},
		{"volume", r.volume, nil},
		{"ready", func(ctx context.Context) error { return r.ready(ctx, t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// ready tells of it.
func (r *restoring) ready(ctx context.Context, t *op.Task) error {
	e := change(ctx, api.LifecycleInstanceRestored, r.next)
	e.Context = map[string]any{"snapshot": r.snap.Name}
	r.s.portsChanged(r.v.NetworkProject, r.v.nics())
	return r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(e)
		if r.up {
			return nil
		}
		return t.EndJournal(tx)
	})
}

// prepare composes what the instance is to become, and checks it.
func (r *restoring) prepare(ctx context.Context) (err error) {
	if r.v, err = r.s.viewByKey(ctx, r.snap.Instance.key()); err != nil {
		return err
	}
	if r.v.Making {
		return errs.Newf(errs.Invalid, "the instance is not complete: delete it")
	}
	was := r.snap.Instance
	r.next = r.v.Record
	r.next.Architecture, r.next.Ephemeral, r.next.Profiles, r.next.Devices = was.Architecture, was.Ephemeral, was.Profiles, was.Devices
	r.next.Config = clean(was.Config)
	r.next.setVolatile(r.v.Record.kept(r.next.Config))
	r.next.setVolatile(map[string]string{"volatile.uuid.generation": op.NewUUID()})
	next, err := r.s.composed(ctx, r.next)
	if err != nil {
		return err
	}
	if err := r.s.checkView(ctx, next); err != nil {
		return err
	}
	if err := checkFixed(r.v.Record, next.config, next.devices); err != nil {
		return err
	}
	return r.s.tryPut(ctx, r.next)
}

// tryPut fails if a record could not be written, because what it refers to is gone.
func (s *Service) tryPut(ctx context.Context, r Record) error {
	tried := errors.New("only tried")
	err := s.d.Store.Update(ctx, func(tx store.Tx) error { return cmp.Or(Collection.Put(tx, r), tried) })
	if errors.Is(err, tried) {
		return nil
	}
	return err
}

// record makes the instance's record that of the snapshot, or again what it was.
func (r *restoring) record(ctx context.Context, to Record) error {
	return r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		return Collection.Modify(tx, to.key(), func(rec *Record) error {
			now := *rec
			*rec = to
			rec.Run, rec.LastUsedAt, rec.Wanted = now.Run, now.LastUsedAt, r.up
			return nil
		})
	})
}

func (r *restoring) volume(ctx context.Context) error {
	if err := r.s.alone(ctx, r.v); err != nil {
		return err
	}
	err := r.s.d.Copies.Restore(ctx, r.v.Pool, r.s.volume(r.v).At(r.snap.Name))
	r.done = err == nil
	return err
}

// recoverRestore finishes what was begun, unless the machine was not even stopped.
func (s *Service) recoverRestore(ctx context.Context, j op.Journal) error {
	var t restoreTarget
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	snap, err := s.snapshot(ctx, t.Project, t.Name, t.Snapshot)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r := &restoring{s: s, snap: snap, up: t.Up}
	v, err := s.view(ctx, t.Project, t.Name)
	if err != nil {
		return err
	}
	if v.Run != nil {
		if _, err := s.d.Machine.Reattach(ctx, v.Run.Handle); !errs.Is(err, errs.NotFound) {
			return err
		}
	}
	if err := s.sweep(ctx, v); err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil { // nothing was done yet: it was checked before
		slog.Warn("Restoring an instance was cut short and is not possible any more", "instance", v.key(), "err", err)
		return s.want(ctx, v, t.Up)
	}
	if err := r.record(ctx, r.next); err != nil {
		return err
	}
	return r.volume(ctx)
}
