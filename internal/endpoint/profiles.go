package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
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
		rest.List("GET /1.0/profiles", auth.Can("profile", "can_view"), h.list),
		rest.Create("POST /1.0/profiles", auth.Can("project", "can_create_profiles"), h.create),
		rest.Get("GET "+one, auth.Can("profile", "can_view"), h.get),
		rest.Create("POST "+one, auth.Can("profile", "can_edit"), h.rename),
		rest.Sync("DELETE "+one, auth.Can("profile", "can_delete"), h.remove),
	}, rest.Edit(one, auth.Can("profile", "can_edit"), edit)...)
}

type profiles struct{ svc *profile.Service }

func (h profiles) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Profile], error] {
	all, err := h.svc.List(ctx, c.Project, c.AllProjects)
	return items(all, err, func(p api.Profile) string { return project.URL(p.Project, "profiles", p.Name) })
}

func (h profiles) create(ctx context.Context, c *rest.Call, in api.ProfilesPost) (string, error) {
	return project.URL(c.Project, "profiles", in.Name), h.svc.Create(ctx, c.Project, in)
}

func (h profiles) get(ctx context.Context, c *rest.Call) (api.Profile, any, error) {
	return h.svc.Get(ctx, c.Project, c.PathValue("name"))
}

func (h profiles) rename(ctx context.Context, c *rest.Call, in api.ProfilePost) (string, error) {
	return project.URL(c.Project, "profiles", in.Name), h.svc.Rename(ctx, c.Project, c.PathValue("name"), in.Name)
}

func (h profiles) load(ctx context.Context, c *rest.Call) (api.ProfilePut, any, error) {
	p, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("name"))
	return p.Writable(), etag, err
}

func (h profiles) save(ctx context.Context, c *rest.Call, next api.ProfilePut) (op.Spec, error) {
	return h.svc.Update(ctx, c.Project, c.PathValue("name"), next)
}

func (h profiles) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.Delete(ctx, c.Project, c.PathValue("name"))
}

// items makes a list of objects that are at hand.
func items[T any](all []T, err error, url func(T) string) iter.Seq2[rest.Item[T], error] {
	return func(yield func(rest.Item[T], error) bool) {
		if err != nil {
			yield(rest.Item[T]{}, err)
			return
		}
		for _, v := range all {
			if !yield(rest.Item[T]{URL: url(v), Value: func(int) T { return v }}, nil) {
				return
			}
		}
	}
}

// within says of each item which project it is in, for lists whose URLs do not tell.
func within[T any](list iter.Seq2[rest.Item[T], error], project func(T) string) iter.Seq2[rest.Item[T], error] {
	return func(yield func(rest.Item[T], error) bool) {
		for it, err := range list {
			if err == nil {
				it.Project = project(it.Value(1))
			}
			if !yield(it, err) {
				return
			}
		}
	}
}
