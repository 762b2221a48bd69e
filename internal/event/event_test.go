package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lxd/api"
	"lxd/internal/event"
)

func drain(ch <-chan api.Event) (got []string) {
	for {
		select {
		case ev, ok := <-ch:
			if !ok {
				return append(got, "closed")
			}
			got = append(got, ev.Type+"/"+ev.Project)
		default:
			return got
		}
	}
}

func TestListenersGetWhatTheyWant(t *testing.T) {
	for name, c := range map[string]struct {
		filter event.Filter
		want   string
	}{
		"everything":  {event.Filter{AllProjects: true}, "operation/p lifecycle/q logging/"},
		"one project": {event.Filter{Project: "p"}, "operation/p logging/"},
		"one type":    {event.Filter{Types: []string{event.Lifecycle}, AllProjects: true}, "lifecycle/q"},
		"no type":     {event.Filter{Types: []string{}, AllProjects: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := event.NewHub("m1")
			ch := h.Listen(t.Context(), c.filter)
			h.Publish(api.Event{Type: event.Operation, Project: "p"})
			h.Publish(api.Event{Type: event.Lifecycle, Project: "q"})
			h.Publish(api.Event{Type: event.Logging})
			if got := strings.Join(drain(ch), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestSlowListenerIsEndedAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := event.NewHub("m1")
		slow := h.Listen(t.Context(), event.Filter{})
		quick := h.Listen(t.Context(), event.Filter{})
		got := 0
		for range 5000 {
			h.Publish(api.Event{Type: event.Operation})
			got += len(drain(quick))
		}
		synctest.Wait()
		all := drain(slow)
		if len(all) == 0 || len(all) > 1025 || all[len(all)-1] != "closed" {
			t.Errorf("the slow listener got %d events", len(all))
		}
		if got != 5000 {
			t.Errorf("the quick listener got %d events", got)
		}
	})
}

func TestListenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := event.NewHub("m1")
		ctx, cancel := context.WithCancel(t.Context())
		ch := h.Listen(ctx, event.Filter{Types: []string{event.Logging}})
		if !h.Wanted(event.Logging) || h.Wanted(event.Operation) {
			t.Error("wanted types are wrong while one listens")
		}
		cancel()
		synctest.Wait()
		h.Publish(api.Event{Type: event.Logging})
		if got := drain(ch); len(got) != 1 || got[0] != "closed" {
			t.Error(got)
		}
		if h.Wanted(event.Logging) {
			t.Error("logging is wanted though nobody listens")
		}
	})
}

func TestAnnounceMakesLifecycleEvents(t *testing.T) {
	h := event.NewHub("m1")
	h.Announce(event.Change{Action: "lost"}) // nobody listens yet
	ch := h.Listen(t.Context(), event.Filter{AllProjects: true})
	h.Announce("not a change")
	h.Announce(event.Change{
		Action: "instance-created", Source: "/1.0/instances/c1", Project: "a b", Name: "c1",
		Requestor: &api.EventLifecycleRequestor{Username: "root", Protocol: "unix"},
	})
	ev := <-ch
	var l api.EventLifecycle
	if err := json.Unmarshal(ev.Metadata, &l); err != nil {
		t.Fatal(err)
	}
	if ev.Type != "lifecycle" || ev.Project != "a b" || ev.Location != "m1" || ev.Timestamp.IsZero() {
		t.Errorf("%+v", ev)
	}
	if l.Action != "instance-created" || l.Source != "/1.0/instances/c1?project=a+b" || l.Requestor.Username != "root" || l.Name != "c1" {
		t.Errorf("%+v", l)
	}
	ev2, err := event.Change{Action: "x", Source: "/1.0/instances/c1", Project: "default"}.API(time.Now())
	if err != nil || strings.Contains(string(ev2.Metadata), "?") {
		t.Error(string(ev2.Metadata), err)
	}
}

// sink is a slog.Handler that keeps what reaches it.
type sink struct {
	level slog.Level
	got   *[]string
}

func (s sink) Enabled(_ context.Context, l slog.Level) bool { return l >= s.level }
func (s sink) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s sink) WithGroup(string) slog.Handler                { return s }
func (s sink) Handle(_ context.Context, r slog.Record) error {
	*s.got = append(*s.got, r.Message)
	return errors.New("full")
}

func TestLogHandlerPublishesAndPassesOn(t *testing.T) {
	h := event.NewHub("m1")
	var passed []string
	handler := event.NewLogHandler(sink{slog.LevelInfo, &passed}, h)
	log := slog.New(handler)
	if handler.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is enabled though nobody wants it")
	}
	ch := h.Listen(t.Context(), event.Filter{})
	log.With("a", 1).WithGroup("g").With("b", true).Warn("careful", "c", time.Second)
	log.Debug("small")
	log.Error("bad")
	for _, want := range []api.EventLogging{
		{Message: "careful", Level: "warning", Context: map[string]string{"a": "1", "g.b": "true", "g.c": "1s"}},
		{Message: "small", Level: "debug", Context: map[string]string{}},
		{Message: "bad", Level: "error", Context: map[string]string{}},
	} {
		ev := <-ch
		b, err := json.Marshal(want)
		if err != nil || ev.Type != event.Logging || string(ev.Metadata) != string(b) {
			t.Errorf("%s: got %s, want %s", ev.Type, ev.Metadata, b)
		}
	}
	if strings.Join(passed, " ") != "careful bad" {
		t.Error(passed)
	}
	if err := handler.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelError, "x", 0)); err == nil {
		t.Error("the error of the next handler is lost")
	}
}
