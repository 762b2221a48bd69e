package op_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lxd/api"
	"lxd/internal/event"
	"lxd/internal/store"
)

// memory is a store reduced to what journals need; it counts and can refuse its writes.
type memory struct {
	store.Store
	mu     sync.Mutex
	data   map[string][]byte
	writes atomic.Int32
	refuse bool
}

func newMemory() *memory { return &memory{data: map[string][]byte{}} }

func (m *memory) View(_ context.Context, fn func(store.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn(tx{data: m.data})
}

func (m *memory) Update(ctx context.Context, fn func(store.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse || ctx.Err() != nil {
		return errors.Join(errors.New("disk full"), ctx.Err())
	}
	next := maps.Clone(m.data)
	if err := fn(tx{data: next}); err != nil {
		return err
	}
	m.data = next
	m.writes.Add(1)
	return nil
}

func (m *memory) journals() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m.data)) {
		all = append(all, string(m.data[k]))
	}
	return all
}

type tx struct {
	store.Tx
	data map[string][]byte
}

func (t tx) Read(collection, key string) (store.Entry, bool) {
	v, ok := t.data[collection+"/"+key]
	return store.Entry{Key: key, Value: v}, ok
}

func (t tx) Write(collection, key string, val []byte) {
	if val == nil {
		delete(t.data, collection+"/"+key)
		return
	}
	t.data[collection+"/"+key] = val
}

func (t tx) Scan(collection, prefix string) iter.Seq[store.Entry] {
	return func(yield func(store.Entry) bool) {
		for _, k := range slices.Sorted(maps.Keys(t.data)) {
			key, ok := strings.CutPrefix(k, collection+"/")
			if ok && strings.HasPrefix(key, prefix) && !yield(store.Entry{Key: key, Value: t.data[k]}) {
				return
			}
		}
	}
}

// heard keeps the events that were published.
type heard struct {
	mu   sync.Mutex
	list []api.Event
	deaf bool
}

func (h *heard) Publish(ev api.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, ev)
}

func (h *heard) Wanted(typ string) bool { return !h.deaf && typ == event.Operation }

func (h *heard) events() []api.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}
