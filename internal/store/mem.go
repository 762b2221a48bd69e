package store

import (
	"context"
	"sync"

	"lxd/internal/errs"
)

// NewMem returns an empty store that is gone when the process is. It runs each Update function twice and fails when the two runs
// differ, so that a function which must not be run again shows in tests.
func NewMem(o Options) Store {
	e := &memEngine{cur: newSnapshot(), closed: make(chan struct{})}
	s, err := open(e, o, true)
	if err != nil {
		panic(err) // Follow below delivers before it can end
	}
	return s
}

// memEngine judges intents as a database would, though all it has is a snapshot.
type memEngine struct {
	mu      sync.Mutex
	cur     *snapshot
	deliver func(Commit)
	once    sync.Once
	closed  chan struct{}
}

func (m *memEngine) Commit(_ context.Context, in Intent) (Verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
		return Verdict{}, errs.Newf(errs.Unavailable, "the state database is closed: the server is stopping")
	default:
	}
	if m.changed(in) {
		return Verdict{Rev: m.cur.rev, Conflict: true}, nil
	}
	m.cur = m.cur.next(m.cur.rev + 1)
	for _, w := range in.Writes {
		m.cur.set(w)
	}
	m.deliver(Commit{Rev: m.cur.rev, Writes: in.Writes, Ticket: in.Ticket})
	return Verdict{Rev: m.cur.rev}, nil
}

// changed reports whether anything that the intent saw is different now.
func (m *memEngine) changed(in Intent) bool {
	for path, rev := range in.Seen {
		e, ok := m.cur.get(path)
		if ok && e.Rev != rev || !ok && rev != 0 {
			return true
		}
	}
	for _, r := range in.Ranges {
		count, newer := 0, false
		m.cur.tree.Ascend(r.From, func(path string, e *Entry) bool {
			if path >= r.To {
				return false
			}
			count, newer = count+1, newer || e.Rev > in.Rev
			return true
		})
		if newer || count != r.Count {
			return true
		}
	}
	return false
}

func (m *memEngine) Follow(deliver func(Commit)) error {
	m.mu.Lock()
	m.deliver = deliver
	m.deliver(Commit{Rev: m.cur.rev, Reset: true})
	m.mu.Unlock()
	<-m.closed
	return nil
}

func (m *memEngine) Close() error {
	m.once.Do(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		close(m.closed)
	})
	return nil
}
