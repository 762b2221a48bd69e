package event

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"

	"lxd/api"
)

// LogHandler is a slog.Handler that passes every record on to another one and publishes it as a logging event.
type LogHandler struct {
	next   slog.Handler
	hub    *Hub
	prefix string
	attrs  []slog.Attr
}

// NewLogHandler returns a handler that publishes on hub what it passes on to next. Listeners get records of every level;
// next decides for itself.
func NewLogHandler(next slog.Handler, hub *Hub) *LogHandler { return &LogHandler{next: next, hub: hub} }

// Enabled tells whether the next handler or a listener wants records of that level.
func (l *LogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level) || l.hub.Wanted(Logging)
}

// Handle passes the record on and publishes it.
func (l *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if l.hub.Wanted(Logging) {
		l.publish(r)
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs returns a handler whose records carry attrs.
func (l *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.next = l.next.WithAttrs(attrs)
	c.attrs = append([]slog.Attr{}, l.attrs...)
	for _, a := range attrs {
		c.attrs = append(c.attrs, slog.Attr{Key: l.prefix + a.Key, Value: a.Value})
	}
	return &c
}

// WithGroup returns a handler whose later attributes are named below name.
func (l *LogHandler) WithGroup(name string) slog.Handler {
	c := *l
	c.next = l.next.WithGroup(name)
	if name != "" {
		c.prefix = l.prefix + name + "."
	}
	return &c
}

func (l *LogHandler) publish(r slog.Record) {
	fields := map[string]string{}
	for _, a := range l.attrs {
		fields[a.Key] = a.Value.Resolve().String()
	}
	r.Attrs(func(a slog.Attr) bool {
		fields[l.prefix+a.Key] = a.Value.Resolve().String()
		return true
	})
	b, err := json.Marshal(api.EventLogging{Message: r.Message, Level: levelName(r.Level), Context: fields})
	if err != nil {
		return // strings always marshal
	}
	l.hub.Publish(api.Event{Type: Logging, Timestamp: r.Time, Metadata: b})
}

// levelName is the wire name of a level: "warning" where slog says "WARN".
func levelName(l slog.Level) string {
	if l >= slog.LevelWarn && l < slog.LevelError {
		return "warning"
	}
	return strings.ToLower(l.String())
}
