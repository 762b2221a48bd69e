package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/cgroup"
	"lxd/internal/host/run"
	"lxd/internal/machine"
)

// systemdHalt asks systemd to power off: the third real-time signal of the C library.
const systemdHalt = syscall.Signal(37)

// container is one running container.
type container struct {
	driver  *Driver
	handle  machine.Handle
	group   *cgroup.Group
	init    *run.Process
	monitor *run.Process
	done    chan struct{}
	exit    machine.Exit

	// placing is held while mounts and nodes come and go.
	placing sync.Mutex

	consoleLock sync.Mutex
	console     *console
}

var (
	_ machine.Machine = (*container)(nil)
	_ machine.Freezer = (*container)(nil)
	_ machine.Tuner   = (*container)(nil)
	_ machine.Console = (*container)(nil)
	_ machine.Rooter  = (*container)(nil)
)

// hold takes hold of a container by its processes.
func (d *Driver) hold(h machine.Handle) (machine.Machine, error) {
	c := &container{driver: d, handle: h, group: d.group(payloadGroup(h.ID, h.RunDir)), done: make(chan struct{})}
	var ok bool
	var err error
	if c.monitor, ok, err = run.Hold(h.MonitorPID, h.MonitorStartTime); err != nil {
		return nil, err
	}
	if !ok {
		return c.ended()
	}
	if c.init, ok, err = run.Hold(h.PID, h.StartTime); err != nil {
		return nil, err
	}
	if !ok { // it is just ending
		c.tidied()
		return c.ended()
	}
	go c.watch()
	return c, nil
}

// ended tidies up after a container that ended while nobody watched. If something of its name runs after all, it is not the one that
// was meant, and is left alone.
func (c *container) ended() (machine.Machine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	others, err := c.group.PIDs()
	if err != nil {
		return nil, err
	}
	if len(others) > 0 {
		return nil, errs.Newf(errs.NotFound, "machine %s does not run, but another in its place does", c.handle.ID)
	}
	if err := c.finish(ctx); err != nil {
		return nil, err
	}
	if !c.exit.Reboot {
		return nil, errs.Newf(errs.NotFound, "machine %s does not run", c.handle.ID)
	}
	close(c.done)
	return c, nil
}

// watch waits for the end.
func (c *container) watch() {
	defer close(c.done)
	<-c.init.Done()
	c.tidied()
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	// What cannot be removed now is no reason to call the machine running; the next start or Reap meets it again.
	_ = c.finish(ctx)
}

// tidied waits until the monitor has tidied up. What it leaves if it takes too long, finish removes.
func (c *container) tidied() {
	t := time.NewTimer(tidyTime)
	defer t.Stop()
	select {
	case <-c.monitor.Done():
	case <-t.C:
	}
}

// finish reads how the container ended and removes what is left of it.
func (c *container) finish(ctx context.Context) error {
	b, err := os.ReadFile(filepath.Join(c.handle.RunDir, exitFile))
	if err := gone(err); err != nil {
		return err
	}
	c.exit.Reboot = strings.TrimSpace(string(b)) == "reboot"
	return errors.Join(c.driver.end(ctx, c.handle.ID, c.handle.RunDir), c.driver.clean(c.handle.ID, c.handle.RunDir))
}

// Handle is what to store.
func (c *container) Handle() machine.Handle { return c.handle }

// Done is closed at the end.
func (c *container) Done() <-chan struct{} { return c.done }

// Exit says how it ended.
func (c *container) Exit() machine.Exit { return c.exit }

// Status looks.
func (c *container) Status(context.Context) (machine.Status, error) {
	if c.over() {
		return machine.Stopped, nil
	}
	frozen, err := c.group.Frozen()
	switch {
	case c.over() || err != nil && gone(err) == nil:
		return machine.Stopped, nil
	case err != nil:
		return machine.Stopped, err
	case frozen:
		return machine.Frozen, nil
	}
	return machine.Running, nil
}

func (c *container) finished() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *container) over() bool { return c.init == nil || !c.init.Running() }

// Stop asks for a shutdown in the way that the first program understands.
func (c *container) Stop(ctx context.Context, grace time.Duration) error {
	if !c.over() {
		if err := c.init.Signal(c.haltSignal()); err != nil {
			return err
		}
	}
	limit, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case <-limit.Done():
		if c.finished() {
			return nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return errs.Newf(errs.Unavailable, "the instance has not shut down within %v; it still runs: wait longer, or force it", grace)
	}
}

// haltSignal is SIGPWR, but systemd blocks a signal of its own for this.
func (c *container) haltSignal() syscall.Signal {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.handle.PID))
	if err != nil {
		return syscall.SIGPWR
	}
	_, rest, _ := strings.Cut(string(b), "\nSigBlk:")
	line, _, _ := strings.Cut(rest, "\n")
	blocked, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err == nil && blocked>>(systemdHalt-1)&1 == 1 {
		return systemdHalt
	}
	return syscall.SIGPWR
}

// Kill ends it. The kernel ends all processes of a pid namespace with its first one.
func (c *container) Kill(ctx context.Context) error {
	if !c.over() {
		if err := c.init.Signal(unix.SIGKILL); err != nil {
			return err
		}
		// what is frozen, or about to be, dies when it is thawed; a group that is gone needs nothing
		if err := c.group.Thaw(ctx); gone(err) != nil && !c.over() {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	case <-time.After(patience):
		// a guest can have frozen itself in a group of its own, and go on doing so until all of it is killed
		if err := c.group.Kill(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return errs.Newf(errs.Unavailable, "machine %s does not end, not even when killed: %w", c.handle.ID, ctx.Err())
	}
}

// Freeze stops all its processes.
func (c *container) Freeze(ctx context.Context) error { return c.group.Freeze(ctx) }

// Thaw lets them go on.
func (c *container) Thaw(ctx context.Context) error { return c.group.Thaw(ctx) }

// Tune changes limits. Some depend on each other in an order that depends on their present values, so what fails is tried once more.
func (c *container) Tune(ctx context.Context, l machine.Limits) error {
	list := settings(Host{Cgroups: c.driver.tree, Files: c.driver.files}, l)
	var failed error
	for range 2 {
		failed = nil
		for _, s := range list {
			if s.file == "cpuset.cpus" && s.value == "" && c.driver.tree.Version("cpuset") == 1 {
				all, err := c.driver.group("").Get("cpuset", s.file)
				if err != nil {
					return err
				}
				s.value = all
			}
			if err := c.group.Set(s.controller, s.file, s.value+"\n"); err != nil {
				failed = errors.Join(failed, fmt.Errorf("set %s to %q: %w", s.file, s.value, err))
			}
		}
		if failed == nil {
			return nil
		}
	}
	return failed
}

// hybrid sets the limits that liblxc leaves out: on hosts with both versions of control groups those of version 2.
func (c *container) hybrid(l machine.Limits) error {
	if c.driver.tree.Version("devices") != 1 {
		return nil
	}
	for _, s := range limited(settings(Host{Cgroups: c.driver.tree, Files: c.driver.files}, l)) {
		if c.driver.tree.Version(s.controller) == 2 {
			if err := c.group.Set(s.controller, s.file, s.value); err != nil {
				return fmt.Errorf("set %s to %q: %w", s.file, s.value, err)
			}
		}
	}
	return nil
}
