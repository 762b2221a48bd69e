package store

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/internal/errs"
)

// How often a transaction that collides with others is run.
const (
	freeTries = 3  // alongside the other transactions of this process
	maxTries  = 60 // after that with no other of this process, so that only other members can be in its way
)

// replicated is a Store over an engine.
type replicated struct {
	engine  Engine
	replica *replica
	// twice makes every function run two times, and fail if it wrote something else the second time.
	twice bool
	guard func(before, after Tx, touched []Ref) error
	// lane is held shared by transactions, and exclusively by one that has collided too often.
	lane sync.RWMutex

	mu      sync.Mutex
	ticket  uint64
	pending map[uint64][]any // events of transactions under way, by ticket
	done    chan struct{}    // closed when Follow has ended
}

// Open makes a Store of an engine, and returns once it has the whole state. The engine is closed with the Store, or on error.
func Open(e Engine, o Options) (Store, error) { return open(e, o, false) }

func open(e Engine, o Options, twice bool) (*replicated, error) {
	s := &replicated{engine: e, replica: newReplica(o.OnAnnounce), twice: twice, guard: o.Guard, pending: map[uint64][]any{}, done: make(chan struct{})}
	loaded, once := make(chan struct{}), sync.Once{}
	go func() {
		defer close(s.done)
		err := e.Follow(func(c Commit) {
			s.replica.apply(c, s.claim(c.Ticket))
			once.Do(func() { close(loaded) })
		})
		s.replica.stop(ended(err))
		if err != nil && o.OnFailure != nil {
			o.OnFailure(ended(err))
		}
	}()
	select {
	case <-loaded:
		return s, nil
	case <-s.done:
		return nil, errors.Join(s.replica.ended(), e.Close())
	}
}

func ended(err error) error {
	if err == nil {
		return errs.Newf(errs.Unavailable, "the state database is closed: the server is stopping")
	}
	return errs.Newf(errs.Unavailable, "the state database has failed: %w", err)
}

func (s *replicated) View(ctx context.Context, fn func(Tx) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return fn(viewTx{s.replica.current.Load()})
}

func (s *replicated) Update(ctx context.Context, fn func(Tx) error) error {
	for try := range maxTries {
		if err := s.usable(ctx); err != nil {
			return err
		}
		v, err := s.attempt(ctx, fn, try >= freeTries)
		if err != nil {
			return err
		}
		if err := s.replica.await(v.Rev); err != nil {
			return err
		}
		if !v.Conflict {
			return nil
		}
		if try > freeTries {
			pause(ctx, time.Duration(min(try, 20))*time.Millisecond)
		}
	}
	return errs.Newf(errs.Unavailable, "the state kept changing under this request (%d tries): try again", maxTries)
}

// pause waits about d, so that members which collide do not do so in step.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d/2 + rand.N(d)):
	case <-ctx.Done():
	}
}

// attempt runs fn on the newest snapshot and commits what it wrote.
func (s *replicated) attempt(ctx context.Context, fn func(Tx) error, alone bool) (Verdict, error) {
	if alone {
		s.lane.Lock()
		defer s.lane.Unlock()
	} else {
		s.lane.RLock()
		defer s.lane.RUnlock()
	}
	in, events, err := s.run(fn)
	if err != nil {
		return Verdict{}, err
	}
	if isTrial(ctx) {
		return Verdict{Rev: in.Rev}, nil
	}
	if len(in.Writes) == 0 {
		s.replica.mu.Lock()
		defer s.replica.mu.Unlock()
		s.replica.publish(events)
		return Verdict{Rev: in.Rev}, nil
	}
	if err := ctx.Err(); err != nil {
		return Verdict{}, err
	}
	return s.commit(ctx, in, events)
}

func (s *replicated) run(fn func(Tx) error) (Intent, []any, error) {
	t, in, err := s.rehearse(s.replica.current.Load(), fn)
	if err != nil || !s.twice {
		return in, t.events, err
	}
	again, _, err := s.rehearse(t.snap, fn)
	if err != nil {
		return Intent{}, nil, err
	}
	if !slices.EqualFunc(byPath(in.Writes), byPath(again.intent().Writes), sameWrite) {
		return Intent{}, nil, errs.Newf(errs.Internal,
			"a function given to Update wrote something else when it ran again on the same state: it must not use a clock, chance, or variables that it changes")
	}
	return again.intent(), again.events, nil
}

// rehearse runs fn and asks the guard what it thinks of the outcome.
func (s *replicated) rehearse(snap *snapshot, fn func(Tx) error) (*tx, Intent, error) {
	t := newTx(snap)
	if err := fn(t); err != nil {
		return t, Intent{}, err
	}
	if s.guard != nil {
		if touched := t.touched(); len(touched) > 0 {
			if err := s.guard(viewTx{snap}, t, touched); err != nil {
				return t, Intent{}, err
			}
		}
	}
	return t, t.intent(), nil
}

func byPath(w []Write) []Write {
	return slices.SortedFunc(slices.Values(w), func(a, b Write) int { return strings.Compare(a.Path, b.Path) })
}

func sameWrite(a, b Write) bool { return a.Path == b.Path && string(a.Value) == string(b.Value) }

// commit hands an intent to the engine. Once handed over it is not cancelled: the outcome would not be known.
func (s *replicated) commit(ctx context.Context, in Intent, events []any) (Verdict, error) {
	in.Ticket = s.deposit(events)
	v, err := s.engine.Commit(context.WithoutCancel(ctx), in)
	if v.Conflict || err != nil && !errs.Is(err, errs.Unavailable) {
		s.claim(in.Ticket)
	}
	return v, err
}

// deposit keeps events until their commit is seen. Those of a commit with unknown outcome stay, as it may yet be seen.
func (s *replicated) deposit(events []any) uint64 {
	if len(events) == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticket++
	s.pending[s.ticket] = events
	return s.ticket
}

func (s *replicated) claim(ticket uint64) []any {
	if ticket == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.pending[ticket]
	delete(s.pending, ticket)
	return events
}

func (s *replicated) Watch(ctx context.Context, since uint64, collection string) iter.Seq2[Change, error] {
	return s.replica.watch(ctx, since, collection)
}

func (s *replicated) Close() error {
	err := s.engine.Close()
	<-s.done
	return err
}

func (s *replicated) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.replica.ended()
}
