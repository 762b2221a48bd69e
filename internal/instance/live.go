package instance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lxd/internal/device"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/store"
)

// live is the machines that run on this host, by the keys of their instances.
type live struct {
	mu  sync.RWMutex
	all map[string]*running
}

// running is one machine from its start until its end has been dealt with.
type running struct {
	key    string
	m      machine.Machine
	frozen atomic.Bool
	// ready is set once the guest has said that it is.
	ready atomic.Bool
	// readying is held while that is noted.
	readying sync.Mutex
	// gone is closed when the end of the machine has been dealt with; err then says what went wrong with that.
	gone chan struct{}
	err  error
	once sync.Once

	// plugging is held while devices are changed.
	plugging sync.Mutex

	// holders is how many want the machine frozen for a moment.
	holding sync.Mutex
	holders int

	mu sync.Mutex
	// why is what the operation that ends the machine is about; it is none for a machine that ends by itself.
	why ending
	// by is who asked for that; it is the daemon itself for a machine that ends by itself.
	by     op.Caller
	limits machine.Limits
}

// ending is why a machine ends.
type ending uint8

const (
	// byItself is the guest's own doing.
	byItself ending = iota
	// stopped is an operation that killed it.
	stopped
	// shutdown is an operation that asked it to stop.
	shutdown
	// restarting is an operation that will start it again.
	restarting
	// hostDown is the server going down; the instance counts as running and comes back.
	hostDown
)

func (r *running) intend(why ending, by op.Caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why, r.by = why, by
}

func (r *running) intent() (why ending, by op.Caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why, r.by
}

// over tells whether the machine has ended.
func (r *running) over() bool {
	select {
	case <-r.m.Done():
		return true
	default:
		return false
	}
}

func (l *live) add(r *running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]*running{}
	}
	l.all[r.key] = r
}

func (l *live) remove(r *running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[r.key] == r {
		delete(l.all, r.key)
	}
}

func (l *live) get(key string) *running {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.all[key]
}

func (l *live) snapshot() map[string]*running {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return maps.Clone(l.all)
}

// current finds the running machine of an instance; one that has just ended is waited for and counts as none.
func (s *Service) current(ctx context.Context, key string) (*running, error) {
	for {
		r := s.live.get(key)
		if r == nil || !r.over() {
			return r, nil
		}
		select {
		case <-r.gone:
			if s.live.get(key) == r {
				return nil, r.err // what could not be cleaned up is tried again before the next start
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// still runs do while the machine of an instance, if there is one and it can be frozen, does nothing. Several may hold it at the same
// time. To clients it is running all the while.
func (s *Service) still(ctx context.Context, key string, do func(context.Context) error) (err error) {
	r := s.live.get(key)
	if r == nil || r.over() {
		return do(ctx)
	}
	f, ok := r.m.(machine.Freezer)
	if !ok {
		return do(ctx)
	}
	if err := s.hold(ctx, r, f); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.letGo(context.WithoutCancel(ctx), r, f)) }()
	return do(ctx)
}

// hold freezes the machine for the first who asks. That it is held is written down first: a crash must not leave it so.
func (s *Service) hold(ctx context.Context, r *running, f machine.Freezer) error {
	r.holding.Lock()
	defer r.holding.Unlock()
	if r.holders == 0 && !r.frozen.Load() {
		if err := s.setHeld(ctx, r.key, true); err != nil {
			return err
		}
		if err := f.Freeze(ctx); err != nil && !r.over() {
			ctx := context.WithoutCancel(ctx)
			return errors.Join(err, f.Thaw(ctx), s.setHeld(ctx, r.key, false))
		}
	}
	r.holders++
	return nil
}

// letGo thaws it for the last, unless a client has frozen it.
func (s *Service) letGo(ctx context.Context, r *running, f machine.Freezer) error {
	r.holding.Lock()
	defer r.holding.Unlock()
	if r.holders--; r.holders > 0 || r.frozen.Load() || r.over() {
		return nil
	}
	if err := f.Thaw(ctx); err != nil && !r.over() {
		return err
	}
	return s.setHeld(ctx, r.key, false)
}

func (s *Service) setHeld(ctx context.Context, key string, held bool) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		return Collection.Modify(tx, key, func(r *Record) error {
			if r.Run != nil {
				r.Run.Held = held
			}
			return nil
		})
	})
}

// unhold lets a machine go that a daemon held when it died.
func (s *Service) unhold(ctx context.Context, r *running) error {
	if f, ok := r.m.(machine.Freezer); ok && !r.over() {
		if err := f.Thaw(ctx); err != nil && !r.over() {
			return err
		}
	}
	return s.setHeld(ctx, r.key, false)
}

// late is the nodes that devices have added to running machines since they were attached. They are added anew by a restarted daemon, so
// that nothing of this is written down.
type late struct {
	mu  sync.Mutex
	all map[string][]device.Node
}

func (l *late) set(key, name string, n device.Node, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string][]device.Node{}
	}
	at := key + "/" + name
	l.all[at] = slices.DeleteFunc(l.all[at], func(o device.Node) bool { return o.Path == n.Path })
	if there {
		l.all[at] = append(l.all[at], n)
	}
	if len(l.all[at]) == 0 {
		delete(l.all, at)
	}
}

// take returns the nodes of a device and forgets them.
func (l *late) take(key, name string) []device.Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.all, key+"/"+name)
	return l.all[key+"/"+name]
}

// drop forgets the nodes of all devices of a machine that has ended.
func (l *late) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.all, func(at string, _ []device.Node) bool { return strings.HasPrefix(at, key+"/") })
}
