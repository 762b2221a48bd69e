package app

import (
	"context"
	"log/slog"
	"log/syslog"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"lxd/internal/errs"
)

// openLog makes the log that c asks for the default of slog; done closes it.
func openLog(c Command) (done func(), err error) {
	level := slog.LevelWarn
	switch {
	case c.Debug:
		level = slog.LevelDebug
	case c.Verbose || c.LogFile != "":
		level = slog.LevelInfo
	}
	out := os.Stderr
	done = func() {}
	if c.LogFile != "" {
		if out, err = os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return nil, errs.Newf(errs.Invalid, "log file: %w", err)
		}
		done = func() { _ = out.Close() } // it is written without a buffer
	}
	lowest := level
	if len(c.Trace) > 0 {
		lowest = slog.LevelDebug
	}
	var to slog.Handler = slog.NewTextHandler(out, &slog.HandlerOptions{Level: lowest})
	if c.Syslog {
		system, err := newSyslog(lowest)
		if err != nil {
			done()
			return nil, err
		}
		to = slog.NewMultiHandler(to, system)
	}
	slog.SetDefault(slog.New(Traced(to, level, c.Trace)))
	return done, nil
}

// Traced passes on what is of a level or above it, and everything that the named packages log.
func Traced(to slog.Handler, level slog.Level, packages []string) slog.Handler {
	if len(packages) == 0 {
		return to
	}
	return traced{to, level, packages}
}

type traced struct {
	slog.Handler
	level    slog.Level
	packages []string
}

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < t.level && !slices.Contains(t.packages, origin(r)) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler {
	t.Handler = t.Handler.WithAttrs(attrs)
	return t
}

func (t traced) WithGroup(name string) slog.Handler {
	t.Handler = t.Handler.WithGroup(name)
	return t
}

// origin is the name of the package that logged r.
func origin(r slog.Record) string {
	frame, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	name, _, _ := strings.Cut(path.Base(frame.Function), ".")
	return name
}

// facility is what the system's log knows the daemon by.
const facility = syslog.LOG_DAEMON

func newSyslog(level slog.Level) (slog.Handler, error) {
	w, err := syslog.New(facility|syslog.LOG_INFO, "lxd")
	if err != nil {
		return nil, errs.Newf(errs.Unavailable, "the system's log cannot be reached: %w; leave out --syslog, or start it", err)
	}
	return syslogHandler(w, level), nil
}

func syslogHandler(to *syslog.Writer, level slog.Level) slog.Handler {
	return slog.NewTextHandler(leveled{to}, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime})
}

// withoutTime leaves out the time, which the system's log adds by itself.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// leveled gives each line the priority of the level that it begins with.
type leveled struct{ to *syslog.Writer }

func (l leveled) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	send := l.to.Info
	switch {
	case strings.HasPrefix(text, "level=ERROR"):
		send = l.to.Err
	case strings.HasPrefix(text, "level=WARN"):
		send = l.to.Warning
	case strings.HasPrefix(text, "level=DEBUG"):
		send = l.to.Debug
	}
	return len(line), send(text)
}
