// Package volume packs custom storage volumes into archives, which are kept for a while, and makes volumes of archives. A backup's file is
// complete before its record is written and goes after it: files without record are removed.
package volume

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/host/shelf"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// Record is a backup as stored.
type Record struct {
	// Volume is what it is of.
	Volume custom.Name `json:"volume"`
	Name   string      `json:"name"`
	// File is the name of its file, which no renaming changes.
	File      string    `json:"file"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when it is deleted; the zero time is never.
	ExpiresAt  time.Time `json:"expires_at"`
	VolumeOnly bool      `json:"volume_only,omitempty"`
	Optimized  bool      `json:"optimized,omitempty"`
}

// Collection is where the records live. They go with their volume.
var Collection = store.Collection[Record]{Name: "storage_volume_backup", Key: Record.key}

func (r Record) key() string { return r.Volume.Key() + "/" + r.Name }

// url is the backup's address; lists show it without its project.
func (r Record) url() string { return r.Volume.Path("backups", r.Name) }

func (r Record) api() api.StoragePoolVolumeBackup {
	return api.StoragePoolVolumeBackup{Name: r.Name, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, VolumeOnly: r.VolumeOnly, OptimizedStorage: r.Optimized}
}

func (r Record) change(ctx context.Context, action string) event.Change {
	c := event.Change{Action: action, Source: r.url(), Project: r.Volume.Project, Name: r.Volume.Name + "/" + r.Name}
	if who := op.CallerOf(ctx); who != (op.Caller{}) {
		c.Requestor = &api.EventLifecycleRequestor{Username: who.Username, Protocol: who.Protocol, Address: who.Address}
	}
	return c
}

// Starter runs operations.
type Starter interface {
	Start(ctx context.Context, s op.Spec) (*op.Operation, error)
}

// Deps is what the service needs.
type Deps struct {
	Store   store.Store
	Ops     Starter
	Pools   *storage.Service
	Volumes *custom.Service
	// Files are the folders of the backups.
	Files *shelf.Shelf
	// Compression is what the project, or else the server, wants backups to be packed with.
	Compression func(ctx context.Context, project string) (string, error)
	// Announce publishes an event.Change that no record goes with; nil is no one.
	Announce func(any)
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Service is the use cases of backups of volumes. Its methods may be called at the same time.
type Service struct {
	d     Deps
	base  context.Context
	close context.CancelFunc
	wait  sync.WaitGroup

	mu sync.Mutex
	// making are the files that are being written.
	making map[string]bool
}

// New makes the service; it has no effects. base ends when the daemon does.
func New(base context.Context, d Deps) *Service {
	if d.Now == nil {
		d.Now = func() time.Time { return time.Now().UTC() }
	}
	s := &Service{d: d, making: map[string]bool{}}
	s.base, s.close = context.WithCancel(base)
	return s
}

// Start removes the files that belong to no backup, and from then on the backups that have expired.
func (s *Service) Start(context.Context) error {
	if err := s.d.Files.Make(); err != nil {
		return err
	}
	if err := s.sweep(s.base); err != nil {
		return err
	}
	s.wait.Go(func() {
		for {
			select {
			case <-s.base.Done():
				return
			case <-time.After(time.Minute):
				s.Tend(s.base)
			}
		}
	})
	return nil
}

// Close ends what the service does in the background.
func (s *Service) Close() {
	s.close()
	s.wait.Wait()
}

// of are the backups of a volume, the oldest first.
func of(tx store.Tx, n custom.Name) (all []Record) {
	for _, r := range Collection.AllRev(tx, n.Key()+"/") {
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name)) })
	return all
}

// List yields the backups of a volume with their addresses, the oldest first.
func (s *Service) List(ctx context.Context, at storage.Name) (all []api.StoragePoolVolumeBackup, urls []string, err error) {
	n, err := s.d.Volumes.Resolve(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all, urls = nil, nil
		for _, r := range of(tx, n) {
			all, urls = append(all, r.api()), append(urls, r.url())
		}
		return nil
	})
	return all, urls, err
}

// Get is one backup.
func (s *Service) Get(ctx context.Context, at storage.Name, name string) (api.StoragePoolVolumeBackup, error) {
	r, err := s.find(ctx, at, name)
	return r.api(), err
}

func (s *Service) find(ctx context.Context, at storage.Name, name string) (r Record, err error) {
	n, err := s.d.Volumes.Resolve(ctx, at)
	if err != nil {
		return r, err
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err = Collection.Get(tx, n.Key()+"/"+name)
		if errs.Is(err, errs.NotFound) {
			err = errs.Newf(errs.NotFound, "backup %q of storage volume %q not found", name, n.Name)
		}
		return err
	})
	return r, err
}

// Open opens the file of a backup. The caller closes it.
func (s *Service) Open(ctx context.Context, at storage.Name, name string) (*os.File, error) {
	r, err := s.find(ctx, at, name)
	if err != nil {
		return nil, err
	}
	f, err := s.d.Files.Open(r.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Newf(errs.Internal, "the file of backup %q is gone: delete it and make another", name)
	}
	if err == nil && s.d.Announce != nil {
		s.d.Announce(r.change(ctx, api.LifecycleStorageVolumeBackupRetrieved))
	}
	return f, err
}

// admit finds a name for a backup, and fails with Conflict on one that is taken.
func admit(tx store.Tx, r *Record) error {
	for n := 0; r.Name == ""; n++ {
		if name := "backup" + strconv.Itoa(n); !Collection.Has(tx, r.Volume.Key()+"/"+name) {
			r.Name = name
		}
	}
	if err := snapshot.CheckName(r.Name); err != nil {
		return errs.Newf(errs.Invalid, "invalid backup name %q: %w", r.Name, err)
	}
	if Collection.Has(tx, r.key()) {
		return errs.Newf(errs.Conflict, "backup %q of storage volume %q already exists: choose another name", r.Name, r.Volume.Name)
	}
	return nil
}

// Deleted removes the records of the backups of a volume that goes.
func (*Service) Deleted(tx store.Tx, n custom.Name) error {
	for _, r := range of(tx, n) {
		if err := Collection.Delete(tx, r.key()); err != nil {
			return err
		}
	}
	return nil
}

// Moved makes the backups of a volume those of its new name.
func (*Service) Moved(tx store.Tx, from, to custom.Name) error {
	for _, r := range of(tx, from) {
		if err := Collection.Delete(tx, r.key()); err != nil {
			return err
		}
		r.Volume = to
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
	there, err := s.d.Files.Names()
	if err != nil {
		return err
	}
	making := s.made() // before the records: what is not being made any more by then has its own
	var kept map[string]bool
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		kept = maps.Clone(making)
		for _, r := range Collection.AllRev(tx, "") {
			kept[r.File] = true
		}
		return nil
	})
	for _, name := range there {
		if err == nil && !kept[name] {
			err = s.drop(name)
		}
	}
	return err
}

// made are the files that are being written.
func (s *Service) made() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.making)
}

// make notes that a file is being written, until it has its record or is not wanted any more.
func (s *Service) make(file string) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making[file] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.making, file)
	}
}

// drop removes a file; a missing one is no error.
func (s *Service) drop(file string) error { return s.d.Files.Remove(file) }

// Tend deletes the backups that have expired.
func (s *Service) Tend(ctx context.Context) {
	now := s.d.Now()
	var expired []Record
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		expired = nil
		for _, r := range Collection.AllRev(tx, "") {
			if !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now) {
				expired = append(expired, r)
			}
		}
		return nil
	})
	for _, r := range expired {
		o, e := s.d.Ops.Start(ctx, s.removal(r))
		if e == nil {
			e = o.Wait(ctx)
		}
		err = errors.Join(err, e)
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("Could not delete the backups of volumes that have expired", "err", err)
	}
}

// closing joins the error of a close.
func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }
