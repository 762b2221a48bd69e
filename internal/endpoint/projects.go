package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// Projects is the routes of /1.0/projects.
func Projects(svc *project.Service) []rest.Route {
	h := projects{svc}
	const one = "/1.0/projects/{name}"
	edit := rest.Editor[api.ProjectPut]{Load: h.load, Save: h.save}
	routes := append([]rest.Route{
		rest.List("GET /1.0/projects", auth.Can("project", "can_view"), h.list),
		rest.Create("POST /1.0/projects", auth.Can("server", "can_create_projects"), h.create),
		rest.Get("GET "+one, auth.Can("project", "can_view"), h.get),
		rest.Get("GET "+one+"/state", auth.Can("project", "can_view"), h.state),
		rest.Async("POST "+one, auth.Can("project", "can_edit"), h.rename),
		rest.Async("DELETE "+one, auth.Can("project", "can_delete"), h.remove).Reads("force"),
	}, rest.Edit(one, auth.Can("project", "can_edit"), edit)...)
	return rest.Globals(routes)
}

type projects struct{ svc *project.Service }

func (h projects) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Project], error] {
	all, err := h.svc.List(ctx)
	for i := range all {
		all[i].UsedBy = c.Visible(all[i].UsedBy)
	}
	return items(all, err, func(p api.Project) string { return project.URL("", "projects", p.Name) })
}

func (h projects) create(ctx context.Context, _ *rest.Call, in api.ProjectsPost) (string, error) {
	return project.URL("", "projects", in.Name), h.svc.Create(ctx, in)
}

func (h projects) get(ctx context.Context, c *rest.Call) (api.Project, any, error) {
	p, etag, err := h.svc.Get(ctx, c.PathValue("name"))
	p.UsedBy = c.Visible(p.UsedBy)
	return p, etag, err
}

func (h projects) state(ctx context.Context, c *rest.Call) (api.ProjectState, any, error) {
	s, err := h.svc.State(ctx, c.PathValue("name"))
	return s, nil, err
}

func (h projects) load(ctx context.Context, c *rest.Call) (api.ProjectPut, any, error) {
	p, etag, err := h.svc.Get(ctx, c.PathValue("name"))
	return p.Writable(), etag, err
}

func (h projects) save(ctx context.Context, c *rest.Call, next api.ProjectPut) error {
	return h.svc.Update(ctx, c.PathValue("name"), next)
}

func (h projects) remove(ctx context.Context, c *rest.Call, _ rest.None) (op.Spec, error) {
	return h.svc.Delete(ctx, c.PathValue("name"), c.Flag("force"))
}

func (h projects) rename(ctx context.Context, c *rest.Call, in api.ProjectPost) (op.Spec, error) {
	return h.svc.Rename(ctx, c.PathValue("name"), in.Name)
}
