package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Recoverers say, by kind of operation, how to deal with one that a crash cut short. They run before Boot.
func (s *Service) Recoverers() map[string]op.Recoverer {
	same := s.recoverer(s.reconcile)
	return map[string]op.Recoverer{
		"instance-create": same, "instance-start": same, "instance-stop": same, "instance-update": same,
		"instance-freeze": same, "instance-unfreeze": same, "instance-exec": same,
		"instance-restart": s.recoverer(s.reconcileUp),
		"instance-delete":  s.recoverer(s.finishDelete),
	}
}

func (s *Service) recoverer(do func(context.Context, view) error) op.Recoverer {
	return func(ctx context.Context, j op.Journal) error {
		var t target
		if err := json.Unmarshal(j.Args, &t); err != nil {
			return fmt.Errorf("journal of %s: %w", j.Kind, err)
		}
		v, err := s.view(ctx, t.Project, t.Name)
		if errs.Is(err, errs.NotFound) {
			return nil // it was never recorded, or its record was the last to go
		}
		if err != nil {
			return err
		}
		return do(ctx, v)
	}
}

// reconcile makes host and record agree: an instance that was not finished is removed, one whose machine may still run is left
// to Boot, and any other becomes stopped.
func (s *Service) reconcile(ctx context.Context, v view) error {
	switch {
	case v.Making:
		return s.finishDelete(ctx, v)
	case v.Run != nil:
		return nil
	}
	return s.sweep(ctx, v)
}

// reconcileUp is for an instance that was being restarted: if it is down now Boot starts it.
func (s *Service) reconcileUp(ctx context.Context, v view) error {
	if err := s.reconcile(ctx, v); err != nil {
		return err
	}
	return s.want(ctx, v, true)
}

// want says whether Boot is to start the instance if it is down.
func (s *Service) want(ctx context.Context, v view, up bool) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		return Collection.Modify(tx, v.key(), func(r *Record) error {
			r.Wanted = up
			return nil
		})
	})
}

// finishDelete removes an instance that was being removed or was never complete.
func (s *Service) finishDelete(ctx context.Context, v view) error {
	if err := s.sweep(ctx, v); err != nil {
		return err
	}
	if err := errors.Join(s.dropVolume(ctx, v), s.dropFiles(v.Record)); err != nil {
		return err
	}
	return s.forget(ctx, v, func(store.Tx) error { return nil })
}

// Boot takes up the instances of this member when the daemon starts: machines that still run are found again, those that ended
// meanwhile are cleaned up, and those that are to run are started. It returns once the running ones are known; starting goes on
// in the background.
func (s *Service) Boot(ctx context.Context) error {
	var all []view
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for e, r := range Collection.AllRev(tx, "") {
			if r.Location != s.d.Location {
				continue
			}
			v, err := compose(tx, r, e.Rev)
			if err != nil {
				return fmt.Errorf("instance %s: %w", e.Key, err)
			}
			all = append(all, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var start []view
	parallel(all, func(v view) {
		up, err := s.takeUp(ctx, v)
		if err != nil {
			slog.Error("Could not take up an instance: it is tried again at its next start", "instance", v.key(), "err", err)
		}
		if up {
			mu.Lock()
			defer mu.Unlock()
			start = append(start, v)
		}
	})
	s.wait.Go(func() { s.bringUp(start) })
	return nil
}

// takeUp deals with one instance at the start of the daemon and tells whether it is to be started.
func (s *Service) takeUp(ctx context.Context, v view) (bool, error) {
	if v.Making {
		return false, s.finishDelete(ctx, v)
	}
	ran := v.Wanted || v.Run == nil && v.config["volatile.last_state.power"] == powerOn
	if v.Run == nil && v.Pool != "" { // somebody may have been looking at its files when the daemon was killed
		if err := s.unmountRoot(ctx, v); err != nil {
			return false, err
		}
	}
	if v.Run != nil {
		m, err := s.d.Machine.Reattach(ctx, v.Run.Handle)
		if err == nil {
			return false, s.resume(ctx, v, m)
		}
		if !errs.Is(err, errs.NotFound) {
			return false, err
		}
		if err := s.sweep(ctx, v); err != nil {
			return false, err
		}
		ran = v.Wanted || v.Run.Boot != s.d.Host.Boot
	}
	return autostart(v.config, ran), nil
}

// bringUp starts instances one after the other, by priority.
func (s *Service) bringUp(start []view) {
	slices.SortFunc(start, func(a, b view) int {
		if d := number(b, "boot.autostart.priority") - number(a, "boot.autostart.priority"); d != 0 {
			return d
		}
		return compareKeys(a, b)
	})
	for _, v := range start {
		o, err := s.d.Ops.Start(s.base, s.startSpec(v.Record, api.LifecycleInstanceStarted))
		if err == nil {
			err = o.Wait(s.base)
		}
		if err != nil {
			slog.Error("Could not start an instance", "instance", v.key(), "err", err)
		}
		select {
		case <-time.After(time.Duration(number(v, "boot.autostart.delay")) * time.Second):
		case <-s.closing:
			return
		}
	}
}
