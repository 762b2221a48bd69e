package op

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/store"
)

const (
	// keep is how long an ended operation can still be read.
	keep = 5 * time.Second
	// patience is how long Close waits for cancelled work; that is longer than undo steps may take.
	patience = 45 * time.Second
)

// Options is what a Manager needs.
type Options struct {
	// Store keeps the journals.
	Store store.Store
	// Publish gets an event at each change of an operation; nil is no one.
	Publish event.Publisher
	// Location is the name of this member.
	Location string
	// Hook is called around each step; nil is none.
	Hook Hook
}

// Manager starts and finds the operations of this member. Its methods may be called at the same time.
type Manager struct {
	base context.Context // ends when the daemon does; operations see it as a cancel
	o    Options

	mu         sync.Mutex
	ops        map[string]*Operation
	held       map[string]*Operation
	recoverers map[string]Recoverer
	closed     bool
	running    sync.WaitGroup
}

// NewManager returns a manager whose operations end with base.
func NewManager(base context.Context, o Options) *Manager {
	return &Manager{base: base, o: o, ops: map[string]*Operation{}, held: map[string]*Operation{}, recoverers: map[string]Recoverer{}}
}

// Start runs s in the background, on behalf of the Caller in ctx. It fails with Conflict while one of the locks is held, and
// with Unavailable after Close.
func (m *Manager) Start(ctx context.Context, s Spec) (*Operation, error) {
	if s.Class == "" {
		s.Class = TaskClass
	}
	o := m.newOperation(CallerOf(ctx), s)
	if err := m.admit(o); err != nil {
		o.cancel(err)
		return nil, err
	}
	o.announce()
	o.begin()
	go m.run(o)
	return o, nil
}

// Get finds a running operation, or one that ended a moment ago.
func (m *Manager) Get(id string) (*Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.ops[id]; ok {
		return o, nil
	}
	return nil, errs.Newf(errs.NotFound, "operation %q not found: it ended more than %d seconds ago, or never was", id, int(keep.Seconds()))
}

// List returns the operations of a project and those of the server, oldest first; "" is all projects.
func (m *Manager) List(project string) []*Operation {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.ops))
	m.mu.Unlock()
	all = slices.DeleteFunc(all, func(o *Operation) bool {
		return project != "" && o.Project() != "" && o.Project() != project
	})
	slices.SortFunc(all, func(a, b *Operation) int { return a.created.Compare(b.created) })
	return all
}

// Close lets no new operation start, ends those that wait for a client, and waits for the others. When ctx ends it cancels
// them and waits until they have undone what they did. Work that does not even end then is left to Recover.
func (m *Manager) Close(ctx context.Context) {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancelAll(func(o *Operation) bool { return o.spec.Class != TaskClass })
	idle := make(chan struct{})
	go func() {
		m.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		m.cancelAll(func(*Operation) bool { return true })
		select {
		case <-idle:
		case <-time.After(patience):
			slog.Error("Operations did not end when they were cancelled: what they left is recovered at the next start")
		}
	}
}

func (m *Manager) cancelAll(which func(*Operation) bool) {
	for _, o := range m.List("") {
		if which(o) {
			_ = o.Cancel(m.base) // one that ended meanwhile is what is wanted
		}
	}
}

func (m *Manager) newOperation(c Caller, s Spec) *Operation {
	now := time.Now()
	o := &Operation{
		id: NewUUID(), spec: s, caller: c, created: now, updated: now, m: m, done: make(chan struct{}),
		status: api.StatusOperationCreated, metadata: maps.Clone(s.Metadata),
	}
	o.ctx, o.cancel = context.WithCancelCause(WithCaller(m.base, c))
	return o
}

// admit takes the locks and makes the operation known, or says who is in the way.
func (m *Manager) admit(o *Operation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.base.Err() != nil {
		return errs.Newf(errs.Unavailable, "the server is shutting down: no new operations are started")
	}
	for _, l := range o.spec.Locks {
		if h := m.held[l]; h != nil {
			return errs.Newf(errs.Conflict, "%s is busy: %s (operation %s) is under way: wait for it or cancel it", l, h.spec.Description, h.id)
		}
	}
	for _, l := range o.spec.Locks {
		m.held[l] = o
	}
	m.ops[o.id] = o
	m.running.Add(1)
	return nil
}

func (m *Manager) run(o *Operation) {
	defer m.running.Done()
	err := m.work(o)
	m.mu.Lock()
	for _, l := range o.spec.Locks {
		delete(m.held, l)
	}
	m.mu.Unlock()
	o.setStatus(o.outcome(err), err)
	close(o.done)
	o.cancel(nil)
	time.AfterFunc(keep, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.ops, o.id)
	})
}

// work journals, runs and rolls back; nothing of the operation is left running when it returns.
func (m *Manager) work(o *Operation) error {
	t := &Task{o: o}
	// A write that is cancelled midway may have happened or not, so this one never is.
	err := m.record(context.WithoutCancel(o.ctx), o)
	if err == nil {
		err = t.run()
	}
	t.stop()
	if o.spec.Args == nil {
		return err
	}
	if t.unclean.Load() {
		slog.Error("An operation could not undo what it did: its journal is kept and is recovered at the next start",
			"operation", o.id, "kind", o.spec.Kind, "err", err)
		return err
	}
	if e := m.forget(context.WithoutCancel(o.ctx), o.id); e != nil {
		err = errors.Join(err, fmt.Errorf("remove the journal: %w", e))
	}
	return err
}

// run calls the work; a panic of it is a failure like any other, with the stack in the log.
func (t *Task) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("An operation panicked", "operation", t.o.id, "kind", t.o.spec.Kind, "panic", p, "stack", string(debug.Stack()))
			err = errs.Newf(errs.Internal, "%s: internal error: %v", t.o.spec.Description, p)
		}
	}()
	defer t.Unwind(t.o.ctx, &err)
	if t.o.spec.Run == nil {
		<-t.o.ctx.Done()
	}
	if t.o.ctx.Err() != nil {
		return context.Cause(t.o.ctx)
	}
	if err = t.o.spec.Run(t.o.ctx, t); t.o.ctx.Err() != nil && merely(err, context.Canceled) {
		err = context.Cause(t.o.ctx) // says who stopped it
	}
	return err
}

// merely tells whether err is only what, in however many words, and nothing else besides.
func merely(err, what error) bool {
	for err != nil && err != what {
		err = errors.Unwrap(err)
	}
	return err != nil
}

// outcome is the final status: work that fails after it was told to stop counts as cancelled.
func (o *Operation) outcome(err error) api.StatusCode {
	switch {
	case err == nil:
		return api.StatusSuccess
	case o.ctx.Err() != nil || errs.Is(err, errs.Canceled):
		return api.StatusCancelled
	}
	return api.StatusFailure
}
