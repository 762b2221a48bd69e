package networking

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/network"
	"lxd/internal/rest"
)

// Absent is the routes of what no kind of network of this server has: they say so of the network that is asked for.
func Absent(svc *network.Service) []rest.Route {
	return append(
		absent[api.NetworkLoadBalancer, api.NetworkLoadBalancersPost, api.NetworkLoadBalancerPut](svc, "load-balancers", "{listenAddress}"),
		absent[api.NetworkPeer, api.NetworkPeersPost, api.NetworkPeerPut](svc, "peers", "{peerName}")...)
}

func absent[T, Post, Put any](svc *network.Service, what, name string) []rest.Route {
	all := "/1.0/networks/{networkName}/" + what
	one := all + "/" + name
	view, edit := auth.Can("network", "can_view"), auth.Can("network", "can_edit")
	lacks := func(ctx context.Context, c *rest.Call) error {
		return svc.Lacks(ctx, c.Project, c.PathValue("networkName"), what)
	}
	return append([]rest.Route{
		rest.List("GET "+all, view, func(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[T], error] {
			return rest.Items([]T(nil), lacks(ctx, c), func(T) string { return "" })
		}),
		rest.Create("POST "+all, edit, func(ctx context.Context, c *rest.Call, _ Post) (string, error) { return "", lacks(ctx, c) }),
		rest.Get("GET "+one, view, func(ctx context.Context, c *rest.Call) (none T, _ any, err error) { return none, nil, lacks(ctx, c) }),
		rest.Sync("DELETE "+one, edit, func(ctx context.Context, c *rest.Call, none rest.None) (rest.None, error) { return none, lacks(ctx, c) }),
	}, rest.Edit(one, edit, rest.Editor[Put]{Load: func(ctx context.Context, c *rest.Call) (put Put, _ any, err error) { return put, nil, lacks(ctx, c) }})...)
}
