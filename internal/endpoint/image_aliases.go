package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/project"
	"lxd/internal/rest"
)

// ImageAliases is the routes of /1.0/images/aliases. The name of an alias may have slashes in it, escaped or not.
func ImageAliases(svc *image.Service) []rest.Route {
	h := imageAliases{svc}
	const one = "/1.0/images/aliases/{name...}"
	edit := rest.Editor[api.ImageAliasesEntryPut]{Load: h.load, Save: h.save}
	return append([]rest.Route{
		rest.List("GET /1.0/images/aliases", auth.Can("image_alias", "can_view"), h.list),
		rest.Create("POST /1.0/images/aliases", auth.Can("project", "can_create_image_aliases"), h.create),
		rest.Get("GET "+one, auth.Public, h.get),
		rest.Create("POST "+one, auth.Can("image_alias", "can_edit"), h.rename),
		rest.Sync("DELETE "+one, auth.Can("image_alias", "can_delete"), h.remove),
	}, rest.Edit(one, auth.Can("image_alias", "can_edit"), edit)...)
}

type imageAliases struct{ svc *image.Service }

func aliasURL(name string) string { return project.URL("", "images", "aliases", name) }

func (h imageAliases) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.ImageAliasesEntry], error] {
	all, err := h.svc.AliasList(ctx, c.Project)
	return items(all, err, func(a api.ImageAliasesEntry) string { return aliasURL(a.Name) })
}

func (h imageAliases) create(ctx context.Context, c *rest.Call, in api.ImageAliasesPost) (string, error) {
	return aliasURL(in.Name), h.svc.AliasCreate(ctx, c.Project, in)
}

func (h imageAliases) get(ctx context.Context, c *rest.Call) (api.ImageAliasesEntry, any, error) {
	name := c.PathValue("name")
	o := auth.Object{Entity: "image_alias", Project: c.Project, URL: aliasURL(name)}
	a, err := h.svc.AliasGet(ctx, c.Project, name, !c.May(o, "can_view"))
	if errs.Is(err, errs.NotFound) && !c.Caller.Admin { // whether it is the alias, its project, or the right to see it that is missing
		err = errs.Newf(errs.NotFound, "image alias %q not found", name)
	}
	return a, a, err
}

func (h imageAliases) load(ctx context.Context, c *rest.Call) (api.ImageAliasesEntryPut, any, error) {
	a, err := h.svc.AliasGet(ctx, c.Project, c.PathValue("name"), false)
	return a.Writable(), a, err
}

func (h imageAliases) save(ctx context.Context, c *rest.Call, next api.ImageAliasesEntryPut) error {
	return h.svc.AliasUpdate(ctx, c.Project, c.PathValue("name"), next)
}

func (h imageAliases) rename(ctx context.Context, c *rest.Call, in api.ImageAliasesEntryPost) (string, error) {
	return aliasURL(in.Name), h.svc.AliasRename(ctx, c.Project, c.PathValue("name"), in.Name)
}

func (h imageAliases) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.AliasDelete(ctx, c.Project, c.PathValue("name"))
}
