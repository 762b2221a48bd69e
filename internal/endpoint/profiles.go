package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// Profiles is the routes of /1.0/profiles.
func Profiles(svc *profile.Service) []rest.Route {
	h := profiles{svc}
	const one = "/1.0/profiles/{name}"
	edit := rest.Editor[api.ProfilePut]{Load: h.load, SaveAsync: h.save}
	return append([]rest.Route{
		rest.List("GET /1.0/profiles", auth.Can("profile", "can_view"), h.list).Reads("all-projects"),
		rest.Create("POST /1.0/profiles", auth.Can("project", "can_create_profiles"), h.create),
		rest.Get("GET "+one, auth.Can("profile", "can_view"), h.get),
		rest.Create("POST "+one, auth.Can("profile", "can_edit"), h.rename),
		rest.Sync("DELETE "+one, auth.Can("profile", "can_delete"), h.remove),
	}, rest.Edit(one, auth.Can("profile", "can_edit"), edit)...)
}

type profiles struct{ svc *profile.Service }

func (h profiles) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Profile], error] {
	all, err := h.svc.List(ctx, c.Project, c.AllProjects)
	for i := range all {
		all[i].UsedBy = c.Visible(all[i].UsedBy)
	}
	return items(all, err, func(p api.Profile) string { return project.URL(p.Project, "profiles", p.Name) })
}

func (h profiles) create(ctx context.Context, c *rest.Call, in api.ProfilesPost) (string, error) {
	if err := use.Check(c, use.Refs{Project: c.Project, Devices: in.Devices}, use.Refs{}); err != nil {
		return "", err
	}
	return project.URL(c.Project, "profiles", in.Name), h.svc.Create(ctx, c.Project, in)
}

func (h profiles) get(ctx context.Context, c *rest.Call) (api.Profile, any, error) {
	p, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("name"))
	p.UsedBy = c.Visible(p.UsedBy)
	return p, etag, err
}

func (h profiles) rename(ctx context.Context, c *rest.Call, in api.ProfilePost) (string, error) {
	return project.URL(c.Project, "profiles", in.Name), h.svc.Rename(ctx, c.Project, c.PathValue("name"), in.Name)
}

func (h profiles) load(ctx context.Context, c *rest.Call) (api.ProfilePut, any, error) {
	p, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("name"))
	return p.Writable(), etag, err
}

func (h profiles) save(ctx context.Context, c *rest.Call, next api.ProfilePut) (op.Spec, error) {
	if use.Judged(c) {
		now, _, err := h.load(ctx, c)
		if err == nil {
			err = use.Check(c, use.Refs{Project: c.Project, Devices: next.Devices}, use.Refs{Project: c.Project, Devices: now.Devices})
		}
		if err != nil {
			return op.Spec{}, err
		}
	}
	return h.svc.Update(ctx, c.Project, c.PathValue("name"), next)
}

func (h profiles) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.Delete(ctx, c.Project, c.PathValue("name"))
}

// items and within are short for those of rest.
func items[T any](all []T, err error, url func(T) string) iter.Seq2[rest.Item[T], error] {
	return rest.Items(all, err, url)
}

func within[T any](list iter.Seq2[rest.Item[T], error], project func(T) string) iter.Seq2[rest.Item[T], error] {
	return rest.Within(list, project)
}
