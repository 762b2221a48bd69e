package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/naming"
	"lxd/internal/instance/template"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// Writable is the part of an instance that clients may write, and what If-Match guards.
func (s *Service) Writable(ctx context.Context, proj, name string) (put api.InstancePut, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		v, err := look(tx, Key(proj, name))
		if err != nil {
			return err
		}
		a := v.api(api.StatusStopped)
		put = a.Writable()
		etag, err = v.etag(tx)
		return err
	})
	return put, etag, err
}

// Update returns the work that replaces what clients may write of an instance.
func (s *Service) Update(ctx context.Context, proj, name string, put api.InstancePut) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if put.Restore != "" {
		return s.restoreSpec(ctx, v, put)
	}
	o := spec("instance-update", api.OperationUpdatingInstance, v.Record)
	o.Run = func(ctx context.Context, t *op.Task) error {
		return s.update(ctx, t, v.key(), put)
	}
	return o, nil
}

// UpdateNow replaces what clients may write of an instance before it returns. The kind of what is wrong with configuration or
// devices is Internal on purpose: clients know this failure by status 500.
func (s *Service) UpdateNow(ctx context.Context, proj, name string, put api.InstancePut) error {
	if put.Restore != "" {
		return errs.Newf(errs.Invalid, "restore is not possible with PATCH: use PUT")
	}
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return err
	}
	o := spec("instance-update", api.OperationUpdatingInstance, v.Record)
	o.Run = func(ctx context.Context, t *op.Task) error { return s.update(ctx, t, v.key(), put) }
	running, err := s.d.Ops.Start(ctx, o)
	if err == nil {
		err = running.Wait(ctx)
	}
	if errs.Is(err, errs.Invalid) || errs.Is(err, errs.NotFound) {
		return errs.As(errs.Internal, err)
	}
	return err
}

// update writes the record and then brings a running machine up to date; if that fails the record is as before.
func (s *Service) update(ctx context.Context, t *op.Task, key string, put api.InstancePut) error {
	old, err := s.viewByKey(ctx, key)
	if err != nil {
		return err
	}
	next := old.Record
	next.Description, next.Ephemeral, next.Stateful = put.Description, put.Ephemeral, put.Stateful
	next.Profiles, next.Config, next.Devices = put.Profiles, clean(put.Config), put.Devices
	if put.Architecture != "" {
		next.Architecture = put.Architecture
	}
	if err := s.checkUpdate(ctx, old, &next); err != nil {
		return err
	}
	back := func(ctx context.Context) error {
		return errors.Join(s.write(ctx, old, old.Record), s.catchUp(ctx, key))
	}
	if err := t.Step(ctx, "record", func(ctx context.Context) error { return s.write(ctx, old, next) }, back); err != nil {
		return err
	}
	if now, err := s.viewByKey(ctx, key); err == nil {
		s.portsChanged(old.NetworkProject, append(old.nics(), now.nics()...))
	}
	return t.Step(ctx, "machine", func(ctx context.Context) error { return s.catchUp(ctx, key) }, nil)
}

// catchUp gives a running machine what its configuration asks for now.
func (s *Service) catchUp(ctx context.Context, key string) error {
	err := errors.Join(s.tune(ctx, key), s.replug(ctx, key))
	if proj, name, _ := strings.Cut(key, "/"); s.d.Guests != nil && s.live.get(key) != nil {
		s.d.Guests.Changed(ctx, proj, name)
	}
	return err
}

// checkUpdate refuses what an instance cannot become, and fills in what the server adds.
func (s *Service) checkUpdate(ctx context.Context, old view, next *Record) error {
	if err := s.checkArchitecture(next.Architecture); err != nil {
		return err
	}
	for i, p := range next.Profiles {
		if slices.Contains(next.Profiles[:i], p) {
			return errs.Newf(errs.Invalid, "profile %q is named twice", p)
		}
	}
	v, err := s.composed(ctx, *next)
	if err != nil {
		return err
	}
	if err := s.checkView(ctx, v); err != nil {
		return err
	}
	if err := errors.Join(checkFixed(old.Record, v.config, v.devices), checkRunning(old.Record, old, v)); err != nil {
		return err
	}
	next.setVolatile(hwaddrs(v))
	return s.resize(ctx, old, v)
}

func (s *Service) composed(ctx context.Context, r Record) (v view, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for _, p := range r.Profiles {
			if !profile.Collection.Has(tx, profile.Key(r.ProfileProject, p)) {
				return errs.Newf(errs.Internal, "profile %q not found in project %q", p, r.ProfileProject)
			}
		}
		v, err = compose(tx, r, 0)
		return err
	})
	return v, err
}

// resize changes the quota of the root volume if the size of the root disk changes.
func (s *Service) resize(ctx context.Context, old, next view) error {
	before, after := old.devices[rootDevice(old.devices)]["size"], next.devices[rootDevice(next.devices)]["size"]
	if before == after {
		return nil
	}
	var bytes int64
	if after != "" {
		var err error
		if bytes, err = schema.ParseSize(after); err != nil {
			return errs.Newf(errs.Invalid, "size of the root disk: %w", err)
		}
	}
	return s.d.Volumes.Resize(ctx, old.Pool, s.volume(next), bytes)
}

func (s *Service) write(ctx context.Context, old view, next Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(change(ctx, api.LifecycleInstanceUpdated, next))
		return Collection.Modify(tx, old.key(), func(r *Record) error {
			now := *r // it may have started or stopped meanwhile
			*r = next
			r.Run, r.LastUsedAt, r.Wanted = now.Run, now.LastUsedAt, now.Wanted
			r.setVolatile(now.kept(next.Config))
			return nil
		})
	})
}

// kept are the keys that only the server changes, as they are now: those that say what runs, and how. Others of config that are of
// that sort come from a client's older copy, and go.
func (r Record) kept(config map[string]string) map[string]string {
	keys := map[string]string{}
	for _, c := range []map[string]string{config, r.Config} {
		for k := range c {
			if strings.HasPrefix(k, "volatile.last_state.") || strings.HasPrefix(k, "volatile.idmap.") || strings.HasPrefix(k, "volatile.") && strings.HasSuffix(k, ".host_name") {
				keys[k] = r.Config[k]
			}
		}
	}
	return keys
}

// renaming gives a stopped instance a new name.
type renaming struct {
	s        *Service
	from, to Record
	// done is set once the record has the new name: what fails after that undoes nothing.
	done bool
}

// renameTarget is what the journal holds.
type renameTarget struct{ Project, Name, To string }

// Rename returns the work that gives a stopped instance a new name.
func (s *Service) Rename(ctx context.Context, proj, name string, post api.InstancePost) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Pool != "" || post.Project != "" && post.Project != proj {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving instances between pools, projects and servers is not supported yet by this server")
	}
	if err := naming.Check(post.Name); err != nil {
		return op.Spec{}, err
	}
	r := &renaming{s: s, from: v.Record, to: v.Record}
	r.to.Name = post.Name
	if err := s.d.Store.View(ctx, r.free); err != nil {
		return op.Spec{}, err
	}
	if s.status(v.key()) != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Invalid, "the instance is running: stop it before it is renamed")
	}
	o := spec("instance-rename", api.OperationRenamingInstance, v.Record)
	o.Locks = append(o.Locks, r.to.lock())
	o.Args = renameTarget{proj, name, post.Name}
	o.Run = r.run
	return o, nil
}

// free fails if the new name is taken.
func (r *renaming) free(tx store.Tx) error {
	if Collection.Has(tx, r.to.key()) {
		return errs.Newf(errs.Conflict, "instance %q already exists in project %q: choose another name", r.to.Name, r.to.Project)
	}
	return nil
}

func (r *renaming) run(ctx context.Context, t *op.Task) error {
	cur, err := r.s.current(ctx, r.from.key())
	if err != nil {
		return err
	}
	v, err := r.s.viewByKey(ctx, r.from.key())
	switch {
	case err != nil:
		return err
	case cur != nil:
		return errs.Newf(errs.Invalid, "the instance is running: stop it before it is renamed")
	case v.Making:
		return errs.Newf(errs.Invalid, "the instance is not complete: delete it")
	case v.Run != nil:
		if err := r.s.sweep(ctx, v); err != nil {
			return err
		}
	}
	wanted := r.to.Name
	r.from, r.to = v.Record, v.Record
	r.to.Name = wanted
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"volume", func(ctx context.Context) error { return r.volume(ctx, r.from, r.to) }, r.unless(func(ctx context.Context) error { return r.volume(ctx, r.to, r.from) })},
		{"files", func(context.Context) error { return r.files(r.from, r.to) }, r.unless(func(context.Context) error { return r.files(r.to, r.from) })},
		{"record", func(ctx context.Context) error { return r.record(ctx, t.EndJournal) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	return nil
}

// unless is an undo step that is left out once the instance is renamed.
func (r *renaming) unless(back func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if r.done {
			return nil
		}
		return back(ctx)
	}
}

// volume renames the root volume.
func (r *renaming) volume(ctx context.Context, from, to Record) error {
	a, b := view{Record: from}, view{Record: to}
	a.expand()
	b.expand()
	return r.s.d.Copies.Rename(ctx, from.Pool, r.s.volume(a), r.s.volume(b))
}

// files moves the logs; there may be none.
func (r *renaming) files(from, to Record) error {
	err := os.Rename(r.s.logDir(from), r.s.logDir(to))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// record moves the instance's record and those of its snapshots.
func (r *renaming) record(ctx context.Context, last func(store.Tx) error) error {
	err := r.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := r.free(tx); err != nil {
			return err
		}
		now, err := Collection.Get(tx, r.from.key())
		if err != nil {
			return err
		}
		var kept []Snapshot
		for _, snap := range Snapshots.AllRev(tx, r.from.key()+"/") {
			kept = append(kept, snap)
		}
		for _, snap := range kept {
			if err := Snapshots.Delete(tx, snap.key()); err != nil {
				return err
			}
		}
		now.Name = r.to.Name
		if now.Config[templateKey] == "" { // one that was never started is still to be made
			now.setVolatile(map[string]string{templateKey: template.Rename})
		}
		if err := Collection.Insert(tx, now); err != nil {
			return err
		}
		if r.s.d.Belongings != nil { // while both are there: what belongs to an instance needs it
			if err := r.s.d.Belongings.Renamed(tx, now.Project, r.from.Name, now.Name); err != nil {
				return err
			}
		}
		if err := Collection.Delete(tx, r.from.key()); err != nil {
			return err
		}
		for _, snap := range kept {
			snap.Instance.Name = r.to.Name
			if err := Snapshots.Insert(tx, snap); err != nil {
				return err
			}
		}
		e := change(ctx, api.LifecycleInstanceRenamed, now)
		e.Context = map[string]any{"old_name": r.from.Name}
		tx.Announce(e)
		return last(tx)
	})
	r.done = err == nil
	if r.done {
		r.s.shown.drop(r.from.key())
		if v, err := r.s.viewByKey(ctx, r.to.key()); err == nil {
			r.s.portsChanged(v.NetworkProject, v.nics())
		}
	}
	return err
}

// recoverRename takes back a renaming that did not come to its end, which is when the record changes.
func (s *Service) recoverRename(ctx context.Context, j op.Journal) error {
	var t renameTarget
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
	r := &renaming{s: s, from: v.Record, to: v.Record}
	r.to.Name = t.To
	return errors.Join(r.volume(ctx, r.to, r.from), r.files(r.to, r.from))
}
