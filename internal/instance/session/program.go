package session

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"syscall"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/machine"
)

// How long programs have to end: after a hang-up, and after they were killed.
const (
	hangUpTime = 3 * time.Second
	killTime   = 10 * time.Second
)

// program is a started process and whether it has ended.
type program struct {
	machine.Process
	interactive bool
	// done is closed once the program has ended, at that time.
	done chan struct{}
	at   time.Time
}

func newProgram(p machine.Process, interactive bool) *program {
	return &program{Process: p, interactive: interactive, done: make(chan struct{})}
}

// hangUp ends the program because its client has gone: one with a terminal is told as when a line drops, and killed if it
// does not heed that; any other is killed at once.
func (g *program) hangUp() {
	if g.ended() {
		return
	}
	if !g.interactive {
		_ = g.Signal(syscall.SIGKILL) // one that ended meanwhile is what is wanted
		return
	}
	_ = g.Signal(syscall.SIGHUP)
	time.AfterFunc(hangUpTime, func() {
		if !g.ended() {
			_ = g.Signal(syscall.SIGKILL)
		}
	})
}

// end notes that the program has ended.
func (g *program) end() {
	g.at = time.Now()
	close(g.done)
}

// spent tells whether the program ended so long ago that its outputs are not waited for any more.
func (g *program) spent() bool { return g.ended() && time.Since(g.at) > drainMost }

// ended tells whether the program has ended.
func (g *program) ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// command does what one message of the control websocket says; what it does not understand it leaves.
func (g *program) command(message []byte) {
	var c api.InstanceExecControl
	if json.Unmarshal(message, &c) != nil {
		return
	}
	switch c.Command {
	case "window-resize":
		w, err1 := strconv.ParseUint(c.Args["width"], 10, 16)
		h, err2 := strconv.ParseUint(c.Args["height"], 10, 16)
		if err1 == nil && err2 == nil && g.interactive {
			_ = g.Resize(int(w), int(h)) // a terminal that has closed needs no size
		}
	case "signal":
		if c.Signal > 0 && c.Signal <= 64 {
			_ = g.Signal(syscall.Signal(c.Signal)) // a program that has ended needs none
		}
	}
}

// Wait returns the exit code of a program once it has ended. The end of ctx kills it.
func Wait(ctx context.Context, p machine.Process) (int, error) {
	code, err := p.Wait(ctx)
	if ctx.Err() == nil {
		return code, err
	}
	if e := p.Signal(syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
		return 0, errors.Join(context.Cause(ctx), e)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if _, err := p.Wait(last); err != nil {
		return 0, errs.Newf(errs.Internal, "the command was killed and did not end: %w", err)
	}
	return 0, context.Cause(ctx)
}
