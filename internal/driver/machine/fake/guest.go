package fake

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// guest is one machine.
type guest struct {
	plan   machine.Plan
	handle machine.Handle
	began  time.Time
	done   chan struct{}

	mu        sync.Mutex
	frozen    bool
	limits    machine.Limits
	exit      machine.Exit
	ended     bool
	pids      int
	processes map[*process]bool
	console   *console
	// mounts are by their targets, nodes by their paths.
	mounts map[string]machine.Mount
	nodes  map[string]bool
}

var (
	_ machine.Machine    = (*guest)(nil)
	_ machine.Freezer    = (*guest)(nil)
	_ machine.Tuner      = (*guest)(nil)
	_ machine.Console    = (*guest)(nil)
	_ machine.Namespacer = (*guest)(nil)
	_ machine.Mounter    = (*guest)(nil)
)

// Handle is what to store.
func (g *guest) Handle() machine.Handle { return g.handle }

// Done is closed at the end.
func (g *guest) Done() <-chan struct{} { return g.done }

// Exit says how it ended.
func (g *guest) Exit() machine.Exit {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.exit
}

// Status tells what it does.
func (g *guest) Status(context.Context) (machine.Status, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended:
		return machine.Stopped, nil
	case g.frozen:
		return machine.Frozen, nil
	}
	return machine.Running, nil
}

// Stop shuts it down, unless it is frozen.
func (g *guest) Stop(ctx context.Context, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s, _ := g.Status(ctx); s != machine.Frozen { // never fails
		g.end(false)
		return nil
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errs.Newf(errs.Unavailable, "the instance has not shut down within %v; it still runs: wait longer, or force it", grace)
	}
}

// Kill ends it.
func (g *guest) Kill(context.Context) error {
	g.end(false)
	return nil
}

// Freeze pauses it.
func (g *guest) Freeze(context.Context) error { return g.freeze(true) }

// Thaw lets it go on.
func (g *guest) Thaw(context.Context) error { return g.freeze(false) }

func (g *guest) freeze(frozen bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return errs.Newf(errs.Unavailable, "machine %s does not run", g.handle.ID)
	}
	g.frozen = frozen
	return nil
}

// Tune remembers the limits.
func (g *guest) Tune(_ context.Context, l machine.Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l
	return nil
}

// Usage makes numbers up, out of the time that has passed and the processes that there are.
func (g *guest) Usage(context.Context) (machine.Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return machine.Usage{}, errs.Newf(errs.Unavailable, "machine %s does not run", g.handle.ID)
	}
	n := int64(1 + len(g.processes))
	u := machine.Usage{
		PID: g.handle.PID, Processes: n, CPUNanos: int64(time.Since(g.began)) + 1, MemoryBytes: n << 20, MemoryPeak: n << 20,
		Networks: []machine.Interface{{Name: "lo", Type: "loopback", State: "up", MTU: 65536, Addresses: []machine.Address{
			{Family: "inet", Address: "127.0.0.1", Netmask: 8, Scope: "local"}, {Family: "inet6", Address: "::1", Netmask: 128, Scope: "local"},
		}}},
	}
	for _, n := range g.plan.NICs {
		u.Networks = append(u.Networks, machine.Interface{
			Name: n.Name, HostName: n.HostName, Hwaddr: n.Hwaddr, Type: "broadcast", State: "up", MTU: cmp.Or(n.MTU, 1500),
		})
	}
	return u, nil
}

// Exec runs one of the programs of this package.
func (g *guest) Exec(ctx context.Context, c machine.Command) (machine.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := g.refuse(&c); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, errs.Newf(errs.Unavailable, "machine %s does not run", g.handle.ID)
	}
	g.pids++
	p, err := newProcess(g, g.handle.PID+g.pids<<8, c)
	if err != nil {
		return nil, err
	}
	g.processes[p] = true
	go p.run(c)
	return p, nil
}

// refuse fails on commands that cannot be run, and fills in the folder.
func (g *guest) refuse(c *machine.Command) error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return errs.Newf(errs.Invalid, "there is no command to run")
	}
	if strings.IndexByte(strings.Join(c.Args, " ")+strings.Join(c.Env, " ")+c.Dir, 0) >= 0 {
		return errs.Newf(errs.Invalid, "the command, its environment or its folder has a NUL character")
	}
	if c.Dir == "" {
		c.Dir = "/root"
		for _, v := range c.Env {
			if home, ok := strings.CutPrefix(v, "HOME="); ok {
				c.Dir = home
			}
		}
		if !slices.Contains(folders, c.Dir) {
			c.Dir = "/"
		}
	}
	if !slices.Contains(folders, c.Dir) {
		return errs.Newf(errs.Invalid, "%s: no such folder", c.Dir)
	}
	return nil
}

// Namespace opens that of this process, since there is no other.
func (g *guest) Namespace(kind string) (*os.File, error) {
	if g.over() {
		return nil, errs.Newf(errs.NotFound, "machine %s does not run", g.handle.ID)
	}
	return os.Open("/proc/self/ns/" + filepath.Base(kind))
}

func (g *guest) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// end stops everything in it.
func (g *guest) end(reboot bool) {
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return
	}
	g.ended, g.exit = true, machine.Exit{Reboot: reboot}
	list := make([]*process, 0, len(g.processes))
	for p := range g.processes {
		list = append(list, p)
	}
	con := g.console
	g.mu.Unlock()
	for _, p := range list {
		p.finish(128 + int(syscall.SIGKILL))
	}
	if con != nil {
		con.hangUp()
	}
	close(g.done)
}

// console is one opening of the console, which shows what is typed.
type console struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (c *console) Write(b []byte) (int, error) {
	copied := slices.Clone(b)
	// whoever types need not read at the same time
	go func() { _, _ = c.w.Write(copied) }()
	return len(b), nil
}

func (c *console) hangUp() { _ = c.w.CloseWithError(io.EOF) } // never fails

// Console opens the console and ends an earlier opening.
func (g *guest) Console(context.Context) (io.ReadWriteCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, errs.Newf(errs.Unavailable, "machine %s does not run", g.handle.ID)
	}
	if g.console != nil {
		g.console.hangUp()
	}
	r, w := io.Pipe()
	g.console = &console{r, w}
	return g.console, nil
}

// ConsoleLog is what booting shows.
func (g *guest) ConsoleLog(context.Context) ([]byte, error) { return []byte("booted\n"), nil }
