package access

import (
	"context"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/rest"
)

// Tokens is the routes of the tokens of identities.
func Tokens(bearers *identity.Service, svc *bearer.Service) []rest.Route {
	h := tokens{bearers, svc}
	const one = "/1.0/auth/identities/bearer/{nameOrIdentifier}/token"
	return []rest.Route{
		rest.Sync("POST "+one, auth.Can("identity", "can_edit"), h.issue).Global(),
		rest.Sync("DELETE "+one, auth.Can("identity", "can_edit"), h.revoke).Global(),
	}
}

type tokens struct {
	bearers *identity.Service
	svc     *bearer.Service
}

// find loads the identity. Whoever has a token of an administrator is one, so only those who are may have it.
func (h tokens) find(ctx context.Context, c *rest.Call) (identity.Record, error) {
	rec, err := h.bearers.Find(ctx, string(auth.Bearer), c.PathValue("nameOrIdentifier"))
	if err == nil && rec.Type == api.IdentityTypeInitialUITokenBearer && !c.Caller.Admin {
		err = errs.Newf(errs.Forbidden, "not authorized: the tokens of this identity make whoever has one an administrator, so only administrators may have them")
	}
	return rec, err
}

func (h tokens) issue(ctx context.Context, c *rest.Call, in api.IdentityBearerTokenPost) (out api.IdentityBearerToken, err error) {
	rec, err := h.find(ctx, c)
	if err == nil { // whoever has the token has these rights
		err = h.bearers.MayGive(ctx, c.Caller, rec.Groups)
	}
	if err != nil {
		return out, err
	}
	out.Token, err = h.svc.Issue(ctx, rec, in.Expiry)
	return out, err
}

func (h tokens) revoke(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	rec, err := h.find(ctx, c)
	if err != nil {
		return none, err
	}
	return none, h.svc.Revoke(ctx, rec)
}
