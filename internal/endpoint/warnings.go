package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/rest"
	"lxd/internal/warning"
)

// Warnings is the routes of /1.0/warnings.
func Warnings(svc *warning.Service) []rest.Route {
	h := warnings{svc}
	view, edit := auth.Can("server", "can_view_warnings"), auth.Can("server", "can_edit")
	return append(
		rest.Globals(rest.Edit("/1.0/warnings/{id}", edit, rest.Editor[api.WarningPut]{Load: h.load, Save: h.save})),
		rest.List("GET /1.0/warnings", view, h.list).NullEmpty(),
		rest.Get("GET /1.0/warnings/{id}", view, h.get).Global(),
		rest.Sync("DELETE /1.0/warnings/{id}", edit, h.remove).Global(),
	)
}

type warnings struct{ svc *warning.Service }

func (h warnings) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Warning], error] {
	all, err := h.svc.List(ctx)
	return func(yield func(rest.Item[api.Warning], error) bool) {
		if err != nil {
			yield(rest.Item[api.Warning]{}, err)
			return
		}
		for _, w := range all {
			if c.Param("project") != "" && w.Project != c.Project {
				continue
			}
			if !yield(rest.Item[api.Warning]{URL: "/1.0/warnings/" + w.UUID, Value: func(int) api.Warning { return w }}, nil) {
				return
			}
		}
	}
}

func (h warnings) get(ctx context.Context, c *rest.Call) (w api.Warning, etag any, err error) {
	w, err = h.svc.Get(ctx, c.PathValue("id"))
	return w, nil, err
}

func (h warnings) load(ctx context.Context, c *rest.Call) (api.WarningPut, any, error) {
	w, _, err := h.get(ctx, c)
	return w.Writable(), nil, err
}

func (h warnings) save(ctx context.Context, c *rest.Call, next api.WarningPut) error {
	return h.svc.Set(ctx, c.PathValue("id"), next.Status)
}

func (h warnings) remove(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	return none, h.svc.Delete(ctx, c.PathValue("id"))
}
