package instance

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"lxd/api"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/storage/snapshot"
	"lxd/internal/store"
)

// tend does each minute what is due, until the service is closed.
func (s *Service) tend() {
	op.EachMinute(s.closing, func(minute time.Time) { s.Tend(s.base, minute) })
}

// Tend removes the snapshots that have expired and takes those that are scheduled for that minute. It waits for both.
func (s *Service) Tend(ctx context.Context, minute time.Time) {
	var work []op.Spec
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		expired := s.expired(tx, minute)
		work, err = s.takings(tx, minute)
		work = append(expired, work...)
		return err
	})
	if err != nil {
		slog.Error("Could not find out which snapshots are due", "err", err)
	}
	// One at a time for each instance: the others of it would only find it locked.
	byInstance := map[string][]op.Spec{}
	for _, o := range work {
		byInstance[o.Locks[0]] = append(byInstance[o.Locks[0]], o)
	}
	parallel(slices.Collect(maps.Values(byInstance)), func(list []op.Spec) {
		for _, o := range list {
			s.perform(ctx, o)
		}
	})
}

// perform does what is due, and waits for it.
func (s *Service) perform(ctx context.Context, o op.Spec) {
	running, err := s.d.Ops.Start(ctx, o)
	if err == nil {
		err = running.Wait(ctx)
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("Could not do what is due", "what", o.Description, "instance", o.Locks, "err", err)
	}
}

// expired is the work that removes snapshots.
func (s *Service) expired(tx store.Tx, minute time.Time) (work []op.Spec) {
	for _, snap := range Snapshots.AllRev(tx, "") {
		if !snap.Making && snap.Instance.Location == s.d.Location && !snap.ExpiresAt.IsZero() && !snap.ExpiresAt.After(minute) {
			work = append(work, s.expiry(snap))
		}
	}
	return work
}

// takings is the work that takes snapshots.
func (s *Service) takings(tx store.Tx, minute time.Time) (work []op.Spec, err error) {
	for e, r := range Collection.AllRev(tx, "") {
		if r.Location != s.d.Location || r.Making {
			continue
		}
		v, err := compose(tx, r, e.Rev)
		if err != nil {
			return work, fmt.Errorf("instance %s: %w", e.Key, err)
		}
		if !s.scheduled(v, minute) {
			continue
		}
		t := &taking{s: s, generated: true, snap: Snapshot{Making: true, TakenAt: minute.UTC()}}
		if err := t.admit(tx, e.Key); err != nil {
			slog.Error("Could not take a scheduled snapshot", "instance", e.Key, "err", err)
			continue
		}
		work = append(work, t.spec())
	}
	return work, nil
}

// scheduled tells whether a snapshot of an instance is due.
func (s *Service) scheduled(v view, minute time.Time) bool {
	schedule := v.config["snapshots.schedule"]
	if schedule == "" || !snapshot.Due(schedule, minute) {
		return false
	}
	return s.status(v.key()) != api.StatusStopped || schema.IsTrue(v.config["snapshots.schedule.stopped"])
}

// expiry is the work that removes a snapshot that has expired; one that was given more time meanwhile stays.
func (s *Service) expiry(snap Snapshot) op.Spec {
	o := s.removal(snap)
	run := o.Run
	o.Run = func(ctx context.Context, t *op.Task) error {
		now, err := s.snapshot(ctx, snap.Instance.Project, snap.Instance.Name, snap.Name)
		if err != nil || !now.ExpiresAt.Equal(snap.ExpiresAt) {
			return err
		}
		return run(ctx, t)
	}
	return o
}
