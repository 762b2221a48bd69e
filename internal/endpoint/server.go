package endpoint

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/rest"
	"lxd/internal/server"
)

// Server is the routes of / and /1.0.
func Server(svc *server.Service, facts server.Facts) []rest.Route {
	h := serverRoutes{svc, facts}
	get := rest.Get("GET /1.0", auth.Public, h.get).Answers(rest.JSON[api.ServerUntrusted]())
	get.Out = reflect.TypeFor[api.Server]()
	edit := rest.Globals(rest.Edit("/1.0", auth.Can("server", "can_edit"), rest.Editor[api.ServerPut]{Load: h.load, Save: h.save}))
	return append(edit, get, rest.Raw("GET /", auth.Public, h.root).Global().Answers(rest.JSON[[]string]()))
}

type serverRoutes struct {
	svc   *server.Service
	facts server.Facts
}

// root lists the versions of the API; browsers are sent to the user interface.
func (h serverRoutes) root(w http.ResponseWriter, c *rest.Call) error {
	if strings.HasPrefix(c.UserAgent(), "Mozilla") {
		http.Redirect(w, c.Request, "/ui/", http.StatusMovedPermanently)
		return nil
	}
	b, err := rest.Result([]string{"/1.0"}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(b)
	return err
}

// get shows untrusted callers only what they need to choose how to prove themselves.
func (h serverRoutes) get(ctx context.Context, c *rest.Call) (any, any, error) {
	config, err := h.config(ctx)
	if err != nil {
		return nil, nil, err
	}
	open := api.ServerUntrusted{
		APIExtensions: api.Advertised(), APIStatus: "stable", APIVersion: "1.0", Auth: "untrusted", AuthMethods: []string{"tls", "bearer"},
		ClientCertificate: c.TLS != nil && len(c.TLS.PeerCertificates) > 0, Config: map[string]any{},
	}
	if config[server.OIDCIssuer] != nil && config[server.OIDCClientID] != nil {
		open.AuthMethods = append(open.AuthMethods, "oidc")
	}
	if open.APIExtensions == nil {
		open.APIExtensions = []string{}
	}
	if !c.Caller.Trusted() {
		if v, ok := config["user.microcloud"]; ok {
			open.Config["user.microcloud"] = v
		}
		return open, nil, nil
	}
	open.Auth = "trusted"
	if c.May(auth.ServerObject, "can_edit") {
		open.Config = config
	}
	env, err := h.facts.Environment(ctx, c.Project)
	return api.Server{
		ServerUntrusted: open, AuthUserName: c.Caller.Name, AuthUserMethod: string(c.Caller.Kind), Environment: env,
	}, open.Config, err
}

func (h serverRoutes) config(ctx context.Context) (map[string]any, error) {
	config, err := h.svc.Config(ctx)
	return server.Shown(config), err
}

func (h serverRoutes) load(ctx context.Context, _ *rest.Call) (api.ServerPut, any, error) {
	config, err := h.config(ctx)
	return api.ServerPut{Config: config}, config, err
}

func (h serverRoutes) save(ctx context.Context, _ *rest.Call, next api.ServerPut) error {
	return h.svc.Replace(ctx, next.Config)
}

// Resources is the route of /1.0/resources; read finds out what the host has.
func Resources(read func() (api.Resources, error)) []rest.Route {
	return []rest.Route{rest.Get("GET /1.0/resources", auth.Can("server", "can_view_resources"),
		func(context.Context, *rest.Call) (api.Resources, any, error) {
			r, err := read()
			return r, nil, err
		}).Global()}
}
