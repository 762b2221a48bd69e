package store

import (
	"context"
	"iter"
	"sort"
	"sync"
	"sync/atomic"

	"lxd/internal/errs"
)

// How much history is kept for watchers. One that falls behind it has to list again.
const (
	maxChanges = 8192
	maxHistory = 4 << 20 // bytes of old and new values
)

// replica is the state in memory: the current snapshot and the changes that led to it.
type replica struct {
	current  atomic.Pointer[snapshot]
	settled  atomic.Uint64         // the newest revision whose events have been published
	end      atomic.Pointer[error] // why there will be no more commits
	announce func(any)

	mu      sync.Mutex
	cond    *sync.Cond // signalled on every commit and at the end
	log     []Change
	dropped uint64 // how many changes were dropped from the front of log, so that dropped+i never repeats
	floor   uint64 // changes of this revision and older are not in log
	bytes   int    // size of the values in log
	waiters []waiter
}

type waiter struct {
	rev   uint64
	ready chan error
}

func newReplica(announce func(any)) *replica {
	r := &replica{announce: announce}
	r.cond = sync.NewCond(&r.mu)
	r.current.Store(newSnapshot())
	return r
}

// apply makes a commit visible, then publishes the events that waited for it, then wakes who waits for the revision.
func (r *replica) apply(c Commit, events []any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cur := r.current.Load()
	if c.Reset {
		c.Writes = resetWrites(cur, c.Writes)
	}
	next := cur.next(c.Rev)
	for _, w := range c.Writes {
		old := next.set(w)
		r.remember(Change{Rev: c.Rev, Old: old, New: w.Value}, w.Path)
	}
	if c.Reset && cur.rev == 0 {
		r.forget(len(r.log)) // the state at start is no change
		r.floor = c.Rev
	}
	r.current.Store(next)
	r.trim()
	r.publish(events)
	r.settled.Store(c.Rev)
	r.cond.Broadcast()
	r.wake(nil)
}

// resetWrites are the writes that lead from cur to the whole key space given.
func resetWrites(cur *snapshot, whole []Write) (writes []Write) {
	keep := make(map[string]bool, len(whole))
	for _, w := range whole {
		keep[w.Path] = true
		if e, ok := cur.get(w.Path); !ok || e.Rev != w.Rev {
			writes = append(writes, w)
		}
	}
	cur.walk("/", func(path string, _ *Entry) bool {
		if !keep[path] {
			writes = append(writes, Write{Path: path})
		}
		return true
	})
	return writes
}

func (r *replica) publish(events []any) {
	if r.announce == nil {
		return
	}
	for _, ev := range events {
		r.announce(ev)
	}
}

func (r *replica) remember(c Change, path string) {
	c.Collection, c.Key = split(path)
	r.log = append(r.log, c)
	r.bytes += len(c.Old) + len(c.New)
}

// trim keeps the history within its bounds, whole revisions at a time.
func (r *replica) trim() {
	if len(r.log) <= maxChanges && r.bytes <= maxHistory {
		return
	}
	n, bytes := 0, r.bytes
	for n < len(r.log) && (len(r.log)-n > maxChanges*3/4 || bytes > maxHistory*3/4) {
		bytes -= len(r.log[n].Old) + len(r.log[n].New)
		n++
	}
	for n < len(r.log) && n > 0 && r.log[n].Rev == r.log[n-1].Rev {
		n++
	}
	r.forget(n)
}

func (r *replica) forget(n int) {
	if n == 0 {
		return
	}
	r.floor = r.log[n-1].Rev
	for _, c := range r.log[:n] {
		r.bytes -= len(c.Old) + len(c.New)
	}
	r.log = append([]Change(nil), r.log[n:]...) // a copy, so that the old values can be freed
	r.dropped += uint64(n)
}

// wake releases those who wait for the current revision, or all of them if there will be no other.
func (r *replica) wake(err error) {
	rev, left := r.current.Load().rev, r.waiters[:0]
	for _, w := range r.waiters {
		if err == nil && w.rev > rev {
			left = append(left, w)
			continue
		}
		w.ready <- err
	}
	r.waiters = left
}

// await blocks until the snapshot is at rev or newer, and the events up to rev have been published.
func (r *replica) await(rev uint64) error {
	if r.settled.Load() >= rev {
		return nil
	}
	r.mu.Lock()
	if r.settled.Load() >= rev || r.ended() != nil {
		defer r.mu.Unlock()
		return r.ended()
	}
	w := waiter{rev, make(chan error, 1)}
	r.waiters = append(r.waiters, w)
	r.mu.Unlock()
	return <-w.ready
}

// stop ends all waiting with err; the first call counts.
func (r *replica) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.end.CompareAndSwap(nil, &err) {
		return
	}
	r.cond.Broadcast()
	r.wake(err)
}

func (r *replica) ended() error {
	if err := r.end.Load(); err != nil {
		return *err
	}
	return nil
}

// watch yields the changes after revision since.
func (r *replica) watch(ctx context.Context, since uint64, collection string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		defer context.AfterFunc(ctx, func() { r.mu.Lock(); defer r.mu.Unlock(); r.cond.Broadcast() })()
		pos, err := r.seek(since)
		var batch []Change
		for err == nil {
			if batch, pos, err = r.take(ctx, batch[:0], pos); err != nil {
				break
			}
			for _, c := range batch {
				if (collection == "" || c.Collection == collection) && !yield(c, nil) {
					return
				}
			}
		}
		yield(Change{}, err)
	}
}

// seek finds the position in the history behind revision since.
func (r *replica) seek(since uint64) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since < r.floor {
		return 0, behind(since)
	}
	i := sort.Search(len(r.log), func(i int) bool { return r.log[i].Rev > since })
	return r.dropped + uint64(i), nil
}

// take waits until there is something at pos and copies some of it into buf.
func (r *replica) take(ctx context.Context, buf []Change, pos uint64) ([]Change, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, pos, ctx.Err()
		case pos < r.dropped:
			return nil, pos, behind(r.floor)
		case pos < r.dropped+uint64(len(r.log)):
			tail := r.log[pos-r.dropped:]
			buf = append(buf, tail[:min(len(tail), 256)]...)
			return buf, pos + uint64(len(buf)), nil
		case r.ended() != nil:
			return nil, pos, r.ended()
		}
		r.cond.Wait()
	}
}

func behind(rev uint64) error {
	return errs.Newf(errs.Unavailable, "the changes after revision %d are no longer kept: list again, and watch from the list's revision", rev)
}
