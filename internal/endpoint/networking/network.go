// Package networking maps API calls to the use cases of networks and what belongs to them.
package networking

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/network"
	"lxd/internal/rest"
)

// Networks is the routes of /1.0/networks.
func Networks(svc *network.Service) []rest.Route {
	h := networks{svc}
	const one = "/1.0/networks/{networkName}"
	view := auth.Can("network", "can_view")
	edit := rest.Editor[api.NetworkPut]{Load: h.load, Save: h.save}
	return append([]rest.Route{
		rest.List("GET /1.0/networks", view, h.list).Reads("all-projects"),
		rest.Create("POST /1.0/networks", auth.Can("project", "can_create_networks"), h.create),
		rest.Get("GET "+one, view, h.get).Or(h.unmanaged),
		rest.Create("POST "+one, auth.Can("network", "can_edit"), h.rename),
		rest.Sync("DELETE "+one, auth.Can("network", "can_delete"), h.remove),
		rest.Get("GET "+one+"/leases", view, h.leases).Or(h.unmanaged),
		rest.Get("GET "+one+"/state", view, h.state).Or(h.unmanaged),
	}, rest.Edit(one, auth.Can("network", "can_edit"), edit)...)
}

type networks struct{ svc *network.Service }

func (h networks) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Network], error] {
	all, err := h.svc.List(ctx, c.Project, c.AllProjects)
	return func(yield func(rest.Item[api.Network], error) bool) {
		if err != nil {
			yield(rest.Item[api.Network]{}, err)
			return
		}
		for _, n := range all {
			if !h.sees(c, n) {
				continue
			}
			n = h.shown(c, n)
			it := rest.Item[api.Network]{URL: network.URL(n.Name), Project: n.Project, Open: !n.Managed, Value: func(int) api.Network { return n }}
			if !yield(it, nil) {
				return
			}
		}
	}
}

// sees tells whether the caller may know of a network: the interfaces of the host belong to no project.
func (networks) sees(c *rest.Call, n api.Network) bool {
	return n.Managed || c.May(auth.ServerObject, "can_view_unmanaged_networks")
}

// unmanaged tells whether the path names an interface of the host, and the caller may see those.
func (h networks) unmanaged(ctx context.Context, c *rest.Call) bool {
	if !c.May(auth.ServerObject, "can_view_unmanaged_networks") {
		return false
	}
	n, _, err := h.svc.Get(ctx, c.Project, c.PathValue("networkName"))
	return err == nil && !n.Managed
}

func (h networks) create(ctx context.Context, c *rest.Call, in api.NetworksPost) (string, error) {
	if err := use.Check(c, use.Refs{Project: c.Project, ACLs: in.Config["security.acls"]}, use.Refs{}); err != nil {
		return "", err
	}
	return network.URL(in.Name), h.svc.Create(ctx, c.Project, in)
}

func (h networks) get(ctx context.Context, c *rest.Call) (api.Network, any, error) {
	n, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("networkName"))
	if err == nil && !h.sees(c, n) {
		return api.Network{}, nil, errs.Newf(errs.NotFound, "network %q not found", c.PathValue("networkName"))
	}
	return h.shown(c, n), etag, err
}

// shown is a network as the caller may see it: how it is made is for those who may change it.
func (networks) shown(c *rest.Call, n api.Network) api.Network {
	if !c.May(auth.Object{Entity: "network", Project: n.Project, URL: network.URL(n.Name)}, "can_edit") {
		n.Config = map[string]string{}
	}
	n.UsedBy = c.Visible(n.UsedBy)
	return n
}

func (h networks) rename(ctx context.Context, c *rest.Call, in api.NetworkPost) (string, error) {
	return network.URL(in.Name), h.svc.Rename(ctx, c.Project, c.PathValue("networkName"), in.Name)
}

func (h networks) load(ctx context.Context, c *rest.Call) (api.NetworkPut, any, error) {
	n, etag, err := h.svc.Get(ctx, c.Project, c.PathValue("networkName"))
	return n.Writable(), etag, err
}

func (h networks) save(ctx context.Context, c *rest.Call, next api.NetworkPut) error {
	if use.Judged(c) {
		now, _, err := h.load(ctx, c)
		if err == nil {
			err = use.Check(c, use.Refs{Project: c.Project, ACLs: next.Config["security.acls"]}, use.Refs{Project: c.Project, ACLs: now.Config["security.acls"]})
		}
		if err != nil {
			return err
		}
	}
	return h.svc.Update(ctx, c.Project, c.PathValue("networkName"), next)
}

func (h networks) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.Delete(ctx, c.Project, c.PathValue("networkName"))
}

func (h networks) leases(ctx context.Context, c *rest.Call) ([]api.NetworkLease, any, error) {
	list, err := h.svc.Leases(ctx, c.Project, c.PathValue("networkName"))
	return list, nil, err
}

func (h networks) state(ctx context.Context, c *rest.Call) (api.NetworkState, any, error) {
	if _, _, err := h.get(ctx, c); err != nil {
		return api.NetworkState{}, nil, err
	}
	st, err := h.svc.State(ctx, c.Project, c.PathValue("networkName"))
	return st, nil, err
}
