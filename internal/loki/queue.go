package loki

import (
	"context"
	"sync"
	"time"
)

// queue holds entries that wait to be sent, up to a bound.
type queue struct {
	mu      sync.Mutex
	entries []entry
	bytes   int
	dropped int
	// some gets a value when there is something in an empty queue, full when there is a whole batch.
	some, full chan struct{}
	// closed is closed when nothing more comes.
	closed chan struct{}
	once   sync.Once
}

func newQueue() *queue {
	return &queue{some: make(chan struct{}, 1), full: make(chan struct{}, 1), closed: make(chan struct{})}
}

// put adds an entry, or counts it as dropped when too many wait. It never blocks.
func (q *queue) put(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) >= queueEntries || q.bytes+e.size() > queueBytes {
		q.dropped++
		return
	}
	q.entries, q.bytes = append(q.entries, e), q.bytes+e.size()
	signal(q.some)
	if len(q.entries) >= batchEntries || q.bytes >= batchBytes {
		signal(q.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take waits for an entry and then a little for more, and returns the next batch: none when ctx has ended, or when the queue is closed
// and empty.
func (q *queue) take(ctx context.Context) (batch []entry, closing bool) {
	for {
		select {
		case <-ctx.Done():
			return nil, true
		case <-q.closed:
			return q.cut(), true
		case <-q.some:
		}
		timer := time.NewTimer(gather)
		select {
		case <-ctx.Done():
		case <-q.closed:
		case <-q.full:
		case <-timer.C:
		}
		timer.Stop()
		if batch = q.cut(); len(batch) > 0 {
			return batch, q.isClosed()
		}
	}
}

// cut takes one batch out of the queue.
func (q *queue) cut() []entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.entries) && n < batchEntries && (n == 0 || bytes+q.entries[n].size() <= batchBytes) {
		bytes += q.entries[n].size()
		n++
	}
	batch := q.entries[:n:n]
	if q.entries = q.entries[n:]; len(q.entries) > 0 {
		signal(q.some)
	} else {
		q.entries = nil // what was sent need not be kept by the array
	}
	q.bytes -= bytes
	if len(q.entries) >= batchEntries || q.bytes >= batchBytes {
		signal(q.full)
	}
	return batch
}

// lose counts entries that never came.
func (q *queue) lose(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += n
}

// lost is how many entries were dropped since it was last asked.
func (q *queue) lost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.dropped
	q.dropped = 0
	return n
}

func (q *queue) close() { q.once.Do(func() { close(q.closed) }) }

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}
