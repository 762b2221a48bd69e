package storage

import (
	"context"
	"errors"
	"maps"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// ListPools is all pools by name.
func (s *Service) ListPools(ctx context.Context) (all []api.StoragePool, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		for r, err := range Pools.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, r.API(s.status(r), s.d.Location, users(tx, r.Name)))
		}
		return nil
	})
	return all, err
}

// GetPool is one pool, with what If-Match guards.
func (s *Service) GetPool(ctx context.Context, name string) (p api.StoragePool, etag any, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := Pools.Get(tx, name)
		if err != nil {
			return err
		}
		p, etag = r.API(s.status(r), s.d.Location, users(tx, name)), r.ETag()
		return nil
	})
	return p, etag, err
}

// CreatePool makes a pool. The record comes first, so that a crash leaves nothing that the next start does not know of.
func (s *Service) CreatePool(ctx context.Context, post api.StoragePoolsPost) (err error) {
	if err := checkPoolName(post.Name); err != nil {
		return err
	}
	if post.Driver == "" {
		return errs.Newf(errs.Invalid, "storage pool %q needs a driver: one of %s", post.Name, strings.Join(s.Drivers(), ", "))
	}
	d, err := s.driver(post.Driver)
	if err != nil {
		return err
	}
	if err := d.Keys().Validate(post.Config); err != nil {
		return err
	}
	r := PoolRecord{Name: post.Name, Description: post.Description, Driver: post.Driver, Config: withoutEmpty(post.Config), Status: pending}
	if f, ok := d.(Defaulter); ok {
		r.Config = f.Defaults(s.dir(r.Name), r.Config)
	}
	if err := s.d.Store.Update(ctx, func(tx store.Tx) error { return Pools.Insert(tx, r) }); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.destroy(context.WithoutCancel(ctx), r))
		}
	}()
	if err := s.openPool(ctx, r); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		tx.Announce(poolChange(api.LifecycleStoragePoolCreated, r))
		return Pools.Modify(tx, r.Name, func(r *PoolRecord) error { r.Status = created; return nil })
	})
}

// UpdatePool replaces a pool's description and configuration. What changes on the host changes first, and can change again.
func (s *Service) UpdatePool(ctx context.Context, name string, put api.StoragePoolPut) error {
	var r PoolRecord
	var cfg map[string]string
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, cfg, err = s.nextPool(tx, name, put.Config)
		return err
	})
	if err != nil {
		return err
	}
	if !maps.Equal(r.Config, cfg) {
		if err := s.follow(ctx, name, cfg); err != nil {
			return err
		}
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, cfg, err := s.nextPool(tx, name, put.Config)
		if err != nil {
			return err
		}
		tx.Announce(poolChange(api.LifecycleStoragePoolUpdated, r))
		return Pools.Modify(tx, name, func(r *PoolRecord) error {
			r.Config, r.Description = cfg, put.Description
			return nil
		})
	})
}

// nextPool is a pool and the configuration that it would get.
func (s *Service) nextPool(tx store.Tx, name string, config map[string]string) (r PoolRecord, cfg map[string]string, err error) {
	if r, err = Pools.Get(tx, name); err != nil {
		return r, nil, err
	}
	d, err := s.driver(r.Driver)
	if err != nil {
		return r, nil, err
	}
	cfg = withoutEmpty(config)
	if err := d.Keys().Validate(cfg); err != nil {
		return r, nil, err
	}
	for _, k := range d.Keys().Keys() {
		fixed := k.Name == "source" || strings.HasPrefix(k.Name, "source.")
		if _, ok := cfg[k.Name]; fixed && !ok && r.Config[k.Name] != "" {
			cfg[k.Name] = r.Config[k.Name] // what cannot change need not be sent
		}
		if fixed && cfg[k.Name] != r.Config[k.Name] {
			return r, nil, errs.Newf(errs.Invalid, "key %q of storage pool %q cannot change after it was created", k.Name, name)
		}
	}
	return r, cfg, nil
}

// follow has a pool act on a new configuration.
func (s *Service) follow(ctx context.Context, name string, cfg map[string]string) error {
	p, err := s.pool(ctx, name)
	if errs.Is(err, errs.Unavailable) {
		return nil // it is acted on when the pool is opened
	}
	if err != nil {
		return err
	}
	if u, ok := p.(Updater); ok {
		return u.Update(ctx, cfg)
	}
	return nil
}

// DeletePool removes a pool that nothing but cached images is in.
func (s *Service) DeletePool(ctx context.Context, name string) error {
	gate := s.gate(name)
	if !gate.TryLock() {
		return errs.Newf(errs.Invalid, "storage pool %q is in use: a volume is being made in it", name)
	}
	defer gate.Unlock()
	var r PoolRecord
	err := s.d.Store.Update(ctx, func(tx store.Tx) (err error) {
		if r, err = Pools.Get(tx, name); err != nil {
			return err
		}
		if r.Status == pending {
			return errs.Newf(errs.Unavailable, "storage pool %q is being made: try again later", name)
		}
		if err := unused(tx, name); err != nil {
			return err
		}
		return Pools.Modify(tx, name, func(r *PoolRecord) error { r.Deleting = true; return nil })
	})
	if err != nil {
		return err
	}
	return s.destroy(context.WithoutCancel(ctx), r)
}

// unused fails with Invalid if anything but images is in the pool.
func unused(tx store.Tx, pool string) error {
	images := map[string]bool{}
	for r, err := range Volumes.All(tx, pool+"/"+string(ImageVolume)+"/") {
		if err != nil {
			return err
		}
		images[r.owner()[0]] = true
	}
	for _, u := range users(tx, pool) {
		if !images[u] {
			return errs.Newf(errs.Invalid, "storage pool %q is in use by %s: remove what uses it first", pool, u)
		}
	}
	return nil
}

// destroy removes a pool from the host, whatever is there of it, and then its records. It can be run again.
func (s *Service) destroy(ctx context.Context, r PoolRecord) error {
	if err := s.clearHost(ctx, r); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.open, r.Name)
	s.mu.Unlock()
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		var keys []string
		for e := range Volumes.AllRev(tx, r.Name+"/"+string(ImageVolume)+"/") {
			keys = append(keys, e.Key)
		}
		for _, k := range keys {
			if err := Volumes.Delete(tx, k); err != nil {
				return err
			}
		}
		if r.Status == created {
			tx.Announce(poolChange(api.LifecycleStoragePoolDeleted, r))
		}
		if err := warning.Forget(tx, r.entity()); err != nil {
			return err
		}
		return Pools.Delete(tx, r.Name)
	})
}

// clearHost empties the pool of its images and removes it. A pool that never got as far as being opened may have nothing on the host.
func (s *Service) clearHost(ctx context.Context, r PoolRecord) error {
	d, err := s.driver(r.Driver)
	if err != nil {
		return err
	}
	s.mu.RLock()
	o := s.open[r.Name]
	s.mu.RUnlock()
	if o == nil && r.Status == created {
		_ = s.openPool(ctx, r) // one that cannot be opened is left to Destroy
		s.mu.RLock()
		o = s.open[r.Name]
		s.mu.RUnlock()
	}
	if o != nil && o.pool != nil {
		vols, err := o.pool.Volumes(ctx)
		for _, v := range vols {
			if v.Type == ImageVolume && err == nil {
				err = o.pool.Delete(ctx, v)
			}
		}
		if err := errors.Join(err, o.pool.Close()); err != nil {
			return err
		}
	}
	return d.Destroy(ctx, s.dir(r.Name), r.Config)
}

// Resources is what a pool has and uses.
func (s *Service) Resources(ctx context.Context, name string) (r api.ResourcesStoragePool, err error) {
	p, err := s.pool(ctx, name)
	if err != nil {
		return r, err
	}
	used, total, err := p.Usage(ctx)
	if err != nil {
		return r, err
	}
	r.Space.Used, r.Space.Total = int64(used), int64(total)
	if i, ok := p.(Inoder); ok {
		used, total, err = i.Inodes(ctx)
		r.Inodes.Used, r.Inodes.Total = int64(used), int64(total)
	}
	return r, err
}

func withoutEmpty(cfg map[string]string) map[string]string {
	out := maps.Clone(cfg)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}
