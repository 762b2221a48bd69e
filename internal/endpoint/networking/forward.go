package networking

import (
	"context"
	"iter"
	"net/url"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/network"
	"lxd/internal/network/forward"
	"lxd/internal/rest"
)

// Forwards is the routes of /1.0/networks/NAME/forwards.
func Forwards(svc *network.Service) []rest.Route {
	h := forwards{svc}
	const all, one = "/1.0/networks/{networkName}/forwards", "/1.0/networks/{networkName}/forwards/{listenAddress}"
	view, edit := auth.Can("network", "can_view"), auth.Can("network", "can_edit")
	return append([]rest.Route{
		rest.List("GET "+all, view, h.list),
		rest.Create("POST "+all, edit, h.create),
		rest.Get("GET "+one, view, h.get),
		rest.Sync("DELETE "+one, edit, h.remove),
	}, rest.Edit(one, edit, rest.Editor[api.NetworkForwardPut]{Load: h.load, Save: h.save})...)
}

type forwards struct{ svc *network.Service }

func (h forwards) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.NetworkForward], error] {
	name := c.PathValue("networkName")
	all, err := h.svc.Forwards(ctx, c.Project, name)
	return rest.Items(all, err, func(f api.NetworkForward) string { return forward.URL(name, f.ListenAddress) })
}

func (h forwards) create(ctx context.Context, c *rest.Call, in api.NetworkForwardsPost) (string, error) {
	name := c.PathValue("networkName")
	listen, err := h.svc.CreateForward(ctx, c.Project, name, in)
	return "/1.0/networks/" + url.PathEscape(name) + "/forwards/" + url.PathEscape(listen), err
}

func (h forwards) get(ctx context.Context, c *rest.Call) (api.NetworkForward, any, error) {
	return h.svc.Forward(ctx, c.Project, c.PathValue("networkName"), c.PathValue("listenAddress"))
}

func (h forwards) load(ctx context.Context, c *rest.Call) (api.NetworkForwardPut, any, error) {
	f, etag, err := h.get(ctx, c)
	return f.Writable(), etag, err
}

func (h forwards) save(ctx context.Context, c *rest.Call, next api.NetworkForwardPut) error {
	return h.svc.UpdateForward(ctx, c.Project, c.PathValue("networkName"), c.PathValue("listenAddress"), next)
}

func (h forwards) remove(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
	return rest.None{}, h.svc.DeleteForward(ctx, c.Project, c.PathValue("networkName"), c.PathValue("listenAddress"))
}
