package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/warning"
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
	if err := s.write(store.Trial(ctx), old, *next); err != nil {
		return err
	}
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

// moving gives a stopped instance another name, project or pool, and another configuration along with it.
type moving struct {
	s        *Service
	post     api.InstancePost
	from, to Record
	// kept are its snapshots.
	kept []Snapshot
	// done is set once the record has changed: what fails after that undoes nothing.
	done bool
}

// moveTarget is what the journal holds. Pools are set if the root goes to another.
type moveTarget struct {
	Project, Name, To string
	ToProject         string `json:",omitempty"`
	Pool, ToPool      string `json:",omitempty"`
}

// Rename returns the work that gives a stopped instance a new name, or moves it to another project or pool.
func (s *Service) Rename(ctx context.Context, proj, name string, post api.InstancePost) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	// Older clients ask for a live move of one that does not run, too: what counts is whether it does.
	if post.Live && s.status(v.key()) != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving a running instance is not supported yet by this server: stop it first")
	}
	post.Name, post.Project = cmp.Or(post.Name, name), cmp.Or(post.Project, proj)
	if err := naming.Check(post.Name); err != nil {
		return op.Spec{}, err
	}
	m := &moving{s: s, post: post, from: v.Record}
	if err := s.d.Store.View(ctx, m.plan); err != nil {
		return op.Spec{}, err
	}
	kind, what := "instance-rename", api.OperationRenamingInstance
	if m.to.Project != proj || m.to.Pool != v.Pool {
		kind, what = "instance-move", api.OperationMigratingInstance
	}
	if s.status(v.key()) != api.StatusStopped {
		return op.Spec{}, errs.Newf(errs.Invalid, "the instance is running: stop it before it is renamed or moved")
	}
	if err := m.rehearse(ctx); err != nil {
		return op.Spec{}, err
	}
	o := spec(kind, what, v.Record)
	if m.to.lock() != m.from.lock() {
		o.Locks = append(o.Locks, m.to.lock())
	}
	o.Args, o.Run = m.target(), m.run
	return o, nil
}

// rehearse fails with Forbidden if the project will not allow what the instance is to become, before its volume is copied.
func (m *moving) rehearse(ctx context.Context) error {
	err := m.s.d.Store.Update(store.Trial(ctx), func(tx store.Tx) error {
		if m.to.Project != m.from.Project {
			return Collection.Insert(tx, m.to)
		}
		return Collection.Modify(tx, m.from.key(), func(r *Record) error {
			*r = m.to
			r.Name = m.from.Name
			return nil
		})
	})
	if errs.Is(err, errs.Forbidden) {
		return err
	}
	return nil
}

func (m *moving) target() moveTarget {
	t := moveTarget{Project: m.from.Project, Name: m.from.Name, To: m.to.Name}
	if m.to.Project != m.from.Project {
		t.ToProject = m.to.Project
	}
	if m.to.Pool != m.from.Pool {
		t.Pool, t.ToPool = m.from.Pool, m.to.Pool
	}
	return t
}

// plan finds out what the instance is to become, and checks it.
func (m *moving) plan(tx store.Tx) error {
	m.to = m.from
	m.to.Name, m.to.Project = m.post.Name, m.post.Project
	if err := m.to.settleOwners(tx); err != nil {
		return err
	}
	m.kept = nil
	for _, snap := range Snapshots.AllRev(tx, m.from.key()+"/") {
		m.kept = append(m.kept, snap)
	}
	c := &creation{s: m.s, r: m.to}
	m.override(&c.r)
	if m.to.Name != m.from.Name && c.r.Config[templateKey] == "" { // one that was never started is still to be made
		c.r.Config = maps.Clone(c.r.Config)
		c.r.setVolatile(map[string]string{templateKey: template.Rename})
	}
	if m.post.Pool != "" {
		if err := c.settle(tx, m.post.Pool); err != nil {
			return err
		}
	}
	v, err := compose(tx, c.r, 0)
	if err != nil {
		return err
	}
	if pool := v.devices[rootDevice(v.devices)]["pool"]; pool != "" {
		c.r.Pool = pool
	}
	m.to = c.r
	if err := m.s.checkLocal(m.to); err != nil {
		return err
	}
	if Keys.Bool(v.config, "security.privileged") != m.from.Privileged {
		return errs.Newf(errs.Invalid, "security.privileged would change with the move: set it on the instance to what it is now")
	}
	return m.free(tx)
}

// override lays what the request says of the configuration over what there is; an empty value takes a key away.
func (m *moving) override(r *Record) {
	if m.post.Config != nil {
		config := maps.Clone(m.from.Config)
		if config == nil {
			config = map[string]string{}
		}
		maps.Copy(config, m.post.Config)
		r.Config = clean(config)
		r.setVolatile(m.from.kept(r.Config)) // what a client says of host_name would be an interface of somebody else's
	}
	if m.post.Devices != nil {
		if r.Devices = maps.Clone(m.from.Devices); r.Devices == nil {
			r.Devices = Devices{}
		}
		maps.Copy(r.Devices, m.post.Devices)
	}
	if m.post.Profiles != nil {
		r.Profiles = m.post.Profiles
	}
}

// free fails if the new name is taken.
func (m *moving) free(tx store.Tx) error {
	asked := m.post.Pool != "" || m.post.Config != nil || m.post.Devices != nil || m.post.Profiles != nil
	if (m.to.key() != m.from.key() || !asked) && Collection.Has(tx, m.to.key()) {
		return errs.Newf(errs.Conflict, "instance %q already exists in project %q: choose another name", m.to.Name, m.to.Project)
	}
	return nil
}

func (m *moving) run(ctx context.Context, t *op.Task) error {
	cur, err := m.s.current(ctx, m.from.key())
	if err != nil {
		return err
	}
	v, err := m.s.viewByKey(ctx, m.from.key())
	switch {
	case err != nil:
		return err
	case cur != nil:
		return errs.Newf(errs.Invalid, "the instance is running: stop it before it is renamed or moved")
	case v.Making:
		return errs.Newf(errs.Invalid, "the instance is not complete: delete it")
	case v.Run != nil:
		if err := m.s.sweep(ctx, v); err != nil {
			return err
		}
	}
	if v, err = m.s.viewByKey(ctx, m.from.key()); err != nil {
		return err
	}
	pool := m.to.Pool
	if m.from = v.Record; m.s.d.Store.View(ctx, m.plan) != nil || m.to.Pool != pool {
		return errs.Newf(errs.Conflict, "the instance, or what it is to become, changed meanwhile: try again")
	}
	t.Add("finish the move", func(ctx context.Context) error {
		if !m.done || m.from.Pool == m.to.Pool {
			return nil
		}
		return m.drop(ctx, m.from) // there is no way back any more
	})
	for _, step := range []struct {
		name     string
		do, back func(context.Context) error
	}{
		{"volume", func(ctx context.Context) error { return m.volume(ctx, v) }, m.unless(m.volumeBack)},
		{"files", func(context.Context) error { return m.files(m.from, m.to) }, m.unless(func(context.Context) error { return m.files(m.to, m.from) })},
		{"record", func(ctx context.Context) error { return m.record(ctx, t) }, nil},
	} {
		if err := t.Step(ctx, step.name, step.do, step.back); err != nil {
			return err
		}
	}
	if m.from.Pool == m.to.Pool {
		return nil
	}
	return t.Step(context.WithoutCancel(ctx), "cleanup", func(ctx context.Context) error { return m.drop(ctx, m.from) }, nil)
}

// unless is an undo step that is left out once the instance has moved.
func (m *moving) unless(back func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if m.done {
			return nil
		}
		return back(ctx)
	}
}

// root is the root volume of an instance as recorded.
func (m *moving) root(r Record) storage.Volume {
	v := view{Record: r}
	v.expand()
	return m.s.volume(v)
}

// volume renames the root volume, or copies it to the other pool.
func (m *moving) volume(ctx context.Context, v view) error {
	if m.from.Pool == m.to.Pool {
		return m.s.d.Copies.Rename(ctx, m.from.Pool, m.root(m.from), m.root(m.to))
	}
	o := &origin{v: v, kept: m.kept}
	to := m.s.volume(v)
	to.Project, to.Name = m.to.Project, m.to.Name
	return o.carryTo(ctx, m.s, storage.Place{Pool: m.to.Pool, Volume: to})
}

func (m *moving) volumeBack(ctx context.Context) error {
	if m.from.Pool == m.to.Pool {
		return m.s.d.Copies.Rename(ctx, m.from.Pool, m.root(m.to), m.root(m.from))
	}
	return m.drop(ctx, m.to)
}

// drop removes the root volume of the instance as recorded.
func (m *moving) drop(ctx context.Context, r Record) error {
	return m.s.d.Volumes.Delete(ctx, r.Pool, m.root(r))
}

// files moves the logs; there may be none.
func (m *moving) files(from, to Record) error {
	if from.key() == to.key() {
		return nil
	}
	err := os.Rename(m.s.logDir(from), m.s.logDir(to))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// record moves the instance's record and those of its snapshots.
func (m *moving) record(ctx context.Context, t *op.Task) error {
	err := m.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := m.free(tx); err != nil {
			return err
		}
		for _, snap := range m.kept {
			if err := Snapshots.Delete(tx, snap.key()); err != nil {
				return err
			}
		}
		if err := m.exchange(tx); err != nil {
			return err
		}
		for _, snap := range m.kept {
			snap.Instance.moveTo(m.to)
			if m.post.OverrideSnapshotProfiles {
				snap.Instance.Profiles = slices.Clone(m.to.Profiles)
			}
			if err := Snapshots.Insert(tx, snap); err != nil {
				return err
			}
		}
		m.announce(ctx, tx)
		if m.from.Pool != m.to.Pool {
			return nil // the old volume is to go
		}
		return t.EndJournal(tx)
	})
	if m.done = err == nil; !m.done {
		return err
	}
	m.s.holds.evict(m.from.key())
	m.s.shown.drop(m.from.key())
	if m.s.d.Belongings != nil && m.to.Project != m.from.Project {
		m.s.d.Belongings.Sweep()
	}
	if v, err := m.s.viewByKey(ctx, m.to.key()); err == nil {
		m.s.portsChanged(v.NetworkProject, v.nics())
	}
	return nil
}

// exchange puts the new record into the place of the old.
func (m *moving) exchange(tx store.Tx) error {
	if m.to.key() == m.from.key() {
		return Collection.Put(tx, m.to)
	}
	if err := Collection.Insert(tx, m.to); err != nil {
		return err
	}
	b := m.s.d.Belongings
	switch { // while both are there: what belongs to an instance needs it
	case b != nil && m.to.Project != m.from.Project:
		if err := b.Deleted(tx, m.from.Project, m.from.Name); err != nil {
			return err
		}
	case b != nil:
		if err := b.Renamed(tx, m.from.Project, m.from.Name, m.to.Name); err != nil {
			return err
		}
	}
	if err := warning.Forget(tx, m.from.entity()); err != nil {
		return err
	}
	return Collection.Delete(tx, m.from.key())
}

func (m *moving) announce(ctx context.Context, tx store.Tx) {
	e := change(ctx, api.LifecycleInstanceUpdated, m.to)
	if m.to.Name != m.from.Name {
		e.Action = api.LifecycleInstanceRenamed
		e.Context = map[string]any{"old_name": m.from.Name}
	}
	if m.to.Project != m.from.Project {
		e.Action = api.LifecycleInstanceCreated
		tx.Announce(change(ctx, api.LifecycleInstanceDeleted, m.from))
	}
	tx.Announce(e)
}

// recoverMove takes back a move that did not come to the change of the record, and finishes one that did.
func (s *Service) recoverMove(ctx context.Context, j op.Journal) error {
	var t moveTarget
	if err := json.Unmarshal(j.Args, &t); err != nil {
		return fmt.Errorf("journal of %s: %w", j.Kind, err)
	}
	v, err := s.view(ctx, t.Project, t.Name)
	same := t.ToProject == "" && t.To == t.Name
	if errs.Is(err, errs.NotFound) || err == nil && same && v.Pool == t.ToPool {
		return s.finishMove(ctx, t)
	}
	if err != nil {
		return err
	}
	m := &moving{s: s, from: v.Record, to: v.Record}
	m.to.Name, m.to.Project, m.to.Pool = t.To, cmp.Or(t.ToProject, t.Project), cmp.Or(t.ToPool, v.Pool)
	return errors.Join(m.volumeBack(ctx), m.files(m.to, m.from))
}

// finishMove removes the volume that the instance had before.
func (s *Service) finishMove(ctx context.Context, t moveTarget) error {
	if t.Pool == "" {
		return nil
	}
	v, err := s.view(ctx, cmp.Or(t.ToProject, t.Project), t.To)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m := &moving{s: s}
	old := v.Record
	old.Project, old.Name, old.Pool = t.Project, t.Name, t.Pool
	return m.drop(ctx, old)
}
