package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/instance"
	"lxd/internal/network"
	"lxd/internal/network/acl"
	"lxd/internal/op"
	"lxd/internal/policy"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// contents is what is in projects.
type contents struct {
	a *App
	d *domain
}

// Usage is what a project uses of each resource that can be limited.
func (c contents) Usage(ctx context.Context, name string) (api.ProjectState, error) {
	all, err := policy.Usage(ctx, c.a.store, name)
	s := api.ProjectState{Resources: map[string]api.ProjectStateResource{}}
	for resource, r := range all {
		s.Resources[resource] = api.ProjectStateResource(r)
	}
	return s, err
}

// removal deletes one object, whose key without the project's name is name.
type removal struct {
	collection string
	remove     func(ctx context.Context, proj, name string) error
}

// removals are in an order in which nothing is deleted that something left still uses.
func (c contents) removals() []removal {
	work := func(spec func(ctx context.Context, proj, name string) (op.Spec, error)) func(context.Context, string, string) error {
		return func(ctx context.Context, proj, name string) error { return c.run(ctx, proj, name, spec) }
	}
	return []removal{
		{instance.Collection.Name, work(func(ctx context.Context, proj, name string) (op.Spec, error) {
			return c.d.instances.Delete(ctx, proj, name, true)
		})},
		{image.Collection.Name, work(c.d.images.Delete)},
		{profile.Collection.Name, c.profile},
		{storage.Volumes.Name, work(func(ctx context.Context, proj, key string) (op.Spec, error) {
			parts := strings.Split(key, "/") // pool, type, project, name
			if len(parts) != 4 || parts[1] != string(storage.CustomVolume) {
				return op.Spec{}, errs.Newf(errs.Internal, "volume %s belongs to something that is gone", key)
			}
			return c.d.volumes.Delete(ctx, parts[0], proj, parts[3])
		})},
		{network.Collection.Name, c.d.networks.Delete},
		{acl.Collection.Name, c.d.acls.Delete},
	}
}

// Empty deletes everything that is in a project but its default profile, which loses its devices.
func (c contents) Empty(ctx context.Context, name string) error {
	// What would keep the project from going in the end does so before anything is lost.
	if err := c.a.store.View(ctx, func(tx store.Tx) error { return depot.Busy(tx, name) }); err != nil {
		return err
	}
	for _, r := range c.removals() {
		users, err := c.users(ctx, name)
		if err != nil {
			return err
		}
		for _, u := range users {
			if u.Collection != r.collection {
				continue
			}
			if err := r.remove(ctx, name, strings.TrimPrefix(u.Key, name+"/")); err != nil && !errs.Is(err, errs.NotFound) {
				return fmt.Errorf("%s %q: %w", strings.ReplaceAll(u.Collection, "_", " "), u.Key, err)
			}
		}
	}
	return nil
}

// users are the records that are in a project.
func (c contents) users(ctx context.Context, name string) (users []store.Ref, err error) {
	err = c.a.store.View(ctx, func(tx store.Tx) error {
		users = slices.Clone(project.Collection.UsedBy(tx, name))
		return nil
	})
	return users, err
}

// run does work that a use case returns as an operation of its own, and waits for its end.
func (c contents) run(ctx context.Context, proj, name string, work func(ctx context.Context, proj, name string) (op.Spec, error)) error {
	spec, err := work(ctx, proj, name)
	if err != nil {
		return err
	}
	o, err := c.a.ops.Start(ctx, spec)
	if err != nil {
		return err
	}
	return o.Wait(ctx)
}

func (c contents) profile(ctx context.Context, proj, name string) error {
	if name != project.Default {
		return c.d.profiles.Delete(ctx, proj, name)
	}
	return c.a.store.Update(ctx, func(tx store.Tx) error {
		return profile.Collection.Modify(tx, profile.Key(proj, name), func(r *profile.Record) error {
			r.Devices = nil
			return nil
		})
	})
}
