package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Drivers are the backends that pools can have.
	Drivers []Driver
	// Dir is the folder that holds one for each pool.
	Dir string
	// Location is the name of this member.
	Location string
	// Unpack writes the content of an image below root: metadata.yaml, templates/ and rootfs/.
	Unpack func(ctx context.Context, fingerprint, root string, progress func(string)) error
	// Kept tells, within a transaction, whether there is still an image of that fingerprint; nil means that there always is.
	Kept func(tx store.Tx, fingerprint string) (bool, error)
	// Warnings is told of pools that cannot be used, besides the log; it may be nil.
	Warnings Warnings
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Service is the use cases of pools and their volumes. Its methods may be called at the same time.
type Service struct {
	d       Deps
	flights flights
	mounts  mounts

	mu   sync.RWMutex
	open map[string]*openPool
	// gates are held by those who make a volume before its record, so that the pool stays meanwhile.
	gates map[string]*sync.RWMutex
}

// openPool is a pool that was opened, or why it could not be.
type openPool struct {
	pool   Pool
	driver Driver
	err    error
}

// New makes the service; it has no effects.
func New(d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Service{d: d, open: map[string]*openPool{}, gates: map[string]*sync.RWMutex{}}
}

// Start opens all pools. What a crash left half made or half deleted is removed. A pool for which that does not work is no error but is
// logged: what uses it fails with Unavailable.
func (s *Service) Start(ctx context.Context) error {
	var all []PoolRecord
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range Pools.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	for _, r := range all {
		why := s.takeUp(ctx, r)
		if why != nil {
			slog.Error("A storage pool is not as it should be: mend the cause; it is tried again each minute", "pool", r.Name, "err", why)
		}
		s.tell(ctx, r, why)
	}
	return err
}

// takeUp opens one pool, or finishes its removal.
func (s *Service) takeUp(ctx context.Context, r PoolRecord) error {
	if r.Status == pending || r.Deleting {
		return s.destroy(ctx, r)
	}
	return errors.Join(s.openPool(ctx, r), s.reconcile(ctx, r.Name))
}

// Close lets go of all pools; volumes in use stay.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all error
	for name, o := range s.open {
		if o.pool != nil {
			if err := o.pool.Close(); err != nil {
				all = errors.Join(all, fmt.Errorf("storage pool %q: %w", name, err))
			}
		}
	}
	clear(s.open)
	return all
}

// Drivers are the names of the backends.
func (s *Service) Drivers() (names []string) {
	for _, d := range s.d.Drivers {
		names = append(names, d.Name())
	}
	return names
}

// Supported describes the backends as the server's environment shows them.
func (s *Service) Supported() []api.ServerStorageDriverInfo {
	out := []api.ServerStorageDriverInfo{}
	for _, d := range s.d.Drivers {
		out = append(out, api.ServerStorageDriverInfo{Name: d.Name(), Version: version(d)})
	}
	return out
}

// InUse names the drivers of the pools that exist, each once, and their versions.
func (s *Service) InUse(ctx context.Context) (names, versions []string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		names, versions = nil, nil
		for _, r := range Pools.AllRev(tx, "") {
			d, err := s.driver(r.Driver)
			if err == nil && !slices.Contains(names, r.Driver) {
				names, versions = append(names, r.Driver), append(versions, version(d))
			}
		}
		return nil
	})
	return names, versions, err
}

func version(d Driver) string {
	if v, ok := d.(Versioner); ok {
		return v.Version()
	}
	return "1"
}

func (s *Service) driver(name string) (Driver, error) {
	for _, d := range s.d.Drivers {
		if d.Name() == name {
			return d, nil
		}
	}
	return nil, errs.Newf(errs.Invalid, "storage driver %q is not supported here: choose one of %s", name, strings.Join(s.Drivers(), ", "))
}

func (s *Service) dir(pool string) string { return filepath.Join(s.d.Dir, pool) }

// openPool opens a pool and remembers it, or why it could not be opened.
func (s *Service) openPool(ctx context.Context, r PoolRecord) error {
	d, err := s.driver(r.Driver)
	o := &openPool{driver: d, err: err}
	if err == nil {
		o.pool, o.err = d.Open(ctx, s.dir(r.Name), r.Config)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[r.Name] = o
	return o.err
}

// pool finds an open pool. It fails with NotFound if there is none of that name, and with Unavailable if it could not be opened.
func (s *Service) pool(ctx context.Context, name string) (Pool, error) {
	s.mu.RLock()
	o := s.open[name]
	s.mu.RUnlock()
	if o != nil && o.err == nil {
		return o.pool, nil
	}
	err := s.d.Store.View(ctx, func(tx store.Tx) error { _, err := Pools.Get(tx, name); return err })
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errs.Newf(errs.Unavailable, "storage pool %q is being made or deleted: try again later", name)
	}
	return nil, errs.Newf(errs.Unavailable, "storage pool %q could not be opened: %w", name, o.err)
}

// gate is the lock that keeps a pool from being deleted.
func (s *Service) gate(pool string) *sync.RWMutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gates[pool] == nil {
		s.gates[pool] = &sync.RWMutex{}
	}
	return s.gates[pool]
}

// With calls fn with an open pool, which is not deleted meanwhile. It fails with NotFound if there is none of that name, and with Unavailable
// if it could not be opened.
func (s *Service) With(ctx context.Context, pool string, fn func(Pool) error) error {
	gate := s.gate(pool)
	gate.RLock()
	defer gate.RUnlock()
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	return fn(p)
}

// VolumeKeys are the configuration keys that volumes of a pool have.
func (s *Service) VolumeKeys(tx store.Tx, pool string) (*schema.Schema, error) {
	r, err := Pools.Get(tx, pool)
	if err != nil {
		return nil, err
	}
	d, err := s.driver(r.Driver)
	if err != nil {
		return nil, err
	}
	return d.VolumeKeys(), nil
}

// status is what clients are told of a pool.
func (s *Service) status(r PoolRecord) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.open[r.Name]; r.Status == created && (o == nil || o.err != nil) {
		return unavailable
	}
	return r.Status
}

// reconcile makes image volumes and their records agree after a crash: a volume without record is removed, and so is a record without
// volume. Either is made again when it is needed. Other volumes are the business of the operations that made them.
func (s *Service) reconcile(ctx context.Context, name string) error {
	p, err := s.pool(ctx, name)
	if err != nil {
		return nil //nolint:nilerr // nothing can be said of a pool that is not open
	}
	vols, err := p.Volumes(ctx)
	if err != nil {
		return fmt.Errorf("volumes of storage pool %q: %w", name, err)
	}
	there := map[string]bool{}
	for _, v := range vols {
		if v.Type == ImageVolume {
			there[imageKey(name, v.Name)] = true
		}
	}
	return s.agree(ctx, p, name, there)
}

func (s *Service) agree(ctx context.Context, p Pool, name string, there map[string]bool) error {
	known := map[string]bool{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for e := range Volumes.AllRev(tx, name+"/"+string(ImageVolume)+"/") {
			known[e.Key] = there[e.Key]
		}
		return nil
	})
	for key, ok := range known {
		if !ok && err == nil {
			err = s.d.Store.Update(ctx, func(tx store.Tx) error { return Volumes.Delete(tx, key) })
		}
	}
	for key := range there {
		if _, ok := known[key]; !ok && err == nil {
			err = p.Delete(ctx, Volume{Type: ImageVolume, Name: filepath.Base(key)})
		}
	}
	return err
}
