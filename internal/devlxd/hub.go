package devlxd

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/internal/instance"
)

// queue is how many events a listener may be behind before it is ended.
const queue = 64

// Types of events (wire names).
const (
	configEvent = "config"
	deviceEvent = "device"
)

// event is what a guest is told.
type event struct {
	Type      string         `json:"type"`
	Timestamp time.Time      `json:"timestamp"`
	Metadata  map[string]any `json:"metadata"`
}

// hub tells those that listen in one instance what changes. Its zero value is ready.
type hub struct {
	mu sync.Mutex
	// seen is the instance as it was last looked at.
	seen      instance.Guest
	closed    bool
	listeners map[chan []byte][]string
}

// listen begins to listen for events of these types; the channel is closed when no more come.
func (h *hub) listen(types []string) (events <-chan []byte, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan []byte, queue)
	if h.closed {
		close(c)
		return c, func() {}
	}
	if h.listeners == nil {
		h.listeners = map[chan []byte][]string{}
	}
	h.listeners[c] = types
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(c)
	}
}

func (h *hub) drop(c chan []byte) {
	if _, ok := h.listeners[c]; ok {
		delete(h.listeners, c)
		close(c)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.listeners {
		h.drop(c)
	}
}

// changed tells of all that is different from what was seen before.
func (h *hub) changed(now instance.Guest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range differences(h.seen, now) {
		e.Timestamp = time.Now()
		b, err := json.Marshal(e)
		if err != nil {
			continue // strings always marshal
		}
		for c, types := range h.listeners {
			if !slices.Contains(types, e.Type) {
				continue
			}
			select {
			case c <- b:
			default:
				h.drop(c) // it does not listen
			}
		}
	}
	h.seen = now
}

// differences are the events that lead from one state to another.
func differences(old, now instance.Guest) (all []event) {
	for _, key := range slices.Sorted(maps.Keys(union(old.Config, now.Config))) {
		if !public(key) || old.Config[key] == now.Config[key] {
			continue
		}
		all = append(all, event{Type: configEvent, Metadata: map[string]any{"key": key, "old_value": old.Config[key], "value": now.Config[key]}})
	}
	for _, name := range slices.Sorted(maps.Keys(union(old.Devices, now.Devices))) {
		before, had := old.Devices[name]
		after, has := now.Devices[name]
		action, cfg := "updated", after
		switch {
		case !has:
			action, cfg = "removed", before
		case !had:
			action = "added"
		case maps.Equal(before, after):
			continue
		}
		all = append(all, event{Type: deviceEvent, Metadata: map[string]any{"action": action, "name": name, "config": cfg}})
	}
	return all
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return all
}

// public tells of the keys that a guest may see.
func public(key string) bool {
	return strings.HasPrefix(key, "user.") || strings.HasPrefix(key, "cloud-init.")
}
