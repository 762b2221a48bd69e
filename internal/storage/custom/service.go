// Package custom holds the use cases of custom storage volumes: those that users make, and attach to instances as disks. The record of a volume
// is written after its content is complete and removed before its content goes: content without record is what an operation left
// that its journal deals with.
package custom

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// Instances is what volumes need of the instances that show them.
type Instances interface {
	// Runs tells whether an instance runs, by the key of its record; one that is gone does not.
	Runs(tx store.Tx, instance string) (bool, error)
	// ChangeDevices has change look at each own device of an instance and change it.
	ChangeDevices(tx store.Tx, instance string, change func(cfg map[string]string)) error
}

// Backups is what must follow when volumes go or are moved.
type Backups interface {
	// Deleted removes the records of the backups of a volume within tx, and Moved makes them those of another.
	Deleted(tx store.Tx, n Name) error
	Moved(tx store.Tx, from, to Name) error
	// Sweep removes files that belong to no backup, in the background.
	Sweep()
}

// Starter runs operations.
type Starter interface {
	Start(ctx context.Context, s op.Spec) (*op.Operation, error)
}

// Deps is what the service needs.
type Deps struct {
	Store     store.Store
	Ops       Starter
	Pools     *storage.Service
	Instances Instances
	// Backups may be nil.
	Backups Backups
	// Location is the name of this member.
	Location string
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Service is the use cases. Its methods may be called at the same time.
type Service struct {
	d Deps
	// base outlives requests; it ends with Close.
	base  context.Context
	close context.CancelFunc
	wait  sync.WaitGroup
}

// New makes the service; it has no effects. base ends when the daemon does.
func New(base context.Context, d Deps) *Service {
	if d.Now == nil {
		d.Now = func() time.Time { return time.Now().UTC() }
	}
	s := &Service{d: d}
	s.base, s.close = context.WithCancel(base)
	return s
}

// Start looks whether pools and records agree, and sees to it from now on that snapshots are taken and removed when they are due. It
// comes after the recovery of operations.
func (s *Service) Start(ctx context.Context) error {
	if err := s.compare(ctx); err != nil {
		return err
	}
	s.wait.Go(s.tend)
	return nil
}

// Close ends what goes on in the background.
func (s *Service) Close() {
	s.close()
	s.wait.Wait()
}

// compare tells of volumes without record and of records without volume. Neither is repaired: the first may be all that is left of
// somebody's data, and the second may come back with a disk that is missing.
func (s *Service) compare(ctx context.Context) error {
	records, pools := map[string]bool{}, []string{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		clear(records)
		pools = nil
		for p := range storage.Pools.AllRev(tx, "") {
			pools = append(pools, p.Key)
		}
		for e, r := range storage.Volumes.AllRev(tx, "") {
			if r.Type == storage.CustomVolume && r.Location == s.d.Location {
				records[e.Key] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, pool := range pools {
		var there []storage.Volume
		err := s.d.Pools.With(ctx, pool, func(p storage.Pool) (err error) {
			there, err = p.Volumes(ctx)
			return err
		})
		if err != nil {
			slog.Warn("Could not look which custom volumes a storage pool has", "pool", pool, "err", err)
			continue
		}
		report(pool, there, records)
	}
	return nil
}

func report(pool string, there []storage.Volume, records map[string]bool) {
	found := map[string]bool{}
	for _, v := range there {
		if v.Type != storage.CustomVolume {
			continue
		}
		key := storage.CustomKey(pool, cmp.Or(v.Project, project.Default), v.Name)
		if found[key] = true; !records[key] {
			slog.Warn("A storage pool holds a custom volume that the database does not know: it is left alone", "pool", pool, "project", v.Project, "volume", v.Name)
		}
	}
	for key := range records {
		if n := parse(key); n.Pool == pool && !found[key] {
			slog.Error("A custom volume is gone from its storage pool: delete it, or bring its files back", "pool", pool, "project", n.Project, "volume", n.Name)
		}
	}
}

// Recoverers say, by kind of operation, how to deal with one that a crash cut short.
func (s *Service) Recoverers() map[string]op.Recoverer {
	return map[string]op.Recoverer{
		"volume-create": s.recoverCreate, "volume-delete": s.recoverDelete, "volume-update": s.recoverUpdate,
		"volume-rename": s.recoverRename, "volume-move": s.recoverMove, "volume-refresh": s.recoverRefresh,
		"volume-snapshot": s.recoverSnapshot, "volume-snapshot-delete": s.recoverSnapshotDelete, "volume-snapshot-rename": s.recoverSnapshotRename,
	}
}

// change is what happened to a volume, on behalf of whoever ctx belongs to.
func change(ctx context.Context, action string, n Name) event.Change {
	c := event.Change{Action: action, Source: n.path(), Project: n.Project, Name: n.Name}
	if who := op.CallerOf(ctx); who != (op.Caller{}) {
		c.Requestor = &api.EventLifecycleRequestor{Username: who.Username, Protocol: who.Protocol, Address: who.Address}
	}
	return c
}

// spec begins the description of an operation on one volume.
func spec(kind string, what api.OperationType, n Name) op.Spec {
	return op.Spec{
		Kind: kind, Description: what.String(), Project: n.Project, Locks: []string{n.lock()},
		Resources: map[string][]string{string(api.EntityTypeStorageVolume): {n.URL()}},
	}
}

// load finds the record of a volume that a project calls by that name.
func (s *Service) load(ctx context.Context, pool, proj, name string) (n Name, r storage.VolumeRecord, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err = storage.Find(tx, storage.Name{Pool: pool, Project: proj, Type: storage.CustomVolume, Name: name})
		return err
	})
	return Name{r.Pool, r.Project, r.Name}, r, err
}

// Resolve finds the volume that a project calls by that name.
func (s *Service) Resolve(ctx context.Context, at storage.Name) (Name, error) {
	n, _, err := s.load(ctx, at.Pool, at.Project, at.Name)
	return n, err
}

// Use says what must follow when volumes go or are moved, for who needs the service to make that.
func (s *Service) Use(b Backups) { s.d.Backups = b }

// idle fails with Invalid while an instance runs that shows the volume, or a snapshot of it, or the server uses it.
func (s *Service) idle(tx store.Tx, n Name) error {
	if err := depot.Used(tx, n.key()); err != nil {
		return err
	}
	for _, instance := range instances(tx, storage.Users(tx, n.key())) {
		runs, err := s.d.Instances.Runs(tx, instance)
		if err != nil {
			return err
		}
		if runs {
			return errs.Newf(errs.Invalid, "storage volume %q is in use by instance %s, which runs: stop it first", n.Name, instance)
		}
	}
	return nil
}

// unused fails with Invalid while an instance or profile shows the volume, or a snapshot of it, or the server uses it.
func unused(tx store.Tx, n Name) error {
	if err := depot.Used(tx, n.key()); err != nil {
		return err
	}
	users := project.UsedBy(storage.Users(tx, n.key()))
	if len(users) == 0 {
		return nil
	}
	return errs.Newf(errs.Invalid, "storage volume %q is in use, %d times, first by %s: detach it there first", n.Name, len(users), users[0])
}
