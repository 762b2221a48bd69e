package access

import (
	"context"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/rest"
	"lxd/internal/trust"
)

// createTLS makes an identity of a certificate, or one that waits for it and the token with which a client gives it; or it takes the
// certificate of a client that shows such a token.
func (h identities) createTLS(ctx context.Context, c *rest.Call, in api.IdentitiesTLSPost) (string, *api.CertificateAddToken, error) {
	switch {
	case in.TrustToken != "":
		location, err := h.redeem(ctx, c, in)
		return location, nil, err
	case !c.Caller.May(server(), "can_create_identities"):
		return "", nil, errs.Newf(errs.Forbidden, "not authorized: an identity is made by somebody that is trusted already, or with a token")
	case in.Token && in.Certificate != "":
		return "", nil, errs.Newf(errs.Invalid, "a token and a certificate exclude each other: send one of them")
	case !in.Token && in.Certificate == "":
		return "", nil, errs.Newf(errs.Invalid, "an identity needs a certificate: send one, or ask for a token")
	}
	if err := h.svc.MayGive(ctx, c.Caller, in.Groups); err != nil {
		return "", nil, err
	}
	if in.Token {
		rec, token, err := h.svc.Issue(ctx, in.Name, in.Groups)
		return rec.URL(), &token, err
	}
	rec, err := h.svc.TLSRecord(in.Name, in.Certificate, in.Groups)
	if err != nil {
		return "", nil, err
	}
	return rec.URL(), nil, h.svc.Create(ctx, rec)
}

// redeem takes the certificate of the connection: it alone proves that the client has its key.
func (h identities) redeem(ctx context.Context, c *rest.Call, in api.IdentitiesTLSPost) (string, error) {
	switch {
	case c.Caller.Trusted():
		return "", errs.Newf(errs.Conflict, "the server trusts this client already: it needs no token")
	case in.Token || in.Certificate != "" || len(in.Groups) > 0:
		return "", errs.Newf(errs.Invalid, "a trust token comes alone: the certificate is that of the connection, and the groups are those of the token")
	}
	return h.svc.Redeem(ctx, in.TrustToken, c.RemoteAddr, trust.PeerOf(c.Request))
}
