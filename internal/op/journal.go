package op

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// Journal is what is kept of an operation while it runs.
type Journal struct {
	ID, Kind, Project, Location string
	Args                        json.RawMessage
	// Done are the names of the steps that were completed, in order. The newest may be missing: a step is written down a
	// little after it was done, unless the work asks for it with Task.Sync.
	Done []string
}

// Recoverer finishes or undoes an operation that a crash cut short. It must be idempotent.
type Recoverer func(ctx context.Context, j Journal) error

// journals is where the journals of running operations are kept.
var journals = store.Collection[Journal]{Name: "operation", Key: func(j Journal) string { return j.ID }}

// Register says who recovers operations of that kind. Registering a kind twice is a programming error and panics.
func (m *Manager) Register(kind string, r Recoverer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, dup := m.recoverers[kind]; dup {
		panic("op: two recoverers for " + kind)
	}
	m.recoverers[kind] = r
}

// Recover hands every journal that this member left open to its Recoverer and removes those that it could deal with.
// It is called once, before the first Start. The error joins what could not be recovered; those journals are kept.
func (m *Manager) Recover(ctx context.Context) error {
	var open []Journal
	err := m.o.Store.View(ctx, func(tx store.Tx) error {
		for j, err := range journals.All(tx, "") {
			if err != nil {
				return err
			}
			if j.Location == m.o.Location {
				open = append(open, j)
			}
		}
		return nil
	})
	failures := []error{err}
	for _, j := range open {
		failures = append(failures, m.recoverOne(ctx, j))
	}
	return errors.Join(failures...)
}

func (m *Manager) recoverOne(ctx context.Context, j Journal) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("recover operation %s (%s): panic: %v", j.ID, j.Kind, p)
		}
	}()
	m.mu.Lock()
	r := m.recoverers[j.Kind]
	m.mu.Unlock()
	if r == nil {
		return errs.Newf(errs.Internal, "operation %s was cut short and this version does not know its kind %q: its journal is kept", j.ID, j.Kind)
	}
	slog.Info("Recovering an operation that was cut short", "operation", j.ID, "kind", j.Kind, "project", j.Project, "done", j.Done)
	if err := r(ctx, j); err != nil {
		return fmt.Errorf("recover operation %s (%s): %w", j.ID, j.Kind, err)
	}
	return m.forget(ctx, j.ID)
}

// record makes the journal durable; without Args there is none.
func (m *Manager) record(ctx context.Context, o *Operation) error {
	if o.spec.Args == nil {
		return nil
	}
	args, err := json.Marshal(o.spec.Args)
	if err != nil {
		return fmt.Errorf("journal of %s: %w", o.spec.Kind, err)
	}
	j := Journal{ID: o.id, Kind: o.spec.Kind, Project: o.spec.Project, Location: m.o.Location, Args: args}
	return m.o.Store.Update(ctx, func(tx store.Tx) error { return journals.Insert(tx, j) })
}

// mark writes down which steps were done; a journal that is gone stays gone.
func (m *Manager) mark(ctx context.Context, id string, done []string) error {
	return m.o.Store.Update(ctx, func(tx store.Tx) error {
		if !journals.Has(tx, id) {
			return nil
		}
		return journals.Modify(tx, id, func(j *Journal) error {
			j.Done = done
			return nil
		})
	})
}

// forget removes a journal; when the work has removed it in a transaction of its own this writes nothing.
func (m *Manager) forget(ctx context.Context, id string) error {
	gone := false
	err := m.o.Store.View(ctx, func(tx store.Tx) error {
		gone = !journals.Has(tx, id)
		return nil
	})
	if err != nil || gone {
		return err
	}
	return m.o.Store.Update(ctx, func(tx store.Tx) error { return journals.Delete(tx, id) })
}
