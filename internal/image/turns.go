package image

import (
	"context"
	"sync"
)

// turns lets one at a time do what has the same name. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

// turn is one name that is held; wait is how many want it or have it.
type turn struct {
	free chan struct{}
	wait int
}

// take waits for its turn, or for the end of ctx; release lets the next one in.
func (t *turns) take(ctx context.Context, name string) (release func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[string]*turn{}
	}
	one := t.held[name]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.held[name] = one
	}
	one.wait++
	t.mu.Unlock()
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; t.leave(name, one) }, nil
	case <-ctx.Done():
		t.leave(name, one)
		return nil, context.Cause(ctx)
	}
}

func (t *turns) leave(name string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.wait--; one.wait == 0 {
		delete(t.held, name)
	}
}
