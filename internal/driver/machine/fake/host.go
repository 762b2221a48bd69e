// Package fake runs machines that exist in memory only, with a handful of programs that are functions. It keeps the contract of
// machine drivers, so that everything above them can be tested without root.
package fake

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// Host is what outlives a daemon: the machines that run. Its zero value is ready.
type Host struct {
	// OnStart is called before a machine starts, for tests that want a start to fail or to wait; nil is fine.
	OnStart func(ctx context.Context, p machine.Plan) error

	mu       sync.Mutex
	machines map[string]*guest
	clock    uint64
}

// Driver is the driver of one daemon on h; many may share it.
func (h *Host) Driver() *Driver { return &Driver{h} }

// Running lists the ids of the machines that run.
func (h *Host) Running() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for _, g := range h.machines {
		if !g.over() {
			ids = append(ids, g.plan.ID)
		}
	}
	return ids
}

// Driver is a machine.Driver.
type Driver struct{ host *Host }

// Name is that of the driver it stands in for.
func (d *Driver) Name() string { return "lxc" }

// Probe finds everything there.
func (d *Driver) Probe(context.Context) (machine.Info, error) {
	return machine.Info{Version: "fake", Features: map[string]bool{}}, nil
}

// Start runs p.
func (d *Driver) Start(ctx context.Context, p machine.Plan) (machine.Machine, error) {
	if err := check(p); err != nil {
		return nil, err
	}
	if f := d.host.OnStart; f != nil {
		if err := f(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := connect(ctx, p.Connect); err != nil {
		return nil, err
	}
	h := d.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.machines[key(p.ID, p.RunDir)]; g != nil && !g.over() {
		return nil, errs.Newf(errs.Conflict, "machine %s already runs", p.ID)
	}
	h.clock++
	g := &guest{
		plan: p, began: time.Now(), done: make(chan struct{}), processes: map[*process]bool{},
		mounts: map[string]machine.Mount{}, nodes: map[string]bool{},
		// beyond what the kernel gives to real processes
		handle: machine.Handle{
			Driver: d.Name(), ID: p.ID, RunDir: p.RunDir, PID: 1<<23 + int(h.clock), StartTime: h.clock, MonitorPID: 1<<24 + int(h.clock),
			MonitorStartTime: h.clock,
		},
	}
	for _, m := range p.Mounts {
		if err := g.Mount(ctx, m); err != nil {
			return nil, err
		}
	}
	for _, n := range p.Nodes {
		g.nodes[place(n.Path)] = true
	}
	if h.machines == nil {
		h.machines = map[string]*guest{}
	}
	h.machines[key(p.ID, p.RunDir)] = g
	return g, nil
}

// connect calls f with this process's own namespace, since there is no other.
func connect(ctx context.Context, f machine.Connect) error {
	if f == nil {
		return nil
	}
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer netns.Close()
	return f(ctx, netns)
}

// Reattach finds a machine that an earlier daemon started.
func (d *Driver) Reattach(_ context.Context, handle machine.Handle) (machine.Machine, error) {
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	g := d.host.machines[key(handle.ID, handle.RunDir)]
	if g == nil || g.handle != handle || g.over() && !g.Exit().Reboot {
		return nil, errs.Newf(errs.NotFound, "machine %s does not run", handle.ID)
	}
	return g, nil
}

// Reap ends a machine and forgets it.
func (d *Driver) Reap(_ context.Context, id, runDir string) error {
	d.host.mu.Lock()
	g := d.host.machines[key(id, runDir)]
	delete(d.host.machines, key(id, runDir))
	d.host.mu.Unlock()
	if g != nil {
		g.end(false)
	}
	return nil
}

func key(id, runDir string) string { return runDir + "\x00" + id }

// check refuses what real drivers refuse.
func check(p machine.Plan) error {
	if p.ID == "" || strings.Trim(p.ID, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return errs.Newf(errs.Invalid, "%q cannot be a machine's id", p.ID)
	}
	for name, value := range p.Env {
		if strings.ContainsFunc(name+value, unicode.IsControl) {
			return errs.Newf(errs.Invalid, "the environment variable %s has a control character", name)
		}
	}
	for line := range strings.SplitSeq(p.Raw, "\n") {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, "=") {
			return errs.Newf(errs.Invalid, "the line %q of raw.lxc is not of the form \"lxc.key = value\"", line)
		}
	}
	if _, err := os.Stat(p.RunDir); err != nil {
		return fmt.Errorf("the run folder of machine %s: %w", p.ID, err)
	}
	return nil
}
