package endpoint

import (
	"context"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/rest"
)

// Resources is the route of /1.0/resources; read finds out what the host has.
func Resources(read func() (api.Resources, error)) []rest.Route {
	return []rest.Route{rest.Get("GET /1.0/resources", auth.Can("server", "can_view_resources"),
		func(context.Context, *rest.Call) (api.Resources, any, error) {
			r, err := read()
			return r, nil, err
		})}
}
