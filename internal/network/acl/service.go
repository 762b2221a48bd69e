package acl

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Networks is what ACLs are on.
type Networks interface {
	// Enforce makes the networks that use an ACL obey r in its place, then runs write in a transaction; when either fails, all is as
	// before. It fails with Invalid where a network cannot obey.
	Enforce(ctx context.Context, r Record, write func(store.Tx) error) error
}

// Deps is what the service needs.
type Deps struct {
	Store    store.Store
	Networks Networks
	// LogDir holds the logs of what rules log.
	LogDir string
}

// Service is the use cases of ACLs.
type Service struct{ d Deps }

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d} }

// Get loads one ACL, and what If-Match guards of it.
func (s *Service) Get(ctx context.Context, proj, name string) (a api.NetworkACL, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, name)
		if err == nil {
			a, etag = r.Show(proj, usedBy(tx, r)), r.ETag()
		}
		return err
	})
	return a, etag, err
}

// List loads the ACLs that the project sees, or those of all projects.
func (s *Service) List(ctx context.Context, proj string, all bool) (out []api.NetworkACL, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		prefix := ""
		if !all {
			owner, err := project.Owner(tx, proj, project.Networks)
			if err != nil {
				return err
			}
			prefix = owner + "/"
		}
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			as := proj
			if all {
				as = r.Project
			}
			out = append(out, r.Show(as, usedBy(tx, r)))
		}
		return nil
	})
	return out, err
}

// Create makes an ACL.
func (s *Service) Create(ctx context.Context, proj string, post api.NetworkACLsPost) error {
	if err := CheckName(post.Name); err != nil {
		return err
	}
	r := Record{Name: post.Name}.With(post.NetworkACLPut)
	if err := r.Check(); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) (err error) {
		r := r
		if r.Project, err = project.Owner(tx, proj, project.Networks); err != nil {
			return err
		}
		if Collection.Has(tx, Key(r.Project, r.Name)) {
			return errs.Newf(errs.Invalid, "network ACL %q already exists: choose another name", r.Name)
		}
		tx.Announce(r.Change(api.LifecycleNetworkACLCreated))
		return invalid(Collection.Insert(tx, r))
	})
}

// invalid makes of a missing ACL that is named a mistake of the caller.
func invalid(err error) error {
	if errs.Is(err, errs.NotFound) {
		return errs.As(errs.Invalid, err)
	}
	return err
}

// Update replaces what clients may write of an ACL; networks that use it obey at once.
func (s *Service) Update(ctx context.Context, proj, name string, put api.NetworkACLPut) error {
	old, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	r := old.With(put)
	if err := r.Check(); err != nil {
		return err
	}
	return s.d.Networks.Enforce(ctx, r, func(tx store.Tx) error {
		tx.Announce(r.Change(api.LifecycleNetworkACLUpdated))
		return invalid(Collection.Modify(tx, Key(r.Project, r.Name), func(p *Record) error { *p = r; return nil }))
	})
}

// Rename gives an ACL another name; it must not be in use.
func (s *Service) Rename(ctx context.Context, proj, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, from)
		if err != nil {
			return err
		}
		if Collection.Has(tx, Key(r.Project, to)) {
			return errs.Newf(errs.Conflict, "network ACL %q already exists: choose another name", to)
		}
		if err := Collection.Delete(tx, Key(r.Project, r.Name)); err != nil {
			return err
		}
		r.Name = to
		c := r.Change(api.LifecycleNetworkACLRenamed)
		c.Context = map[string]any{"old_name": from}
		tx.Announce(c)
		return invalid(Collection.Insert(tx, r))
	})
	if err != nil {
		return err
	}
	return s.moveLogs(from, to)
}

// Delete removes an ACL; it must not be in use.
func (s *Service) Delete(ctx context.Context, proj, name string) error {
	err := s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, err := lookup(tx, proj, name)
		if err != nil {
			return err
		}
		tx.Announce(r.Change(api.LifecycleNetworkACLDeleted))
		return Collection.Delete(tx, Key(r.Project, r.Name))
	})
	if err != nil {
		return err
	}
	return s.moveLogs(name, "")
}

func (s *Service) find(ctx context.Context, proj, name string) (r Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = lookup(tx, proj, name)
		return err
	})
	return r, err
}

func lookup(tx store.Tx, proj, name string) (Record, error) {
	owner, err := project.Owner(tx, proj, project.Networks)
	if err != nil {
		return Record{}, err
	}
	return Collection.Get(tx, Key(owner, name))
}

func usedBy(tx store.Tx, r Record) []string {
	return project.UsedBy(Collection.UsedBy(tx, Key(r.Project, r.Name)))
}
