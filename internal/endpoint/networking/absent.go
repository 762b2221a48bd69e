package networking

import (
	"context"

	"lxd/internal/auth"
	"lxd/internal/network"
	"lxd/internal/rest"
)

// Absent is the routes of what no kind of network of this server has: they say so of the network that is asked for.
func Absent(svc *network.Service) (routes []rest.Route) {
	for what, one := range map[string]string{"load-balancers": "{listenAddress}", "peers": "{peerName}"} {
		all := "/1.0/networks/{networkName}/" + what
		no := func(ctx context.Context, c *rest.Call, _ rest.None) (rest.None, error) {
			return rest.None{}, svc.Lacks(ctx, c.Project, c.PathValue("networkName"), what)
		}
		view, edit := auth.Can("network", "can_view"), auth.Can("network", "can_edit")
		routes = append(routes,
			rest.Sync("GET "+all, view, no), rest.Sync("POST "+all, edit, no), rest.Sync("GET "+all+"/"+one, view, no),
			rest.Sync("PUT "+all+"/"+one, edit, no), rest.Sync("PATCH "+all+"/"+one, edit, no), rest.Sync("DELETE "+all+"/"+one, edit, no),
		)
	}
	return routes
}
