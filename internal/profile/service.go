package profile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Checker knows which configuration and devices instances can have.
type Checker interface {
	// CheckProfile fails with Invalid and names every bad key and device.
	CheckProfile(config map[string]string, devices Devices) error
}

// Instances is what uses profiles.
type Instances interface {
	Checker
	// AdmitProfile fails, within the transaction that is to write p, if an instance that uses it could not be what it is any more.
	AdmitProfile(tx store.Tx, p Record) error
	// CheckUsers fails if an instance could not be what p would make of it; it has no effects.
	CheckUsers(ctx context.Context, p Record) error
	// ProfileChanged brings the instances that use a profile up to date, which was before until now. It is idempotent.
	ProfileChanged(ctx context.Context, before Record) error
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Instances is set by Use once it exists.
	Instances Instances
}

// Service is the use cases of profiles.
type Service struct{ d Deps }

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d} }

// Use tells the service who uses profiles; it must be called before the first request.
func (s *Service) Use(i Instances) { s.d.Instances = i }

// Start makes sure that the default project has its default profile.
func (s *Service) Start(ctx context.Context) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if Collection.Has(tx, Key(project.Default, project.Default)) {
			return nil
		}
		return s.Seed(tx, project.Default, "", "")
	})
}

// Seed writes the default profile of a project within tx, with a root disk in pool and a NIC on network unless these are "".
func (s *Service) Seed(tx store.Tx, name, pool, network string) error {
	r := Record{Project: name, Name: project.Default, Description: "Default LXD profile", Devices: Devices{}}
	if name != project.Default {
		r.Description = "Default LXD profile for project " + name
	}
	if pool != "" {
		r.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": pool}
	}
	if network != "" {
		r.Devices["eth0"] = map[string]string{"type": "nic", "name": "eth0", "network": network}
	}
	if err := r.own(tx, name); err != nil {
		return err
	}
	return Collection.Insert(tx, r)
}

// own finds out whose networks and volumes the devices of a profile of that project name.
func (r *Record) own(tx store.Tx, proj string) (err error) {
	if r.NetworkProject, err = project.Owner(tx, proj, project.Networks); err != nil {
		return err
	}
	r.VolumeProject, err = project.Owner(tx, proj, project.Volumes)
	return err
}

// Drop removes the default profile of a project within tx; a missing one is no error.
func (s *Service) Drop(tx store.Tx, name string) error {
	return Collection.Delete(tx, Key(name, project.Default))
}

// Move gives the default profile of a project to another one within tx; a missing one is no error.
func (s *Service) Move(tx store.Tx, from, to string) error {
	if !Collection.Has(tx, Key(from, project.Default)) {
		return nil
	}
	r, err := Collection.Get(tx, Key(from, project.Default))
	if err != nil {
		return err
	}
	r.Project = to
	if r.NetworkProject == from {
		r.NetworkProject = to
	}
	if r.VolumeProject == from {
		r.VolumeProject = to
	}
	if err := Collection.Insert(tx, r); err != nil {
		return err
	}
	return s.Drop(tx, from)
}

// Get loads one profile as the project sees it, and what If-Match guards of it.
func (s *Service) Get(ctx context.Context, proj, name string) (p api.Profile, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := find(tx, proj, name)
		if err != nil {
			return err
		}
		p, etag = show(tx, r), r.ETag()
		return nil
	})
	return p, etag, err
}

// List loads the profiles that the project sees, or those of all projects, in order of project and name.
func (s *Service) List(ctx context.Context, proj string, all bool) (out []api.Profile, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		prefix := ""
		if !all {
			owner, err := project.Owner(tx, proj, project.Profiles)
			if err != nil {
				return err
			}
			prefix = owner + "/"
		}
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			out = append(out, show(tx, r))
		}
		return nil
	})
	return out, err
}

// Create adds a profile.
func (s *Service) Create(ctx context.Context, proj string, post api.ProfilesPost) error {
	if err := CheckName(post.Name); err != nil {
		return err
	}
	r := Record{Name: post.Name}
	if err := s.fill(&r, post.ProfilePut); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) (err error) {
		r := r
		if r.Project, err = project.Owner(tx, proj, project.Profiles); err != nil {
			return err
		}
		if err := r.own(tx, proj); err != nil {
			return err
		}
		if Collection.Has(tx, Key(r.Project, r.Name)) {
			// Internal on purpose: clients know this clash by status 500.
			return errs.Newf(errs.Internal, "profile %q already exists in project %q: choose another name", r.Name, r.Project)
		}
		tx.Announce(change(api.LifecycleProfileCreated, r))
		return Collection.Insert(tx, r)
	})
}

// Update returns the work that replaces what clients may write of a profile and brings its running instances up to date.
func (s *Service) Update(ctx context.Context, proj, name string, put api.ProfilePut) (op.Spec, error) {
	next := Record{}
	if err := s.fill(&next, put); err != nil {
		return op.Spec{}, err
	}
	r, err := s.load(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: updateKind, Description: api.OperationUpdatingProfile.String(), Project: proj,
		Resources: map[string][]string{string(api.EntityTypeProfile): {r.URL()}},
		Locks:     []string{"profile " + Key(r.Project, r.Name)},
		Args:      r,
		Run: func(ctx context.Context, t *op.Task) error {
			old, err := s.load(ctx, r.Project, r.Name)
			if err != nil {
				return err
			}
			return s.update(ctx, t, old, next)
		},
	}, nil
}

// update replaces a profile once all that use it can be what it makes of them, and brings those up to date; if that fails for one, all are
// as before.
func (s *Service) update(ctx context.Context, t *op.Task, old, next Record) error {
	r := old
	r.Description, r.Config, r.Devices = next.Description, next.Config, next.Devices
	if err := s.d.Instances.CheckUsers(ctx, r); err != nil {
		return err
	}
	back := func(ctx context.Context) error {
		return errors.Join(s.write(ctx, old), s.d.Instances.ProfileChanged(ctx, r))
	}
	if err := t.Step(ctx, "record", func(ctx context.Context) error { return s.replace(ctx, r) }, back); err != nil {
		return err
	}
	return t.Step(ctx, "instances", func(ctx context.Context) error { return s.d.Instances.ProfileChanged(ctx, old) }, nil)
}

func (s *Service) replace(ctx context.Context, r Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.d.Instances.AdmitProfile(tx, r); err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleProfileUpdated, r))
		return s.put(tx, r)
	})
}

func (s *Service) write(ctx context.Context, r Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error { return s.put(tx, r) })
}

func (s *Service) put(tx store.Tx, r Record) error {
	return Collection.Modify(tx, Key(r.Project, r.Name), func(p *Record) error { *p = r; return nil })
}

// updateKind is the kind of the operations that change profiles; their journals hold the profile as it was.
const updateKind = "profile-update"

// Recoverers say how to deal with an operation that a crash cut short: what uses a changed profile is brought up to date.
func (s *Service) Recoverers() map[string]op.Recoverer {
	return map[string]op.Recoverer{updateKind: func(ctx context.Context, j op.Journal) error {
		var before Record
		if err := json.Unmarshal(j.Args, &before); err != nil {
			return fmt.Errorf("journal of %s: %w", j.Kind, err)
		}
		return s.d.Instances.ProfileChanged(ctx, before)
	}}
}

// Delete removes a profile that no instance uses.
func (s *Service) Delete(ctx context.Context, proj, name string) error {
	if name == project.Default {
		return errs.Newf(errs.Forbidden, "profile %q cannot be deleted: every project needs it", name)
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, err := find(tx, proj, name)
		if err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleProfileDeleted, r))
		return Collection.Delete(tx, Key(r.Project, r.Name))
	})
}

// load finds a profile as the project sees it.
func (s *Service) load(ctx context.Context, proj, name string) (r Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err = find(tx, proj, name)
		return err
	})
	return r, err
}

// fill checks what a client sent and takes it over, without keys of no value.
func (s *Service) fill(r *Record, put api.ProfilePut) error {
	r.Description, r.Config, r.Devices = put.Description, map[string]string{}, put.Devices
	for k, v := range put.Config {
		if v != "" {
			r.Config[k] = v
		}
	}
	return s.d.Instances.CheckProfile(r.Config, r.Devices)
}

// find loads the profile that a project sees under a name.
func find(tx store.Tx, proj, name string) (Record, error) {
	owner, err := project.Owner(tx, proj, project.Profiles)
	if err != nil {
		return Record{}, err
	}
	return Collection.Get(tx, Key(owner, name))
}

func show(tx store.Tx, r Record) api.Profile {
	return r.API(project.UsedBy(Collection.UsedBy(tx, Key(r.Project, r.Name))))
}
