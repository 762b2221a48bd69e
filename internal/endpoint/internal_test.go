package endpoint_test

import (
	"testing"
	"time"

	"lxd/internal/auth"
)

func TestReady(t *testing.T) {
	w := newWorld(t)
	for query, code := range map[string]int{"": 503, "?timeout=1": 503, "?timeout=x": 400, "?timeout=-1": 400} {
		if a := w.do(t, "GET", "/internal/ready"+query, ""); a.HTTP != code {
			t.Error(query, a)
		}
	}
	time.AfterFunc(20*time.Millisecond, func() { close(w.daemon.ready) })
	for _, query := range []string{"?timeout=0", "?timeout=5", ""} {
		if a := w.do(t, "GET", "/internal/ready"+query, ""); a.HTTP != 200 || string(a.Metadata) != "{}" {
			t.Error(query, a)
		}
	}
	w.who = auth.Identity{Kind: auth.TLS}
	if a := w.do(t, "GET", "/internal/ready", ""); a.HTTP != 403 {
		t.Error("not for everyone", a)
	}
}

func TestShutdownAnswersBeforeTheEnd(t *testing.T) {
	w := newWorld(t)
	if a := w.do(t, "PUT", "/internal/shutdown?force=true", ""); a.HTTP != 200 || string(a.Metadata) != "{}" || !w.daemon.force {
		t.Error(a, w.daemon.force)
	}
	select {
	case <-w.daemon.exited:
	case <-time.After(time.Second):
		t.Error("the process lives on")
	}
	if a := w.do(t, "PUT", "/internal/shutdown", ""); a.HTTP != 429 {
		t.Error(a)
	}
}
