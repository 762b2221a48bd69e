package storage

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// CreateFromImage makes v from an image, which is unpacked first if it was not yet.
func (s *Service) CreateFromImage(ctx context.Context, pool string, v Volume, fingerprint string) error {
	if err := s.EnsureImage(ctx, nil, pool, fingerprint); err != nil {
		return err
	}
	return s.make(ctx, pool, v, func(p Pool) error {
		c, ok := p.(Cloner)
		if !ok {
			return p.Create(ctx, v, func(ctx context.Context, root string) error {
				return s.d.Unpack(ctx, fingerprint, root, func(string) {})
			})
		}
		_, err := c.Clone(ctx, Volume{Type: ImageVolume, Name: fingerprint}, v)
		return err
	})
}

// CreateEmpty makes v with an empty root.
func (s *Service) CreateEmpty(ctx context.Context, pool string, v Volume) error {
	return s.CreateFilled(ctx, pool, v, nil)
}

// CreateFilled makes v with what fill writes.
func (s *Service) CreateFilled(ctx context.Context, pool string, v Volume, fill func(ctx context.Context, root string) error) error {
	return s.make(ctx, pool, v, func(p Pool) error { return p.Create(ctx, v, fill) })
}

// Copy makes to as a copy of from, in the same pool. Either may be a snapshot.
func (s *Service) Copy(ctx context.Context, pool string, from, to Volume) error {
	effect := func(p Pool) error {
		c, ok := p.(Cloner)
		if !ok {
			return errs.Newf(errs.Unsupported, "storage pool %q cannot copy volumes", pool)
		}
		_, err := c.Clone(ctx, from, to)
		return err
	}
	if to.Snapshot == "" {
		return s.make(ctx, pool, to, effect)
	}
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	return effect(p)
}

// make writes the record, then has the volume made; if that fails the record goes again.
func (s *Service) make(ctx context.Context, pool string, v Volume, effect func(Pool) error) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	r := VolumeRecord{Pool: pool, Type: v.Type, Project: cmp.Or(v.Project, project.Default), Name: v.Name, ContentType: "filesystem",
		Config: WithUUID(v.Config), Location: s.d.Location, CreatedAt: s.d.Now()}
	if err := s.d.Store.Update(ctx, func(tx store.Tx) error { return InsertVolume(tx, r) }); err != nil {
		return err
	}
	err = effect(p)
	if err == nil {
		return nil
	}
	return errors.Join(err, s.forget(context.WithoutCancel(ctx), r))
}

// WithUUID is a copy of a configuration with a UUID of its own, which no other volume or snapshot has.
func WithUUID(cfg map[string]string) map[string]string {
	out := maps.Clone(cfg)
	if out == nil {
		out = map[string]string{}
	}
	out["volatile.uuid"] = op.NewUUID()
	return out
}

// InsertVolume writes a volume's record unless its pool is on its way out.
func InsertVolume(tx store.Tx, r VolumeRecord) error {
	p, err := Pools.Get(tx, r.Pool)
	if err != nil {
		return err
	}
	if p.Deleting {
		return errs.Newf(errs.NotFound, "storage pool %q is being deleted", r.Pool)
	}
	return Volumes.Insert(tx, r)
}

func (s *Service) forget(ctx context.Context, r VolumeRecord) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error { return Volumes.Delete(tx, Volumes.Key(r)) })
}

// Delete removes v and its record, and its snapshots, in whatever state either is; a missing one, or a missing pool, is no error.
func (s *Service) Delete(ctx context.Context, pool string, v Volume) error {
	p, err := s.pool(ctx, pool)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(p.Delete(ctx, v), s.dropSpare(ctx, p, v)); err != nil || v.Snapshot != "" {
		return err
	}
	return s.forget(ctx, VolumeRecord{Pool: pool, Type: v.Type, Project: cmp.Or(v.Project, project.Default), Name: v.Name})
}

// Mount shows v's content.
func (s *Service) Mount(ctx context.Context, pool string, v Volume) (Mounted, error) {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return Mounted{}, err
	}
	return p.Mount(ctx, v)
}

// Unmount undoes Mount; an unmounted volume is no error.
func (s *Service) Unmount(ctx context.Context, pool string, v Volume) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	return p.Unmount(ctx, v)
}

// VolumeUsage is how many bytes v uses and may use; it fails with Unsupported where that cannot be known cheaply.
func (s *Service) VolumeUsage(ctx context.Context, pool string, v Volume) (used, total int64, err error) {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return 0, 0, err
	}
	m, ok := p.(Measurer)
	if !ok {
		return 0, 0, errs.Newf(errs.Unsupported, "storage pool %q does not know what a volume uses", pool)
	}
	return m.VolumeUsage(ctx, v)
}

// Resize sets v's quota; it fails with Unsupported on a pool that has none.
func (s *Service) Resize(ctx context.Context, pool string, v Volume, bytes int64) error {
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	r, ok := p.(Resizer)
	if !ok {
		return errs.Newf(errs.Unsupported, "storage pool %q has no quotas: leave the size out, or use a pool with another driver", pool)
	}
	return r.Resize(ctx, v, bytes)
}

// order is how lists sort the types.
var order = []VolumeType{ContainerVolume, ImageVolume, CustomVolume, VMVolume}

// Query says which volumes a list shows.
type Query struct {
	// Pool "" is all pools, Type "" all types.
	Pool    string
	Project string
	Type    VolumeType
	// All shows those of all projects.
	All bool
}

// ListVolumes is the volumes and snapshots of custom volumes that a project sees, by type, name and pool.
func (s *Service) ListVolumes(ctx context.Context, q Query) (out []api.StorageVolume, err error) {
	if err := checkType(q.Type); err != nil {
		return nil, err
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		out, err = s.list(tx, q)
		return err
	})
	slices.SortFunc(out, func(a, b api.StorageVolume) int {
		return cmp.Or(cmp.Compare(slices.Index(order, VolumeType(a.Type)), slices.Index(order, VolumeType(b.Type))),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Project, b.Project))
	})
	return out, err
}

func checkType(t VolumeType) error {
	if t != "" && !slices.Contains(order, t) {
		return errs.Newf(errs.Invalid, "storage volume type %q is unknown: it is container, virtual-machine, image or custom", t)
	}
	return nil
}

func (s *Service) list(tx store.Tx, q Query) (out []api.StorageVolume, err error) {
	prefix := ""
	if q.Pool != "" {
		if _, err := Pools.Get(tx, q.Pool); err != nil {
			return nil, err
		}
		prefix = q.Pool + "/"
	}
	owner, err := project.Owner(tx, q.Project, project.Volumes)
	if err != nil {
		return nil, err
	}
	for r, err := range Volumes.All(tx, prefix) {
		if err != nil {
			return nil, err
		}
		if (q.Type == "" || q.Type == r.Type) && (q.All || seen(r, q.Project, owner)) {
			out = append(out, r.API(tx))
		}
	}
	if q.Type != "" && q.Type != CustomVolume {
		return out, nil
	}
	kept, err := s.listSnapshots(tx, prefix, func(r SnapshotRecord) bool { return q.All || r.Project == owner })
	return append(out, kept...), err
}

// listSnapshots are snapshots of custom volumes as lists of volumes show them.
func (s *Service) listSnapshots(tx store.Tx, prefix string, wanted func(SnapshotRecord) bool) (out []api.StorageVolume, err error) {
	for r, err := range Snapshots.All(tx, prefix) {
		if err != nil {
			return nil, err
		}
		if wanted(r) {
			out = append(out, r.asVolume(s.d.Location))
		}
	}
	return out, nil
}

// seen tells whether a project sees a volume; owner is the one whose custom volumes it has.
func seen(r VolumeRecord, proj, owner string) bool {
	if r.Type == CustomVolume {
		return r.Project == owner
	}
	return r.Project == proj
}

// GetVolume is one volume, with what If-Match guards.
func (s *Service) GetVolume(ctx context.Context, pool, proj string, typ VolumeType, name string) (v api.StorageVolume, etag any, err error) {
	if err := checkType(typ); err != nil {
		return v, nil, err
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := Find(tx, Name{Pool: pool, Project: proj, Type: typ, Name: name})
		if err != nil {
			return err
		}
		v, etag = r.API(tx), r.ETag()
		return nil
	})
	return v, etag, err
}

// Name is how the callers of a project name a volume.
type Name struct {
	Pool, Project string
	Type          VolumeType
	Name          string
}

// Find loads the volume that a project calls by that name.
func Find(tx store.Tx, n Name) (r VolumeRecord, err error) {
	if _, err := Pools.Get(tx, n.Pool); err != nil {
		return r, err
	}
	owner := n.Project
	if n.Type == CustomVolume {
		if owner, err = project.Owner(tx, n.Project, project.Volumes); err != nil {
			return r, err
		}
	}
	r, err = Volumes.Get(tx, volumeKey(n.Pool, n.Type, owner, n.Name))
	if errs.Is(err, errs.NotFound) {
		err = errs.Newf(errs.NotFound, "storage volume %q of type %q not found in storage pool %q", n.Name, n.Type, n.Pool)
	}
	return r, err
}
