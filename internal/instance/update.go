package instance

import (
	"context"
	"errors"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/naming"
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
		return op.Spec{}, errs.Newf(errs.Unsupported, "restoring snapshots is not supported yet by this server")
	}
	o := spec("instance-update", api.OperationUpdatingInstance, v.Record)
	o.Run = func(ctx context.Context, t *op.Task) error {
		return t.Step(ctx, "update", func(ctx context.Context) error { return s.update(ctx, v.key(), put) }, nil)
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
	o.Args = nil // the caller waits, and what is done is one transaction
	o.Run = func(ctx context.Context, _ *op.Task) error { return s.update(ctx, v.key(), put) }
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
func (s *Service) update(ctx context.Context, key string, put api.InstancePut) error {
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
	if err := s.write(ctx, old, next); err != nil {
		return err
	}
	if now, err := s.viewByKey(ctx, key); err == nil {
		s.portsChanged(old.NetworkProject, append(old.nics(), now.nics()...))
	}
	if err := s.catchUp(ctx, key); err != nil {
		ctx := context.WithoutCancel(ctx)
		return errors.Join(err, s.write(ctx, old, old.Record), s.catchUp(ctx, key))
	}
	return nil
}

// catchUp gives a running machine what its configuration asks for now.
func (s *Service) catchUp(ctx context.Context, key string) error {
	return errors.Join(s.tune(ctx, key), s.replug(ctx, key))
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

// Rename returns the work that gives a stopped instance a new name.
func (s *Service) Rename(ctx context.Context, proj, name string, post api.InstancePost) (op.Spec, error) {
	if _, err := s.view(ctx, proj, name); err != nil {
		return op.Spec{}, err
	}
	if post.Migration || post.Pool != "" || post.Project != "" {
		return op.Spec{}, errs.Newf(errs.Unsupported, "moving instances between pools, projects and servers is not supported yet by this server")
	}
	if err := naming.Check(post.Name); err != nil {
		return op.Spec{}, err
	}
	return op.Spec{}, errs.Newf(errs.Unsupported, "renaming instances is not supported yet by this server: create the instance under the new name")
}
