package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/device"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/store"
)

// watch follows a running machine until its end has been dealt with, or the service is closed.
func (s *Service) watch(r *running) {
	s.live.add(r)
	s.wait.Go(func() {
		select {
		case <-r.m.Done():
		case <-s.base.Done():
			return
		}
		why, _ := r.intent()
		if err := s.settle(s.base, r); err != nil {
			slog.Error("Could not clean up after an instance that stopped: it is tried again at its next start", "instance", r.key, "err", err)
		}
		if why == byItself {
			s.follow(r)
		}
	})
}

// settle deals with the end of a machine, once: devices, mounts and record become those of a stopped instance. Whoever calls
// it gets the outcome.
func (s *Service) settle(ctx context.Context, r *running) error {
	r.once.Do(func() {
		defer close(r.gone)
		r.plugging.Lock() // what is being attached is written down, or taken back, before all is detached
		defer r.plugging.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		r.err = s.finish(ctx, r)
		if r.err == nil || errs.Is(r.err, errs.NotFound) {
			r.err = nil
		}
		s.cpus.Release(r.key)
		s.late.drop(r.key)
		s.live.remove(r)
	})
	<-r.gone
	return r.err
}

// cleanupTime is the most that cleaning up after one machine may take.
const cleanupTime = time.Minute

func (s *Service) finish(ctx context.Context, r *running) error {
	v, err := s.viewByKey(ctx, r.key)
	if err != nil {
		return err
	}
	if err := s.release(ctx, v); err != nil {
		return err
	}
	why, by := r.intent()
	return s.markStopped(op.WithCaller(ctx, by), v, why) // whoever noticed the end first is not who asked for it
}

// release takes from the host what a machine that has ended was given, all of it at the same time: the kernel takes a while for
// each.
func (s *Service) release(ctx context.Context, v view) error {
	as := v.attached()
	failures := make([]error, len(as.devices)+1)
	var group sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(as.devices)) {
		group.Go(func() { failures[i] = s.detachOne(ctx, as, name) })
	}
	group.Go(func() { failures[len(as.devices)] = s.unmountRoot(ctx, v) })
	group.Wait()
	return errors.Join(append(failures, s.closeSocket(v))...)
}

// attached is the view with the devices as they were attached.
func (v view) attached() view {
	if v.Run == nil || v.Run.Devices == nil {
		return v
	}
	as := v.withVolatile(v.Run.Volatile)
	as.devices = v.Run.Devices
	return as
}

func (s *Service) detachOne(ctx context.Context, v view, name string) error {
	d, err := s.buildOne(ctx, v, name, device.Env{Leaving: true})
	if err == nil {
		err = d.Detach(ctx)
	}
	if err != nil {
		return fmt.Errorf("device %q: %w", name, err)
	}
	return nil
}

// unplugAll takes the NICs of a machine away that is being killed, so that the kernel does both at the same time. What it cannot do
// settle does and reports.
func (s *Service) unplugAll(ctx context.Context, key string) {
	v, err := s.viewByKey(ctx, key)
	if err != nil {
		return
	}
	as := v.attached()
	for name, cfg := range as.devices {
		if cfg["type"] == "nic" {
			_ = s.detachOne(ctx, as, name)
		}
	}
}

// sweep makes the host and the record those of a stopped instance, whatever a crash left behind. It is idempotent.
func (s *Service) sweep(ctx context.Context, v view) error {
	err := errors.Join(s.d.Machine.Reap(ctx, v.ID(), s.runDir(v.Record)), s.release(ctx, v))
	if err != nil || v.Run == nil {
		return err
	}
	s.cpus.Release(v.key())
	return s.markStopped(ctx, v, byItself)
}

// events of endings.
var endEvents = map[ending]string{
	byItself: api.LifecycleInstanceShutdown, shutdown: api.LifecycleInstanceShutdown, stopped: api.LifecycleInstanceStopped,
	hostDown: api.LifecycleInstanceShutdown,
}

// markStopped writes down that the instance does not run.
func (s *Service) markStopped(ctx context.Context, v view, why ending) error {
	volatile := map[string]string{"volatile.last_state.ready": "false", "volatile.last_state.power": powerOff}
	if why == hostDown {
		delete(volatile, "volatile.last_state.power")
	}
	if v.Run != nil {
		for k := range v.Run.Volatile {
			if !lasting(k) {
				volatile[k] = ""
			}
		}
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if action := endEvents[why]; action != "" {
			tx.Announce(change(ctx, action, v.Record))
		}
		return Collection.Modify(tx, v.key(), func(r *Record) error {
			r.Run = nil
			r.setVolatile(volatile)
			return nil
		})
	})
}

// lasting tells volatile keys of devices that outlive a run from those that belong to one.
func lasting(name string) bool {
	k, ok := Keys.Lookup(name)
	return ok && k.Name == "volatile.<name>.hwaddr"
}

// follow does what the end of a machine that nobody asked for calls for: a guest that rebooted is started again, an ephemeral
// instance is deleted.
func (s *Service) follow(r *running) {
	reboot := r.m.Exit().Reboot
	v, err := s.viewByKey(s.base, r.key)
	if err != nil || !reboot && !v.Ephemeral {
		return
	}
	for {
		next := s.deletion(v.Record, false)
		if reboot {
			next = s.startSpec(v.Record, api.LifecycleInstanceRestarted)
		}
		_, err := s.d.Ops.Start(s.base, next)
		if !errs.Is(err, errs.Conflict) {
			if err != nil && s.base.Err() == nil {
				slog.Error("Could not deal with an instance that ended by itself", "instance", r.key, "reboot", reboot, "err", err)
			}
			return
		}
		select { // another operation has it: it may be one that leaves it as it is
		case <-time.After(followPause):
		case <-s.closing:
			return
		}
		if now := s.live.get(r.key); now != nil {
			return // that operation has started it
		}
	}
}

// followPause is the time between two attempts to get hold of an instance that ended by itself.
const followPause = 200 * time.Millisecond
