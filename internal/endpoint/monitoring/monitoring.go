// Package monitoring is the route that monitoring systems ask.
package monitoring

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/metric"
	"lxd/internal/rest"
)

// Path is where the metrics are.
const Path = "/1.0/metrics"

// Rules is what the route of metrics asks of others.
type Rules struct {
	// Open tells whether strangers may see the metrics (core.metrics_authentication is off).
	Open func(ctx context.Context) (bool, error)
	// Project fails with NotFound if there is no such project.
	Project func(ctx context.Context, name string) error
}

// Routes is the route of /1.0/metrics. It is declared public because a server may be configured to show metrics to everyone, and because
// those who hold a certificate for metrics are strangers otherwise; the handler asks for the entitlement of all others.
func Routes(svc *metric.Service, rules Rules) []rest.Route {
	h := metrics{svc, rules}
	return []rest.Route{rest.Raw("GET "+Path, auth.Public, h.get).Global().Reads("project").Answers(rest.Body{Media: "text/plain"})}
}

type metrics struct {
	svc   *metric.Service
	rules Rules
}

func (h metrics) get(w http.ResponseWriter, c *rest.Call) error {
	f, err := h.filter(c)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := h.svc.Write(c.Context(), &text, f); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain")
	if !strings.Contains(c.Header.Get("Accept-Encoding"), "gzip") {
		_, err = w.Write(text.Bytes())
		return err
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
	if _, err := z.Write(text.Bytes()); err != nil {
		return err
	}
	return z.Close()
}

// filter is what the caller may see of what it asks for, or the reason why that is nothing.
func (h metrics) filter(c *rest.Call) (metric.Filter, error) {
	only := c.Param("project")
	see, err := h.sight(c, only)
	if err != nil {
		return metric.Filter{}, err
	}
	if only == "" {
		return see, nil
	}
	if err := h.rules.Project(c.Context(), only); err != nil {
		return metric.Filter{}, err
	}
	all := see.Project
	see.Server, see.Project = false, func(project string) bool { return project == only && all(project) }
	return see, nil
}

// sight is what the caller may see at all.
func (h metrics) sight(c *rest.Call, only string) (metric.Filter, error) {
	everything := metric.Filter{Server: true, Project: func(string) bool { return true }, Instance: func(string, string) bool { return true }}
	open, err := h.rules.Open(c.Context())
	if err != nil || open {
		return everything, err
	}
	if m := c.Caller.Meter; m != nil && (only == "" && !m.Restricted || only != "" && m.Sees(only)) {
		everything.Server, everything.Project = !m.Restricted, m.Sees
		return everything, nil
	}
	access, object := auth.Can("server", "can_view_metrics"), auth.ServerObject
	if only != "" {
		access, object = auth.Can("project", "can_view_metrics"), auth.ProjectObject(only)
	}
	if err := c.Check(access, object); err != nil {
		return metric.Filter{}, err
	}
	everything.Project = func(project string) bool { return c.May(auth.ProjectObject(project), "can_view_metrics") }
	return everything, nil
}
