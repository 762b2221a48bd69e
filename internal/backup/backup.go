// Package backup packs instances into archives and unpacks them: as backups that are kept for a while, and as streams.
package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/host/idmap"
	"lxd/internal/host/shelf"
	"lxd/internal/instance"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// Record is a backup as stored.
type Record struct {
	Project  string `json:"project"`
	Instance string `json:"instance"`
	Name     string `json:"name"`
	// File is the name of its file, which no renaming changes.
	File      string    `json:"file"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when it is deleted; the zero time is never.
	ExpiresAt    time.Time `json:"expires_at"`
	InstanceOnly bool      `json:"instance_only,omitempty"`
	Optimized    bool      `json:"optimized,omitempty"`
	// Making is set until the file is complete.
	Making bool `json:"making,omitempty"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: "instance_backup",
	Key:  Record.key,
	Refs: func(r Record) []store.Ref {
		return []store.Ref{{Collection: instance.Collection.Name, Key: instance.Key(r.Project, r.Instance)}}
	},
}

func (r Record) key() string { return key(r.Project, r.Instance, r.Name) }

func key(proj, name, backup string) string { return instance.Key(proj, name) + "/" + backup }

// url is the backup's address; lists show it without its project.
func (r Record) url() string {
	return project.URL("", "instances", r.Instance, "backups", r.Name)
}

// api is the backup as clients see it.
func (r Record) api() api.InstanceBackup {
	return api.InstanceBackup{Name: r.Name, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, InstanceOnly: r.InstanceOnly,
		ContainerOnly: r.InstanceOnly, OptimizedStorage: r.Optimized}
}

// change is what happened to the backup.
func (r Record) change(ctx context.Context, action string) event.Change {
	c := event.Change{Action: action, Source: r.url(), Project: r.Project, Name: r.Instance + "/" + r.Name}
	if who := op.CallerOf(ctx); who != (op.Caller{}) {
		c.Requestor = &api.EventLifecycleRequestor{Username: who.Username, Protocol: who.Protocol, Address: who.Address}
	}
	return c
}

// Instances is what backups need of instances.
type Instances interface {
	Original(ctx context.Context, project, name string) (instance.Original, error)
	Visit(ctx context.Context, o instance.Original, snapshot string, look func(at storage.Mounted, ids idmap.Map) error) error
	Apart(ctx context.Context, o instance.Original, do func(snapshot string) error) error
	Rejoin(ctx context.Context, o instance.Original) error
	Receive(ctx context.Context, project string, post api.InstancesPost, a instance.Arrival) (op.Spec, error)
}

// Volumes is what backups need of storage.
type Volumes interface {
	GetPool(ctx context.Context, name string) (p api.StoragePool, etag any, err error)
	GetVolume(ctx context.Context, pool, project string, typ storage.VolumeType, name string) (v api.StorageVolume, etag any, err error)
	Fill(ctx context.Context, pool string, v storage.Volume, fill func(ctx context.Context, root string) error) error
	Exports
}

// Starter runs operations.
type Starter interface {
	Start(ctx context.Context, s op.Spec) (*op.Operation, error)
}

// Deps is what the service needs.
type Deps struct {
	Store     store.Store
	Ops       Starter
	Instances Instances
	Volumes   Volumes
	// Files are the folders of the backups.
	Files *shelf.Shelf
	// Compression is what the project, or else the server, wants backups to be packed with.
	Compression func(ctx context.Context, project string) (string, error)
	// Announce publishes an event.Change that no record goes with; nil is no one.
	Announce func(any)
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Service is the use cases of backups. Its methods may be called at the same time.
type Service struct {
	d     Deps
	base  context.Context
	close context.CancelFunc
	wait  sync.WaitGroup
}

// New makes the service; it has no effects. base ends when the daemon does.
func New(base context.Context, d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	s := &Service{d: d}
	s.base, s.close = context.WithCancel(base)
	return s
}

// Use says which instances are backed up, for who needs the service to make those.
func (s *Service) Use(i Instances) { s.d.Instances = i }

// Start removes the files that belong to no backup, and from then on the backups that have expired.
func (s *Service) Start(ctx context.Context) error {
	if err := s.d.Files.Make(); err != nil {
		return err
	}
	if err := s.sweep(ctx); err != nil {
		return err
	}
	s.wait.Go(s.tend)
	return nil
}

// Close ends what the service does in the background.
func (s *Service) Close() {
	s.close()
	s.wait.Wait()
}

// List yields the backups of an instance with their addresses, the oldest first.
func (s *Service) List(ctx context.Context, proj, name string) (all []api.InstanceBackup, urls []string, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all, urls = nil, nil
		if _, err := instance.Collection.Get(tx, instance.Key(proj, name)); err != nil {
			return err
		}
		for _, r := range of(tx, proj, name) {
			if !r.Making {
				all, urls = append(all, r.api()), append(urls, r.url())
			}
		}
		return nil
	})
	return all, urls, err
}

// of are the backups of an instance, the oldest first.
func of(tx store.Tx, proj, name string) (all []Record) {
	for _, r := range Collection.AllRev(tx, instance.Key(proj, name)+"/") {
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name)) })
	return all
}

// Get is one backup.
func (s *Service) Get(ctx context.Context, proj, name, backup string) (api.InstanceBackup, error) {
	r, err := s.find(ctx, proj, name, backup)
	return r.api(), err
}

// find loads a complete backup.
func (s *Service) find(ctx context.Context, proj, name, backup string) (r Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		if _, err := instance.Collection.Get(tx, instance.Key(proj, name)); err != nil {
			return err
		}
		if r, err = Collection.Get(tx, key(proj, name, backup)); err == nil && r.Making {
			err = errs.Newf(errs.NotFound, "instance backup %q not found: it is being made", backup)
		}
		return err
	})
	return r, err
}

// Open opens the file of a backup. The caller closes it.
func (s *Service) Open(ctx context.Context, proj, name, backup string) (*os.File, error) {
	r, err := s.find(ctx, proj, name, backup)
	if err != nil {
		return nil, err
	}
	f, err := s.d.Files.Open(r.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Newf(errs.Internal, "the file of backup %q is gone: delete it and make another", backup)
	}
	if err == nil && s.d.Announce != nil {
		s.d.Announce(r.change(ctx, api.LifecycleInstanceBackupRetrieved))
	}
	return f, err
}

// checkName accepts what a backup can be called.
func checkName(name string) error {
	if err := snapshot.CheckName(name); err != nil {
		return errs.Newf(errs.Invalid, "invalid backup name %q: %w", name, err)
	}
	return nil
}

// Deleted removes the records of the backups of an instance that goes.
func (*Service) Deleted(tx store.Tx, proj, name string) error {
	for _, r := range of(tx, proj, name) {
		if err := Collection.Delete(tx, r.key()); err != nil {
			return err
		}
	}
	return nil
}

// Renamed makes the backups of an instance those of its new name.
func (*Service) Renamed(tx store.Tx, proj, from, to string) error {
	for _, r := range of(tx, proj, from) {
		if err := Collection.Delete(tx, r.key()); err != nil {
			return err
		}
		r.Instance = to
		if err := Collection.Insert(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the files that belong to no backup, in the background.
func (s *Service) Sweep() {
	s.wait.Go(func() {
		if err := s.sweep(s.base); err != nil && s.base.Err() == nil {
			slog.Error("Could not remove the files of backups that are gone: it is tried again at the next start", "err", err)
		}
	})
}

func (s *Service) sweep(ctx context.Context) error {
	there, err := s.d.Files.Names() // before the records: what comes later has its record first
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		clear(kept)
		for _, r := range Collection.AllRev(tx, "") {
			kept[r.File] = true
		}
		return nil
	})
	for _, name := range there {
		if err == nil && !kept[name] {
			err = s.d.Files.Remove(name)
		}
	}
	return err
}

// tend looks each minute for what has expired.
func (s *Service) tend() {
	for {
		select {
		case <-s.base.Done():
			return
		case <-time.After(time.Minute):
			s.Tend(s.base)
		}
	}
}

// Tend deletes the backups that have expired.
func (s *Service) Tend(ctx context.Context) {
	now := s.d.Now()
	var expired []Record
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		expired = nil
		for _, r := range Collection.AllRev(tx, "") {
			if !r.Making && !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now) {
				expired = append(expired, r)
			}
		}
		return nil
	})
	for _, r := range expired {
		o, e := s.d.Ops.Start(ctx, s.removal(r, api.OperationCleaningUpExpiredBackups))
		if e == nil {
			e = o.Wait(ctx)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("backup %s: %w", r.key(), e))
		}
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("Could not delete the backups that have expired", "err", err)
	}
}
