package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// Recoverers say, by kind of operation, how to deal with one that a crash cut short. They run before Boot.
func (s *Service) Recoverers() map[string]op.Recoverer {
	same := s.recoverer(s.reconcile)
	return map[string]op.Recoverer{
		"instance-create": same, ImportKind: same, ReceiveKind: same, "instance-start": same, "instance-stop": same, "instance-update": same,
		"instance-freeze": same, "instance-unfreeze": same, "instance-exec": same,
		"instance-restart":  s.recoverer(s.reconcileUp),
		"instance-delete":   s.recoverer(s.finishDelete),
		"instance-snapshot": s.recoverSnapshot, "instance-snapshot-delete": s.recoverSnapshot, "instance-snapshot-rename": s.recoverSnapshot,
		"instance-restore": s.recoverRestore, "instance-rename": s.recoverMove, "instance-move": s.recoverMove, "instance-rebuild": s.recoverRebuild, refreshKind: s.recoverRefresh,
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
	s.wait.Go(s.tend)
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
		if v.Ephemeral && !ran {
			s.wait.Go(func() { s.dispose(v) })
			return false, nil
		}
	}
	return autostart(v.config, ran), nil
}

// dispose deletes an ephemeral instance that ended while nobody watched.
func (s *Service) dispose(v view) {
	o, err := s.d.Ops.Start(s.base, s.deletion(v.Record, false))
	if err == nil {
		err = o.Wait(s.base)
	}
	if err != nil && s.base.Err() == nil {
		slog.Error("Could not delete an ephemeral instance that has stopped", "instance", v.key(), "err", err)
	}
}

// bringUp starts instances, those of higher priority first. Those of the same priority are started together, but one that asks for a
// delay is the only one to start, and the next waits until the delay is over.
func (s *Service) bringUp(start []view) {
	slices.SortFunc(start, func(a, b view) int {
		if d := number(b, "boot.autostart.priority") - number(a, "boot.autostart.priority"); d != 0 {
			return d
		}
		return compareKeys(a, b)
	})
	for len(start) > 0 {
		n := 1
		for n < len(start) && number(start[n], "boot.autostart.priority") == number(start[0], "boot.autostart.priority") {
			n++
		}
		s.bringUpGroup(start[:n])
		start = start[n:]
	}
}

// bringUpGroup starts instances of one priority.
func (s *Service) bringUpGroup(group []view) {
	var patient []view
	group = slices.DeleteFunc(slices.Clone(group), func(v view) bool {
		wait := number(v, "boot.autostart.delay") > 0
		if wait {
			patient = append(patient, v)
		}
		return wait
	})
	parallel(group, s.bringUpOne)
	for _, v := range patient {
		s.bringUpOne(v)
		select {
		case <-time.After(time.Duration(number(v, "boot.autostart.delay")) * time.Second):
		case <-s.closing:
			return
		}
	}
}

func (s *Service) bringUpOne(v view) {
	select {
	case <-s.closing:
		return
	default:
	}
	o, err := s.d.Ops.Start(s.base, s.startSpec(v.Record, api.LifecycleInstanceStarted))
	if err == nil {
		err = o.Wait(s.base)
	}
	if err != nil {
		slog.Error("Could not start an instance", "instance", v.key(), "err", err)
	}
	s.tell(s.base, api.WarningFailedToAutostartInstance, v.Record, err)
}

// tell raises a warning about an instance, or resolves it if nothing is wrong.
func (s *Service) tell(ctx context.Context, t api.WarningType, r Record, why error) {
	if s.d.Warnings == nil || ctx.Err() != nil {
		return
	}
	var err error
	if why == nil {
		err = s.d.Warnings.Resolve(ctx, t, r.entity())
	} else {
		err = s.d.Warnings.Raise(ctx, t, r.entity(), why.Error())
	}
	if err != nil && ctx.Err() == nil {
		slog.Error("Could not note how an instance is", "instance", r.key(), "err", err)
	}
}

// resume takes up a machine that went on running while the daemon did not.
func (s *Service) resume(ctx context.Context, v view, m machine.Machine) error {
	r := &running{key: v.key(), m: m, gone: make(chan struct{})}
	s.cpus.Restore(r.key, v.Run.CPUs)
	l, err := s.limits(r.key, v.config)
	if err != nil {
		return err
	}
	r.limits = l
	if !r.over() {
		// The configuration may have been changed by an operation that was cut short before it came to the machine.
		if tuner, ok := m.(machine.Tuner); ok {
			if err := tuner.Tune(ctx, l); err != nil && !r.over() {
				slog.Warn("Could not give a running instance its limits", "instance", r.key, "err", err)
			}
		}
		status, err := m.Status(ctx)
		if err != nil && !r.over() {
			return err
		}
		r.frozen.Store(status == machine.Frozen && !v.Run.Held)
	}
	if v.Run.Held {
		if err := s.unhold(ctx, r); err != nil {
			return err
		}
	}
	if v.Wanted {
		if err := s.want(ctx, v, false); err != nil {
			return err
		}
	}
	r.ready.Store(schema.IsTrue(v.Config["volatile.last_state.ready"]))
	s.watch(r)
	s.revive(ctx, r, v)
	return nil
}

// revive does for a machine again what ended with the daemon that started it, and what that had begun to change.
func (s *Service) revive(ctx context.Context, r *running, v view) {
	if !s.startAgain(ctx, r, v) {
		return
	}
	if err := s.replug(ctx, r.key); err != nil {
		slog.Warn("Could not give a running instance its devices", "instance", r.key, "err", err)
	}
	s.openSocketAgain(v)
}

// Shutdown stops all running instances of this member, those of higher boot.stop.priority first, and kills those that take
// longer than they may. They count as running, so that Boot brings them back. No machine is started from now on.
func (s *Service) Shutdown(ctx context.Context) {
	s.once.Do(func() { close(s.closing) })
	byPriority := map[int][]*running{}
	grace := map[*running]time.Duration{}
	for key, r := range s.live.snapshot() {
		v, err := s.viewByKey(ctx, key)
		if err != nil {
			slog.Error("Could not look up a running instance", "instance", key, "err", err)
		}
		p := number(v, "boot.stop.priority")
		byPriority[p] = append(byPriority[p], r)
		grace[r] = time.Duration(number(v, "boot.host_shutdown_timeout")) * time.Second
	}
	priorities := []int{}
	for p := range byPriority {
		priorities = append(priorities, p)
	}
	slices.Sort(priorities)
	for _, p := range slices.Backward(priorities) {
		var wait sync.WaitGroup
		for _, r := range byPriority[p] {
			wait.Go(func() { s.shutOne(ctx, r, grace[r]) })
		}
		wait.Wait()
	}
}

func (s *Service) shutOne(ctx context.Context, r *running, grace time.Duration) {
	r.intend(hostDown, op.CallerOf(ctx))
	err := s.end(ctx, r, max(grace, time.Second))
	if err != nil && !errs.Is(err, errs.NotFound) {
		slog.Warn("An instance did not stop in time and is ended", "instance", r.key, "err", err)
		err = r.m.Kill(context.WithoutCancel(ctx))
	}
	if err == nil {
		err = s.settle(ctx, r)
	}
	if err != nil {
		slog.Error("Could not stop an instance", "instance", r.key, "err", err)
	}
}

// number reads a whole number that was validated.
func number(v view, name string) int {
	n, _ := strconv.Atoi(Keys.Get(v.config, name))
	return n
}

func compareKeys(a, b view) int { return cmp.Compare(a.key(), b.key()) }

// workers is how many instances are dealt with at the same time.
const workers = 8

// parallel calls do for each item, a few at a time, and waits.
func parallel[T any](items []T, do func(T)) {
	next := make(chan T)
	var wait sync.WaitGroup
	for range min(workers, len(items)) {
		wait.Go(func() {
			for it := range next {
				do(it)
			}
		})
	}
	for _, it := range items {
		next <- it
	}
	close(next)
	wait.Wait()
}
