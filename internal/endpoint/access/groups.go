package access

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/rest"
)

// Groups is the routes of /1.0/auth/groups.
func Groups(svc *identity.Service) []rest.Route {
	h := groups{svc}
	const one = "/1.0/auth/groups/{groupName}"
	view, edit := auth.Can("group", "can_view"), auth.Can("group", "can_edit")
	return global(append([]rest.Route{
		rest.List("GET /1.0/auth/groups", view, h.list),
		rest.Create("POST /1.0/auth/groups", auth.Can("server", "can_create_groups"), h.create),
		rest.Get("GET "+one, view, h.get),
		rest.Create("POST "+one, edit, h.rename),
		rest.Sync("DELETE "+one, auth.Can("group", "can_delete"), h.remove),
	}, rest.Edit(one, edit, rest.Editor[api.AuthGroupPut]{Load: h.load, Save: h.save})...))
}

type groups struct{ svc *identity.Service }

func (groups) name(c *rest.Call) string { return c.PathValue("groupName") }

// shown is a group without those in it that the caller may not view.
func (groups) shown(c *rest.Call, g api.AuthGroup) api.AuthGroup {
	if c.Caller.Admin {
		return g
	}
	who := map[string][]string{}
	for method, ids := range g.Identities {
		url := func(id string) string { return identity.URL(method, id) }
		if seen := seenBy(c, "identity", url, ids); len(seen) > 0 {
			who[method] = seen
		}
	}
	g.Identities = who
	g.IdentityProviderGroups = seenBy(c, "identity_provider_group", identity.ProviderGroupURL, g.IdentityProviderGroups)
	return g
}

func (h groups) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.AuthGroup], error] {
	all, err := h.svc.Groups(ctx)
	for i := range all {
		all[i] = h.shown(c, all[i])
	}
	return rest.Items(all, err, func(g api.AuthGroup) string { return identity.GroupURL(g.Name) })
}

func (h groups) create(ctx context.Context, c *rest.Call, in api.AuthGroupsPost) (string, error) {
	if err := h.svc.MayGrant(ctx, c.Caller, "", in.Permissions); err != nil {
		return "", err
	}
	return identity.GroupURL(in.Name), h.svc.CreateGroup(ctx, in)
}

func (h groups) get(ctx context.Context, c *rest.Call) (api.AuthGroup, any, error) {
	g, err := h.svc.Group(ctx, h.name(c))
	return h.shown(c, g), g.Writable(), err
}

func (h groups) rename(ctx context.Context, c *rest.Call, in api.AuthGroupPost) (string, error) {
	return identity.GroupURL(in.Name), h.svc.RenameGroup(ctx, h.name(c), in.Name)
}

func (h groups) load(ctx context.Context, c *rest.Call) (api.AuthGroupPut, any, error) {
	g, err := h.svc.Group(ctx, h.name(c))
	return g.Writable(), g.Writable(), err
}

func (h groups) save(ctx context.Context, c *rest.Call, next api.AuthGroupPut) error {
	if err := h.svc.MayGrant(ctx, c.Caller, h.name(c), next.Permissions); err != nil {
		return err
	}
	return h.svc.ReplaceGroup(ctx, h.name(c), next)
}

func (h groups) remove(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	return none, h.svc.DeleteGroup(ctx, h.name(c))
}

// ProviderGroups is the routes of /1.0/auth/identity-provider-groups.
func ProviderGroups(svc *identity.Service) []rest.Route {
	h := providerGroups{svc}
	const one = "/1.0/auth/identity-provider-groups/{idpGroupName}"
	view, edit := auth.Can("identity_provider_group", "can_view"), auth.Can("identity_provider_group", "can_edit")
	return global(append([]rest.Route{
		rest.List("GET /1.0/auth/identity-provider-groups", view, h.list),
		rest.Create("POST /1.0/auth/identity-provider-groups", auth.Can("server", "can_create_identity_provider_groups"), h.create),
		rest.Get("GET "+one, view, h.get),
		rest.Create("POST "+one, edit, h.rename),
		rest.Sync("DELETE "+one, auth.Can("identity_provider_group", "can_delete"), h.remove),
	}, rest.Edit(one, edit, rest.Editor[api.IdentityProviderGroupPut]{Load: h.load, Save: h.save})...))
}

type providerGroups struct{ svc *identity.Service }

func (providerGroups) name(c *rest.Call) string { return c.PathValue("idpGroupName") }

// shown is a group of a provider without the groups that the caller may not view.
func (providerGroups) shown(c *rest.Call, g api.IdentityProviderGroup) api.IdentityProviderGroup {
	if c.Caller.Admin {
		return g
	}
	g.Groups = seenBy(c, "group", identity.GroupURL, g.Groups)
	return g
}

func (h providerGroups) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.IdentityProviderGroup], error] {
	all, err := h.svc.ProviderGroups(ctx)
	for i := range all {
		all[i] = h.shown(c, all[i])
	}
	return rest.Items(all, err, func(g api.IdentityProviderGroup) string { return identity.ProviderGroupURL(g.Name) })
}

func (h providerGroups) create(ctx context.Context, c *rest.Call, in api.IdentityProviderGroupsPost) (string, error) {
	if err := h.svc.MayGive(ctx, c.Caller, in.Groups); err != nil {
		return "", err
	}
	return identity.ProviderGroupURL(in.Name), h.svc.CreateProviderGroup(ctx, api.IdentityProviderGroup{Name: in.Name, Groups: in.Groups})
}

func (h providerGroups) get(ctx context.Context, c *rest.Call) (api.IdentityProviderGroup, any, error) {
	g, err := h.svc.ProviderGroup(ctx, h.name(c))
	return h.shown(c, g), g.Writable(), err
}

// rename asks for as much as making a group of that name does: from then on others are in it.
func (h providerGroups) rename(ctx context.Context, c *rest.Call, in api.IdentityProviderGroupPost) (string, error) {
	g, err := h.svc.ProviderGroup(ctx, h.name(c))
	if err != nil {
		return "", err
	}
	if err := h.svc.MayGive(ctx, c.Caller, g.Groups); err != nil {
		return "", err
	}
	return identity.ProviderGroupURL(in.Name), h.svc.RenameProviderGroup(ctx, h.name(c), in.Name)
}

func (h providerGroups) load(ctx context.Context, c *rest.Call) (api.IdentityProviderGroupPut, any, error) {
	g, err := h.svc.ProviderGroup(ctx, h.name(c))
	return g.Writable(), g.Writable(), err
}

func (h providerGroups) save(ctx context.Context, c *rest.Call, next api.IdentityProviderGroupPut) error {
	g, err := h.svc.ProviderGroup(ctx, h.name(c))
	if err != nil {
		return err
	}
	if err := h.svc.MayGive(ctx, c.Caller, added(g.Groups, next.Groups)); err != nil {
		return err
	}
	return h.svc.ReplaceProviderGroup(ctx, h.name(c), next.Groups)
}

func (h providerGroups) remove(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	return none, h.svc.DeleteProviderGroup(ctx, h.name(c))
}

// seenBy are those of the names of entities of a type that the caller may view; url is where one of that name is.
func seenBy(c *rest.Call, entity string, url func(name string) string, names []string) []string {
	seen := []string{}
	for _, name := range names {
		if c.Caller.May(auth.Object{Entity: entity, URL: url(name)}, "can_view") {
			seen = append(seen, name)
		}
	}
	return seen
}

// absent tells of something that the caller may not learn of.
func absent(c *rest.Call) error { return errs.Newf(errs.NotFound, "%s not found", c.URL.Path) }
