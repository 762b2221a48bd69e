package endpoint_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/storage"
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

// TestShutdownThatFailsEnds: a server that refuses everything because it is about to end does end.
func TestShutdownThatFailsEnds(t *testing.T) {
	w := newWorld(t)
	w.daemon.flaw = errs.Newf(errs.Internal, "a network stays up")
	if a := w.do(t, "PUT", "/internal/shutdown", ""); a.HTTP != 500 || !strings.Contains(a.Error, "a network stays up") {
		t.Error(a)
	}
	select {
	case <-w.daemon.exited:
	case <-time.After(time.Second):
		t.Error("the process lives on")
	}
}

// strays stands in for the pools of a server.
type strays map[string][]storage.Stray

func (s strays) Strays(_ context.Context, pools []string) (all []storage.Stray, err error) {
	for _, p := range pools {
		if s[p] == nil {
			return nil, errs.Newf(errs.NotFound, "no pool %q", p)
		}
		all = append(all, s[p]...)
	}
	return all, nil
}

func TestRecover(t *testing.T) {
	w := newWorld(t)
	w.strays["p"] = []storage.Stray{
		{Pool: "p", Volume: storage.Volume{Type: storage.CustomVolume, Project: "gone", Name: "a"}, Snapshots: 2, Homeless: true},
		{Pool: "p", Volume: storage.Volume{Type: storage.ContainerVolume, Project: "gone", Name: "b"}, Homeless: true},
	}
	a := w.do(t, "POST", "/internal/recover/validate", `{"pools":[{"name":"p","driver":"dir"}]}`, "Content-Type", "application/json")
	var out struct {
		UnknownVolumes []struct {
			Name, Type, Project, Pool string
			SnapshotCount             int
		}
		DependencyErrors []string
	}
	if a.into(t, &out); a.HTTP != 200 || len(out.UnknownVolumes) != 2 || out.UnknownVolumes[0].SnapshotCount != 2 || out.UnknownVolumes[1].Type != "container" {
		t.Errorf("%+v %+v", a, out)
	}
	if len(out.DependencyErrors) != 1 || !strings.Contains(out.DependencyErrors[0], "lxc project create gone") {
		t.Errorf("%q", out.DependencyErrors)
	}
	if a := w.do(t, "POST", "/internal/recover/validate", `{"pools":[]}`, "Content-Type", "application/json"); a.HTTP != 200 || string(a.Metadata) != `{"UnknownVolumes":[],"DependencyErrors":[]}` {
		t.Errorf("%s", a.Metadata)
	}
	if a := w.do(t, "POST", "/internal/recover/validate", `{"pools":[{"name":"x"}]}`, "Content-Type", "application/json"); a.HTTP != 404 {
		t.Errorf("%+v", a)
	}
	if a := w.do(t, "POST", "/internal/recover/import", `{"pools":[{"name":"p"}]}`, "Content-Type", "application/json"); a.HTTP != 501 || !strings.Contains(a.Error, "nothing was changed") {
		t.Errorf("%+v", a)
	}
	w.who = auth.Identity{Kind: auth.TLS, Admin: true}
	for _, what := range []string{"validate", "import"} {
		if a := w.do(t, "POST", "/internal/recover/"+what, `{}`, "Content-Type", "application/json"); a.HTTP != 403 {
			t.Errorf("%s over the network: %+v", what, a)
		}
	}
}
