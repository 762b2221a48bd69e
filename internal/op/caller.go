package op

import "context"

// Caller is who asked for an operation; rest puts it in the context.
type Caller struct {
	Username, Protocol, Address string
	// Restricted callers may not do everything, so that work on their behalf minds where it goes.
	Restricted bool
}

type callerKey struct{}

// WithCaller returns a context that carries who asked.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf reads who asked; the zero Caller is the daemon itself.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
