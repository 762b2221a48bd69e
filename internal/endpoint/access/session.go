package access

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/identity/oidc"
	"lxd/internal/rest"
)

// Sessions is the routes of the sessions of browsers that came by the OpenID Connect issuer. Everybody may see and end those of its own.
func Sessions(svc *oidc.Service) []rest.Route {
	h := sessions{svc}
	const all, one = "/1.0/auth/oidc-sessions", "/1.0/auth/oidc-sessions/{id}"
	return []rest.Route{
		rest.List("GET "+all, auth.Authenticated, h.list).Global().Reads("email"),
		rest.Get("GET "+one, auth.Authenticated, h.get).Global(),
		rest.Sync("DELETE "+one, auth.Authenticated, h.end).Global(),
	}
}

type sessions struct{ svc *oidc.Service }

// may tells whether the caller has the entitlement on the identity that a session is of.
func (sessions) may(c *rest.Call, s oidc.Session, entitlement string) bool {
	own := c.Caller.Kind == auth.OIDC && c.Caller.ID == s.Email
	return own || c.Caller.May(auth.Object{Entity: "identity", URL: identity.URL(string(auth.OIDC), s.Email)}, entitlement)
}

func (h sessions) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.OIDCSession], error] {
	all, err := h.svc.List(ctx, c.Param("email"))
	return func(yield func(rest.Item[api.OIDCSession], error) bool) {
		if err != nil {
			yield(rest.Item[api.OIDCSession]{}, err)
			return
		}
		for _, s := range all {
			item := rest.Item[api.OIDCSession]{URL: oidc.SessionURL(s.UUID), Value: func(int) api.OIDCSession { return s.API() }}
			if h.may(c, s, "can_view") && !yield(item, nil) {
				return
			}
		}
	}
}

// find loads a session if the caller may do that with it; whoever may not even see it does not learn that it is there.
func (h sessions) find(ctx context.Context, c *rest.Call, entitlement string) (oidc.Session, error) {
	id := c.PathValue("id")
	s, err := h.svc.Session(ctx, id)
	switch {
	case errs.Is(err, errs.NotFound) && !c.Caller.FineGrained && !c.Caller.Admin, err == nil && !h.may(c, s, "can_view") && !c.Caller.FineGrained:
		return s, errs.Newf(errs.Forbidden, "not authorized: can_view on the identity is needed")
	case err == nil && !h.may(c, s, "can_view"):
		return s, errs.Newf(errs.NotFound, "session %q not found", id)
	case err == nil && !h.may(c, s, entitlement):
		return s, errs.Newf(errs.Forbidden, "not authorized: %s on the identity is needed", entitlement)
	}
	return s, err
}

func (h sessions) get(ctx context.Context, c *rest.Call) (api.OIDCSession, any, error) {
	s, err := h.find(ctx, c, "can_view")
	return s.API(), nil, err
}

func (h sessions) end(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	s, err := h.find(ctx, c, "can_delete")
	if err != nil {
		return none, err
	}
	return none, h.svc.End(ctx, s.UUID)
}
