package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/template"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/store"
)

// rebuilding gives a stopped instance a new root, of the same or another image.
type rebuilding struct {
	s   *Service
	c   creation
	v   view
	old Record
	// done is set once the new root is in place: what fails after that undoes nothing.
	done bool
}

// rebuildTarget is what the journal holds.
type rebuildTarget struct{ Project, Name, Fingerprint string }

// Rebuild returns the work that makes the root of a stopped instance anew.
func (s *Service) Rebuild(ctx context.Context, proj, name string, post api.InstanceRebuildPost) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	r := &rebuilding{s: s, v: v, c: creation{s: s, r: Record{Project: proj, Name: name, Type: v.Type}}}
	if post.Source.Type == api.SourceTypeCopy {
		return op.Spec{}, errs.Newf(errs.Invalid, "unknown source type %q: an instance is rebuilt from image or none", post.Source.Type)
	}
	if err := r.c.checkSource(ctx, api.InstancesPost{Source: post.Source}); err != nil {
		return op.Spec{}, err
	}
	if s.status(v.key()) != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Invalid, "the instance is running: stop it before it is rebuilt")
	}
	if err := s.d.Store.View(ctx, r.admit); err != nil {
		return op.Spec{}, err
	}
	o := spec("instance-rebuild", api.OperationRebuildingInstance, v.Record)
	o.Args = rebuildTarget{proj, name, r.c.fingerprint}
	o.Run = r.run
	return o, nil
}

// admit refuses an instance whose snapshots would be of something else.
func (r *rebuilding) admit(tx store.Tx) error {
	for range Snapshots.AllRev(tx, r.v.key()+"/") {
		return errs.Newf(errs.Invalid, "the instance has snapshots: delete them before it is rebuilt")
	}
	return nil
}

func (r *rebuilding) run(ctx context.Context, t *op.Task) error {
	cur, err := r.s.current(ctx, r.v.key())
	if err != nil {
		return err
	}
	if cur != nil {
		return errs.Newf(errs.Invalid, "the instance is running: stop it before it is rebuilt")
	}
	if r.v, err = r.s.viewByKey(ctx, r.v.key()); err != nil {
		return err
	}
	if r.v.Making {
		return errs.Newf(errs.Invalid, "the instance is not complete: delete it")
	}
	if r.v.Run != nil {
		if err := r.s.sweep(ctx, r.v); err != nil {
			return err
		}
	}
	if err := r.resolve(ctx); err != nil {
		return err
	}
	r.old, r.c.v, r.c.r.Pool = r.v.Record, r.v, r.v.Pool
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"image", func(ctx context.Context) error { return r.c.ensureImage(ctx, t) }, nil},
		{"volume", func(ctx context.Context) error { return r.c.fill(ctx, t, r.fresh()) }, func(ctx context.Context) error { return r.s.d.Volumes.Delete(ctx, r.v.Pool, r.fresh()) }},
		{"record", func(ctx context.Context) error { return r.record(ctx, r.next(), noMore) }, func(ctx context.Context) error {
			if r.done {
				return nil
			}
			return r.record(ctx, r.old.Config, noMore)
		}},
		{"swap", func(ctx context.Context) error { return r.swap(ctx, t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// resolve finds an image that was not there yet when the request came.
func (r *rebuilding) resolve(ctx context.Context) error {
	if r.c.fingerprint == "" || r.c.properties != nil {
		return nil
	}
	img, err := r.s.d.Images.Resolve(ctx, r.v.Project, r.c.fingerprint)
	if err != nil {
		return err
	}
	r.c.take(img)
	return r.s.checkArchitecture(img.Architecture)
}

// fresh is the new volume until it takes the old one's place. No instance can have its name.
func (r *rebuilding) fresh() storage.Volume {
	vol := r.s.volume(r.v)
	vol.Name += ".new"
	return vol
}

// next is the configuration with what it says of the image exchanged.
func (r *rebuilding) next() map[string]string {
	config := maps.Clone(r.old.Config)
	maps.DeleteFunc(config, func(k, _ string) bool { return strings.HasPrefix(k, "image.") })
	for k, v := range r.c.properties {
		if k != "" && v != "" && schema.OneLine(k) == nil {
			config["image."+k] = v
		}
	}
	delete(config, "volatile.base_image")
	if r.c.fingerprint != "" {
		config["volatile.base_image"] = r.c.fingerprint
	}
	config[templateKey] = template.Create
	config["volatile.uuid.generation"], config["volatile.cloud-init.instance-id"] = op.NewUUID(), op.NewUUID()
	return config
}

func (r *rebuilding) record(ctx context.Context, config map[string]string, last func(store.Tx) error) error {
	return r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := r.admit(tx); err != nil {
			return err
		}
		err := Collection.Modify(tx, r.v.key(), func(rec *Record) error {
			rec.Config = config
			return nil
		})
		if err != nil {
			return err
		}
		return last(tx)
	})
}

// swap puts the new volume into the place of the old. It is not cancelled: there is a moment when neither is there.
func (r *rebuilding) swap(ctx context.Context, t *op.Task) error {
	ctx = context.WithoutCancel(ctx)
	if err := r.s.alone(ctx, r.v); err != nil {
		return err
	}
	if err := r.s.d.Copies.Replace(ctx, r.v.Pool, r.fresh(), r.s.volume(r.v)); err != nil {
		return err
	}
	r.done = true
	return r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(change(ctx, api.LifecycleInstanceUpdated, r.v.Record))
		return t.EndJournal(tx)
	})
}

// recoverRebuild finishes a rebuilding once the record names the new image, and takes it back before.
func (s *Service) recoverRebuild(ctx context.Context, j op.Journal) error {
	var t rebuildTarget
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	v, err := s.view(ctx, t.Project, t.Name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r := &rebuilding{s: s, v: v}
	base := v.Config["volatile.base_image"]
	if base != t.Fingerprint && !(t.Fingerprint != "" && strings.HasPrefix(base, t.Fingerprint)) {
		return s.d.Volumes.Delete(ctx, v.Pool, r.fresh())
	}
	return s.d.Copies.Replace(ctx, v.Pool, r.fresh(), s.volume(v))
}

// refreshKind is the kind of the operation that brings a copy up to date.
const refreshKind = "instance-refresh"

// refreshing gives an instance what another holds now, and the same snapshots. Its configuration stays.
type refreshing struct {
	rebuilding
	// only leaves the snapshots alone.
	only bool
	// had are the snapshots that it had, next those that it gets; token is written where both are exchanged.
	had, next []Snapshot
	token     string
}

// refreshTarget is what the journal holds.
type refreshTarget struct{ Project, Name, Token string }

// refresh returns the work that brings the instance that c is to make up to date, if there is one.
func (s *Service) refresh(ctx context.Context, c *creation) (o op.Spec, there bool, err error) {
	v, err := s.view(ctx, c.r.Project, c.r.Name)
	if errs.Is(err, errs.NotFound) || c.r.Name == "" {
		return o, false, nil
	}
	if err != nil {
		return o, true, err
	}
	r := &refreshing{rebuilding: rebuilding{s: s, v: v, c: *c}, token: op.NewUUID()}
	if c.origin != nil {
		r.only = c.origin.only
	} else {
		r.only = c.arrival.Only
	}
	switch {
	case c.origin != nil && c.origin.v.key() == v.key():
		return o, true, errs.Newf(errs.Invalid, "instance %q cannot be a copy of itself", v.Name)
	case s.status(v.key()) != api.StatusStopped:
		return o, true, errs.Newf(errs.Invalid, "instance %q is running: stop it before it is refreshed", v.Name)
	}
	o = spec(refreshKind, api.OperationCreatingInstance, v.Record)
	o.Metadata = map[string]any{"entity_url": v.URL()}
	o.Args = refreshTarget{v.Project, v.Name, r.token}
	o.Run = r.run
	return o, true, nil
}

func (r *refreshing) run(ctx context.Context, t *op.Task) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"volume", func(ctx context.Context) error { return r.volume(ctx, t) }, func(ctx context.Context) error { return r.s.d.Volumes.Delete(ctx, r.v.Pool, r.fresh()) }},
		{"record", func(ctx context.Context) error { return r.records(ctx, r.next, r.had, r.token) }, func(ctx context.Context) error {
			if r.done {
				return nil
			}
			return r.records(ctx, r.had, r.next, r.old.Config["volatile.uuid.generation"])
		}},
		{"swap", func(ctx context.Context) error { return r.swap(ctx, t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// prepare looks at the instance anew, now that nobody else changes it, and finds out which snapshots it will have.
func (r *refreshing) prepare(ctx context.Context) error {
	cur, err := r.s.current(ctx, r.v.key())
	if err != nil {
		return err
	}
	if cur != nil {
		return errs.Newf(errs.Invalid, "instance %q is running: stop it before it is refreshed", r.v.Name)
	}
	if r.v, err = r.s.viewByKey(ctx, r.v.key()); err != nil {
		return err
	}
	if r.v.Making {
		return errs.Newf(errs.Invalid, "instance %q is not complete: delete it", r.v.Name)
	}
	if r.v.Run != nil {
		if err := r.s.sweep(ctx, r.v); err != nil {
			return err
		}
	}
	r.old, r.c.v, r.c.r = r.v.Record, r.v, r.v.Record
	if a := r.c.arrival; a != nil {
		all := a.Snapshots
		if a.Begin != nil {
			if all, err = a.Begin(ctx); err != nil {
				return err
			}
		}
		if err := r.c.bring(all); err != nil {
			return err
		}
	}
	return r.s.d.Store.View(ctx, func(tx store.Tx) error {
		r.had = snapshotsOf(tx, r.v.key())
		if r.next = r.had; !r.only {
			r.next = r.c.brought()
		}
		for i, want := range r.next {
			if n := same(r.had, want); n >= 0 {
				r.next[i] = r.had[n]
			}
		}
		return nil
	})
}

// same finds the snapshot of that name and time.
func same(all []Snapshot, want Snapshot) int {
	return slices.IndexFunc(all, func(s Snapshot) bool { return s.Name == want.Name && s.TakenAt.Equal(want.TakenAt) })
}

// volume makes the new one: what is there already comes from the old.
func (r *refreshing) volume(ctx context.Context, t *op.Task) (err error) {
	fresh, old := r.fresh(), r.s.volume(r.v)
	if o := r.c.origin; o != nil {
		alone := *o
		alone.kept = nil
		r.c.origin = &alone
	}
	if err := r.c.fill(ctx, t, fresh); err != nil {
		return err
	}
	for _, snap := range r.next {
		n := same(r.had, snap)
		switch {
		case n < 0 && r.c.origin != nil:
			err = r.c.origin.snapshotTo(ctx, r.s, snap.Name, storage.Place{Pool: r.v.Pool, Volume: fresh})
		case r.c.origin != nil || r.only:
			err = r.s.d.Copies.Copy(ctx, r.v.Pool, old.At(snap.Name), fresh.At(snap.Name))
		}
		if err != nil {
			return errors.Join(err, r.s.d.Volumes.Delete(context.WithoutCancel(ctx), r.v.Pool, fresh))
		}
	}
	return nil
}

// records exchanges the snapshots, all or none.
func (r *refreshing) records(ctx context.Context, next, had []Snapshot, generation string) error {
	return r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		for _, snap := range had {
			if same(next, snap) < 0 {
				tx.Announce(snap.change(ctx, api.LifecycleInstanceSnapshotDeleted))
			}
			if err := Snapshots.Delete(tx, snap.key()); err != nil {
				return err
			}
		}
		for _, snap := range next {
			if same(had, snap) < 0 {
				tx.Announce(snap.change(ctx, api.LifecycleInstanceSnapshotCreated))
			}
			if err := Snapshots.Insert(tx, snap); err != nil {
				return err
			}
		}
		return Collection.Modify(tx, r.v.key(), func(rec *Record) error {
			rec.setVolatile(map[string]string{"volatile.uuid.generation": generation})
			return nil
		})
	})
}

// recoverRefresh finishes a refreshing once the record has its token, and takes it back before.
func (s *Service) recoverRefresh(ctx context.Context, j op.Journal) error {
	var t refreshTarget
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	v, err := s.view(ctx, t.Project, t.Name)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	fresh := (&rebuilding{s: s, v: v}).fresh()
	if v.Config["volatile.uuid.generation"] != t.Token {
		return s.d.Volumes.Delete(ctx, v.Pool, fresh)
	}
	return s.d.Copies.Replace(ctx, v.Pool, fresh, s.volume(v))
}
