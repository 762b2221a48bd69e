package instance

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/machine"
)

// resume takes up a machine that went on running while the daemon did not.
func (s *Service) resume(ctx context.Context, v view, m machine.Machine) error {
	r := &running{key: v.key(), m: m, gone: make(chan struct{})}
	s.cpus.Restore(r.key, v.Run.CPUs)
	l, err := config.Limits(v.config, s.d.Host.Memory, s.cpus.Assign(r.key, v.config["limits.cpu"], s.d.Host.CPUs))
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
		r.frozen.Store(status == machine.Frozen)
	}
	if v.Wanted {
		if err := s.want(ctx, v, false); err != nil {
			return err
		}
	}
	s.watch(r)
	return nil
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
	r.intend(hostDown)
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
