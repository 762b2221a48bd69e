package instance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/instance/cpu"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/schema"
)

// patience is how long a clean stop may take when the request names no time.
const patience = 600 * time.Second

// SetState returns the work that starts, stops, restarts, freezes or unfreezes an instance.
func (s *Service) SetState(ctx context.Context, proj, name string, put api.InstanceStatePut) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	work, err := s.changer(put)
	if err != nil {
		return op.Spec{}, err
	}
	return work(v.Record), nil
}

// changer finds what makes the work that a state change asks for.
func (s *Service) changer(put api.InstanceStatePut) (func(Record) op.Spec, error) {
	if put.Stateful {
		return nil, errs.Newf(errs.Unsupported, "saving the running state is not supported yet by this server: leave stateful out")
	}
	grace := time.Duration(put.Timeout) * time.Second
	switch {
	case put.Force:
		grace = 0
	case put.Timeout < 0:
		grace = patience
	}
	switch put.Action {
	case "start":
		return func(r Record) op.Spec { return s.startSpec(r, api.LifecycleInstanceStarted) }, nil
	case "stop":
		return func(r Record) op.Spec { return s.stopSpec(r, grace) }, nil
	case "restart":
		return func(r Record) op.Spec { return s.restartSpec(r, grace) }, nil
	case "freeze", "unfreeze":
		return func(r Record) op.Spec { return s.pauseSpec(r, put.Action == "freeze") }, nil
	}
	return nil, errs.Newf(errs.Invalid, "unknown action %q: it is one of start, stop, restart, freeze, unfreeze", put.Action)
}

func (s *Service) startSpec(r Record, action string) op.Spec {
	o := spec("instance-start", api.OperationStartingInstance, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		cur, err := s.current(ctx, r.key())
		if err == nil && cur != nil && cur.frozen.Load() {
			return s.pause(ctx, t, r, false)
		}
		if err = s.start(ctx, t, r.key(), action); err == nil {
			s.started(ctx, r)
		}
		return err
	}
	return o
}

// started notes what is to be known of an instance that was started.
func (s *Service) started(ctx context.Context, r Record) {
	s.tell(ctx, api.WarningFailedToAutostartInstance, r, nil)
	v, err := s.view(ctx, r.Project, r.Name)
	if err != nil {
		return // it is gone already
	}
	var deaf error
	for _, cfg := range v.devices {
		six := strings.Contains(cfg["listen"], "[")
		if cfg["type"] == "proxy" && schema.IsTrue(cfg["nat"]) && s.d.BridgeFilter != nil && !s.d.BridgeFilter(six) {
			deaf = errs.Newf(errs.Precondition, "bridged packets do not pass the firewall: instances on the same bridge cannot reach the address that a proxy with nat listens on; load br_netfilter")
		}
	}
	s.tell(ctx, api.WarningProxyBridgeNetfilterNotEnabled, r, deaf)
}

func (s *Service) stopSpec(r Record, grace time.Duration) op.Spec {
	o := spec("instance-stop", api.OperationStoppingInstance, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		why := shutdown
		if grace == 0 {
			why = stopped
		}
		if err := s.stop(ctx, t, r.key(), grace, why); err != nil {
			return err
		}
		if !r.Ephemeral {
			return nil
		}
		return s.destroy(ctx, t, r.key())
	}
	return o
}

func (s *Service) restartSpec(r Record, grace time.Duration) op.Spec {
	o := spec("instance-restart", api.OperationRestartingInstance, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		if err := s.stop(ctx, t, r.key(), grace, restarting); err != nil {
			return err
		}
		return s.start(ctx, t, r.key(), api.LifecycleInstanceRestarted)
	}
	return o
}

// stop ends a running machine: at once without grace, else by asking it to. When it returns nil the instance is stopped and
// cleaned up.
func (s *Service) stop(ctx context.Context, t *op.Task, key string, grace time.Duration, why ending) error {
	r, err := s.current(ctx, key)
	if err != nil {
		return err
	}
	if r == nil {
		return errs.Newf(errs.Invalid, "the instance is already stopped")
	}
	r.intend(why, op.CallerOf(ctx))
	if err := t.Step(ctx, "stop", func(ctx context.Context) error { return s.end(ctx, r, grace) }, nil); err != nil {
		if !r.over() {
			r.intend(byItself, op.Caller{})
		}
		return err
	}
	return t.Step(context.WithoutCancel(ctx), "settle", func(ctx context.Context) error { return s.settle(ctx, r) }, nil)
}

// end makes the machine end and waits for it.
func (s *Service) end(ctx context.Context, r *running, grace time.Duration) error {
	if grace == 0 {
		var group sync.WaitGroup
		group.Go(func() { s.unplugAll(ctx, r.key) })
		defer group.Wait()
		return r.m.Kill(ctx)
	}
	if r.frozen.Load() {
		if err := s.thaw(ctx, r); err != nil {
			return err
		}
	}
	err := r.m.Stop(ctx, grace)
	if errs.Is(err, errs.Unavailable) {
		return fmt.Errorf("the instance did not stop within %s and goes on running: %w", grace, err)
	}
	return err
}

func (s *Service) pauseSpec(r Record, freeze bool) op.Spec {
	o := spec("instance-unfreeze", api.OperationUnfreezingInstance, r)
	if freeze {
		o = spec("instance-freeze", api.OperationFreezingInstance, r)
	}
	o.Run = func(ctx context.Context, t *op.Task) error { return s.pause(ctx, t, r, freeze) }
	return o
}

// pause freezes or thaws a running machine.
func (s *Service) pause(ctx context.Context, t *op.Task, rec Record, freeze bool) error {
	r, err := s.current(ctx, rec.key())
	switch {
	case err != nil:
		return err
	case r == nil:
		return errs.Newf(errs.Invalid, "the instance is not running")
	case freeze && r.frozen.Load():
		return errs.Newf(errs.Invalid, "the instance is already frozen")
	case !freeze && !r.frozen.Load():
		return errs.Newf(errs.Invalid, "the instance is not frozen")
	}
	action, do := api.LifecycleInstanceResumed, s.thaw
	if freeze {
		action, do = api.LifecycleInstancePaused, s.freeze
	}
	if err := t.Step(ctx, "freezer", func(ctx context.Context) error { return do(ctx, r) }, nil); err != nil {
		return err
	}
	s.announce(change(ctx, action, rec))
	return nil
}

func (s *Service) freeze(ctx context.Context, r *running) error {
	f, ok := r.m.(machine.Freezer)
	if !ok {
		return errNoFreezer()
	}
	if err := f.Freeze(ctx); err != nil {
		return err
	}
	r.frozen.Store(true)
	return nil
}

func (s *Service) thaw(ctx context.Context, r *running) error {
	f, ok := r.m.(machine.Freezer)
	if !ok {
		return errNoFreezer()
	}
	if err := f.Thaw(ctx); err != nil {
		return err
	}
	r.frozen.Store(false)
	return nil
}

func errNoFreezer() error {
	return errs.Newf(errs.Unsupported, "this server cannot freeze instances of this type")
}

// limits are those of a running instance. Its CPUs are those that it names, or as many as it asks for, of its NUMA nodes if it names such.
func (s *Service) limits(key string, keys map[string]string) (machine.Limits, error) {
	if err := cpu.Present(keys["limits.cpu"], s.d.Host.CPUs); err != nil {
		return machine.Limits{}, err
	}
	return config.Limits(keys, s.d.Host.Memory, s.cpuset(key, keys))
}

func (s *Service) cpuset(key string, keys map[string]string) string {
	want := keys["limits.cpu"]
	if keys["limits.cpu.nodes"] == "" {
		return s.cpus.Assign(key, want, s.d.Host.CPUs)
	}
	near := cpu.Near(keys["limits.cpu.nodes"], s.d.Host.Nodes)
	if want == "" {
		want = strconv.Itoa(len(near))
	}
	return s.cpus.Assign(key, want, near)
}

// tune gives a running machine the limits that its configuration asks for now; one that does not run needs nothing.
func (s *Service) tune(ctx context.Context, key string) error {
	r := s.live.get(key)
	if r == nil || r.over() {
		return nil
	}
	v, err := s.viewByKey(ctx, key)
	if err != nil {
		return err
	}
	want, err := s.limits(key, v.config)
	if err != nil {
		return err
	}
	if err := s.loadModules(ctx, v.config); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if want == r.limits {
		return nil
	}
	tuner, ok := r.m.(machine.Tuner)
	if !ok {
		return errs.Newf(errs.Unsupported, "limits of a running instance of this type cannot be changed: stop it first")
	}
	if err := tuner.Tune(ctx, want); err != nil {
		if r.over() {
			return nil // it has stopped meanwhile and takes them at its next start
		}
		return errors.Join(fmt.Errorf("limits of the running instance: %w", err), tuner.Tune(context.WithoutCancel(ctx), r.limits))
	}
	r.limits = want
	return nil
}
