package networking

import (
	"context"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/network"
	"lxd/internal/rest"
)

// Allocations is the route of /1.0/network-allocations.
func Allocations(svc *network.Service) []rest.Route {
	return []rest.Route{rest.Get("GET /1.0/network-allocations", auth.Authenticated, func(ctx context.Context, c *rest.Call) ([]api.NetworkAllocations, any, error) {
		list, err := svc.Allocations(ctx, c.Project, c.AllProjects)
		shown := []api.NetworkAllocations{}
		for _, a := range list {
			if c.May(auth.Object{Entity: a.Entity, Project: a.Project, URL: a.URL}, "can_view") {
				shown = append(shown, a.NetworkAllocations)
			}
		}
		return shown, nil, err
	}).Reads("all-projects")}
}
