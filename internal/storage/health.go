package storage

import (
	"context"
	"log/slog"
	"time"

	"lxd/api"
	"lxd/internal/op"
	"lxd/internal/store"
	"lxd/internal/warning"
)

// Warnings is where the administrator learns of problems.
type Warnings interface {
	Raise(ctx context.Context, t api.WarningType, e warning.Entity, message string) error
	Resolve(ctx context.Context, t api.WarningType, e warning.Entity) error
}

func (r PoolRecord) entity() warning.Entity { return warning.Entity{URL: r.URL()} }

// tell raises a warning about a pool that could not be taken up, or resolves it.
func (s *Service) tell(ctx context.Context, r PoolRecord, why error) {
	if s.d.Warnings == nil {
		return
	}
	var err error
	if why == nil {
		err = s.d.Warnings.Resolve(ctx, api.WarningStoragePoolUnavailable, r.entity())
	} else {
		err = s.d.Warnings.Raise(ctx, api.WarningStoragePoolUnavailable, r.entity(), why.Error())
	}
	if err != nil {
		slog.Error("Could not note how a storage pool is", "pool", r.Name, "err", err)
	}
}

// Tend tries once a minute to open the pools that could not be opened, until ctx ends.
func (s *Service) Tend(ctx context.Context) {
	op.EachMinute(ctx.Done(), func(time.Time) { s.Retry(ctx) })
}

// Retry tries to open the pools that could not be opened.
func (s *Service) Retry(ctx context.Context) {
	s.mu.RLock()
	var names []string
	for name, o := range s.open {
		if o.err != nil {
			names = append(names, name)
		}
	}
	s.mu.RUnlock()
	for _, name := range names {
		s.retry(ctx, name)
	}
}

// retry tries to open one pool, unless somebody is about to delete it.
func (s *Service) retry(ctx context.Context, name string) {
	gate := s.gate(name)
	if !gate.TryLock() {
		return
	}
	defer gate.Unlock()
	var r PoolRecord
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = Pools.Get(tx, name)
		return err
	})
	if err != nil || r.Status == pending || r.Deleting {
		return
	}
	if err := s.takeUp(ctx, r); err != nil {
		slog.Debug("A storage pool can still not be opened", "pool", name, "err", err)
		return
	}
	slog.Info("A storage pool can be used again", "pool", name)
	s.tell(ctx, r, nil)
}
