// Package access maps the calls below /1.0/auth: who may call the server, and what each may do.
package access

import (
	"lxd/internal/auth"
	"lxd/internal/rest"
)

// global is the routes, none of which looks at the project of the call.
func global(routes []rest.Route) []rest.Route {
	for i := range routes {
		routes[i] = routes[i].Global()
	}
	return routes
}

// server is what rights on the server are about.
func server() auth.Object { return auth.Object{Entity: "server", URL: "/1.0"} }
