package event

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"lxd/api"
)

// backlog is how many events a listener may be behind before it is ended.
const backlog = 1024

// Hub hands every published event to the listeners that want it. Its methods may be called at the same time.
type Hub struct {
	location string

	mu        sync.RWMutex
	listeners map[*listener]struct{}
	// wanted counts the listeners of each type, so that a publisher can save itself the work.
	wanted map[string]*atomic.Int64
}

type listener struct {
	filter Filter
	ch     chan api.Event
	end    context.CancelFunc
}

// NewHub returns a hub of the member called location ("none" on a server that is not clustered).
func NewHub(location string) *Hub {
	h := &Hub{location: location, listeners: map[*listener]struct{}{}, wanted: map[string]*atomic.Int64{}}
	for _, typ := range Types() {
		h.wanted[typ] = new(atomic.Int64)
	}
	return h
}

// Wanted tells whether anyone listens to events of that type; a publisher may skip making one otherwise.
func (h *Hub) Wanted(typ string) bool {
	n, known := h.wanted[typ]
	return !known || n.Load() > 0
}

// Publish hands ev to every listener that wants it. It never blocks: a listener that is too slow is ended.
func (h *Hub) Publish(ev api.Event) {
	if ev.Location == "" {
		ev.Location = h.location
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for l := range h.listeners {
		if !l.filter.Match(ev) {
			continue
		}
		select {
		case l.ch <- ev:
		default:
			l.end()
		}
	}
}

// Listen returns the events from now on that match f; the channel is closed when ctx ends or the listener is too slow.
func (h *Hub) Listen(ctx context.Context, f Filter) <-chan api.Event {
	ctx, end := context.WithCancel(ctx)
	l := &listener{filter: f, ch: make(chan api.Event, backlog), end: end}
	h.mu.Lock()
	h.listeners[l] = struct{}{}
	h.count(l, 1)
	h.mu.Unlock()
	context.AfterFunc(ctx, func() { h.drop(l) })
	return l.ch
}

// drop closes the channel under the write lock, when no Publish can be sending on it.
func (h *Hub) drop(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
	h.count(l, -1)
	close(l.ch)
}

func (h *Hub) count(l *listener, by int64) {
	for typ, n := range h.wanted {
		if l.filter.Types == nil || slices.Contains(l.filter.Types, typ) {
			n.Add(by)
		}
	}
}
