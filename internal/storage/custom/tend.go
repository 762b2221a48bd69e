package custom

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// tend does each minute what is due, until the service is closed.
func (s *Service) tend() {
	op.EachMinute(s.base.Done(), func(minute time.Time) { s.Tend(s.base, minute) })
}

// Tend removes the snapshots that have expired and takes those that are scheduled for that minute. It waits for both.
func (s *Service) Tend(ctx context.Context, minute time.Time) {
	var work []op.Spec
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		work = append(s.expired(tx, minute), s.takings(tx, minute)...)
		return nil
	})
	if err != nil {
		slog.Error("Could not find out which snapshots of volumes are due", "err", err)
	}
	// One at a time for each volume: the others of it would only find it locked.
	byVolume := map[string][]op.Spec{}
	for _, o := range work {
		byVolume[o.Locks[0]] = append(byVolume[o.Locks[0]], o)
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, list := range byVolume {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			for _, o := range list {
				s.perform(ctx, o)
			}
		})
	}
	wait.Wait()
}

func (s *Service) perform(ctx context.Context, o op.Spec) {
	running, err := s.d.Ops.Start(ctx, o)
	if err == nil {
		err = running.Wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("Could not do what is due", "what", o.Description, "volume", o.Locks, "err", err)
	}
}

// expired is the work that removes snapshots.
func (s *Service) expired(tx store.Tx, minute time.Time) (work []op.Spec) {
	for _, snap := range storage.Snapshots.AllRev(tx, "") {
		if over(snap.ExpiresAt, minute) && snapshotUnused(tx, snap) == nil {
			work = append(work, s.expiry(snap))
		}
	}
	return work
}

func over(at, minute time.Time) bool { return !at.IsZero() && !at.After(minute) }

// expiry is the work that removes a snapshot that has expired; one that was given more time meanwhile stays.
func (s *Service) expiry(snap storage.SnapshotRecord) op.Spec {
	o := s.removal(snap)
	run := o.Run
	o.Run = func(ctx context.Context, t *op.Task) error {
		n := of(snap)
		now, err := s.snapshot(ctx, storage.Name{Pool: n.Pool, Project: n.Project, Type: storage.CustomVolume, Name: n.Name}, snap.Name)
		if err != nil || !now.ExpiresAt.Equal(snap.ExpiresAt) {
			return err
		}
		return run(ctx, t)
	}
	return o
}

// takings is the work that takes snapshots.
func (s *Service) takings(tx store.Tx, minute time.Time) (work []op.Spec) {
	for e, r := range storage.Volumes.AllRev(tx, "") {
		if r.Type != storage.CustomVolume || r.Location != s.d.Location || !snapshot.Due(r.Config["snapshots.schedule"], minute) {
			continue
		}
		t := &taking{s: s, n: parse(e.Key), generated: true, r: storage.SnapshotRecord{CreatedAt: minute.UTC()}}
		if err := t.admit(tx); err != nil {
			slog.Error("Could not take a scheduled snapshot", "volume", e.Key, "err", err)
			continue
		}
		work = append(work, t.spec())
	}
	return work
}
