package op

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lxd/internal/store"
	"lxd/internal/undo"
)

// lag is how long a completed step may stay out of the journal: short operations then write it only twice.
const lag = 100 * time.Millisecond

// Task is what the work sees of its operation. Its methods may be called at the same time.
type Task struct {
	undo.Stack
	o *Operation

	mu    sync.Mutex
	done  []string
	timer *time.Timer
	// closed ends the late writing of steps.
	closed bool
	// unclean is set when an undo step failed: the journal is then kept for the next start.
	unclean atomic.Bool
}

// ID is the id of the operation.
func (t *Task) ID() string { return t.o.id }

// Add records how to undo what was just done.
func (t *Task) Add(what string, back func(context.Context) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Stack.Add(what, func(ctx context.Context) error {
		err := back(ctx)
		if err != nil {
			t.unclean.Store(true)
		}
		return err
	})
}

// Step runs do; once it succeeded, back (which may be nil) undoes it if a later step fails or the operation is cancelled.
// Its name is journalled, and is what failpoints aim at.
func (t *Task) Step(ctx context.Context, name string, do, back func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	if err := t.hook(name, "before"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := do(ctx); err != nil {
		return err // without the name, which says nothing to users
	}
	if back != nil {
		t.Add(name, back)
	}
	t.completed(name)
	if err := t.hook(name, "after"); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Sync makes the steps done so far durable in the journal, for work whose recovery depends on them.
func (t *Task) Sync(ctx context.Context) error {
	if t.o.spec.Args == nil {
		return nil
	}
	return t.o.m.mark(ctx, t.o.id, t.steps())
}

// EndJournal removes the journal in a transaction of the work's own, its last one: what follows is not recovered, and the
// end of the operation costs no write.
func (t *Task) EndJournal(tx store.Tx) error { return journals.Delete(tx, t.o.id) }

// Progress shows text as metadata[key] of the operation; listeners hear of it at a limited rate.
func (t *Task) Progress(key, text string) {
	t.o.set(key, text)
	t.o.announceSoon()
}

// SetMetadata sets a value that clients see in the operation.
func (t *Task) SetMetadata(key string, v any) {
	t.o.set(key, v)
	t.o.announceSoon()
}

func (t *Task) hook(step, moment string) error {
	if h := t.o.m.o.Hook; h != nil {
		return h(t.o.spec.Kind, step, moment)
	}
	return nil
}

func (t *Task) steps() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.done)
}

// completed notes a step and sees to it that it is written down if the operation lasts.
func (t *Task) completed(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = append(t.done, name)
	if t.timer == nil && !t.closed && t.o.spec.Args != nil {
		t.timer = time.AfterFunc(lag, t.write)
	}
}

func (t *Task) write() {
	t.mu.Lock()
	t.timer = nil
	closed, done := t.closed, slices.Clone(t.done)
	t.mu.Unlock()
	if !closed {
		// A mark that is lost makes recovery look closer, not go wrong.
		_ = t.o.m.mark(context.WithoutCancel(t.o.ctx), t.o.id, done)
	}
}

// stop ends the late writing; mark itself never brings a journal back.
func (t *Task) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
