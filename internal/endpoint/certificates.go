package endpoint

import (
	"context"
	"iter"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/trust"
)

// Certificates is the routes of /1.0/certificates. Whoever may edit the server sees and changes all of them, everyone else its own.
func Certificates(svc *trust.Service) []rest.Route {
	h := certificates{svc}
	const one = "/1.0/certificates/{fingerprint}"
	edit := rest.Editor[api.CertificatePut]{Load: h.load, Save: h.save}
	all := append([]rest.Route{
		rest.List("GET /1.0/certificates", auth.Authenticated, h.list),
		rest.Either("POST /1.0/certificates", auth.Public, h.add),
		rest.Get("GET "+one, auth.Authenticated, h.get),
		rest.Sync("DELETE "+one, auth.Authenticated, h.remove),
	}, rest.Edit(one, auth.Authenticated, edit)...)
	return rest.Globals(all)
}

type certificates struct{ svc *trust.Service }

// errBeyond is why not everybody who may make or edit identities may do so with certificates, which have no groups to limit them.
var errBeyond = errs.Newf(errs.Forbidden, "not authorized: a certificate of this kind may do more than you may give; permission_manager on the server is needed, "+
	"or make an identity with groups instead (\"lxc auth identity create\")")

// rules tells whether the caller decides over the certificates of others.
func (certificates) rules(c *rest.Call, entitlement string) bool {
	return c.May(auth.ServerObject, entitlement)
}

// may tells whether the caller has an entitlement on a certificate of somebody else.
func (certificates) may(c *rest.Call, cert api.Certificate, entitlement string) bool {
	return c.May(auth.Object{Entity: "certificate", URL: trust.URL(cert.Fingerprint)}, entitlement)
}

// sees tells whether the caller may view a certificate.
func (h certificates) sees(c *rest.Call, cert api.Certificate) bool {
	return h.may(c, cert, "can_view") || h.own(c, cert)
}

// own tells whether a certificate is that of the caller.
func (certificates) own(c *rest.Call, cert api.Certificate) bool {
	return c.Caller.Kind == auth.TLS && c.Caller.Name == cert.Fingerprint
}

func (h certificates) list(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Certificate], error] {
	all, err := h.svc.List(ctx)
	shown := all[:0]
	for _, cert := range all {
		if h.sees(c, cert) {
			shown = append(shown, cert)
		}
	}
	return items(shown, err, func(cert api.Certificate) string { return trust.URL(cert.Fingerprint) })
}

// find loads a certificate that the caller may view.
func (h certificates) find(ctx context.Context, c *rest.Call) (api.Certificate, error) {
	cert, err := h.svc.Get(ctx, c.PathValue("fingerprint"))
	if err != nil && h.rules(c, "can_view_identities") {
		return cert, err
	}
	if c.Caller.FineGrained && (err != nil || !h.sees(c, cert)) {
		return api.Certificate{}, errs.Newf(errs.NotFound, "certificate %q not found", c.PathValue("fingerprint"))
	}
	if err != nil || !h.sees(c, cert) {
		return api.Certificate{}, errs.Newf(errs.Forbidden, "not authorized: a client may view its own certificate only")
	}
	return cert, nil
}

func (h certificates) get(ctx context.Context, c *rest.Call) (api.Certificate, any, error) {
	cert, err := h.find(ctx, c)
	return cert, cert, err
}

func (h certificates) load(ctx context.Context, c *rest.Call) (api.CertificatePut, any, error) {
	cert, err := h.find(ctx, c)
	return cert.Writable(), cert, err
}

func (h certificates) save(ctx context.Context, c *rest.Call, next api.CertificatePut) error {
	cert, err := h.find(ctx, c)
	if err != nil {
		return err
	}
	edits := h.may(c, cert, "can_edit") && identity.Manages(c.Caller)
	switch {
	case h.own(c, cert), edits:
	case h.may(c, cert, "can_edit"):
		return errBeyond
	default:
		return errs.Newf(errs.Forbidden, "not authorized: a client may replace its own certificate only")
	}
	return h.svc.Update(ctx, cert.Fingerprint, next, edits)
}

func (h certificates) remove(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	cert, err := h.find(ctx, c)
	if err != nil {
		return none, err
	}
	if !h.own(c, cert) && !h.may(c, cert, "can_delete") {
		return none, errs.Newf(errs.Forbidden, "not authorized: a client may remove its own certificate only")
	}
	return none, h.svc.Delete(ctx, cert.Fingerprint)
}

// add trusts a certificate, or makes a token with which a client can have its own trusted.
func (h certificates) add(ctx context.Context, c *rest.Call, in api.CertificatesPost) (string, *op.Spec, error) {
	if in.TrustToken == "" && trust.IsToken(in.Password) {
		in.TrustToken, in.Password = in.Password, "" // clients from before there was a field of its own for tokens
	}
	switch {
	case in.Password != "":
		return "", nil, errs.Newf(errs.Unsupported, "trust passwords do not exist any more: make a token with \"lxc config trust add\" and use that")
	case in.TrustToken != "":
		return h.redeem(ctx, c, in)
	case !h.rules(c, "can_create_identities"):
		return "", nil, errs.Newf(errs.Forbidden, "not authorized: a client is added by one that is trusted already, or with a token")
	case !identity.Manages(c.Caller):
		return "", nil, errBeyond
	case in.Token:
		spec, err := h.svc.Issue(ctx, in)
		return "", &spec, err
	}
	location, err := h.svc.Add(ctx, in, trust.PeerOf(c.Request))
	return location, nil, err
}

func (h certificates) redeem(ctx context.Context, c *rest.Call, in api.CertificatesPost) (string, *op.Spec, error) {
	if c.Caller.Trusted() {
		return "", nil, errs.Newf(errs.Conflict, "the server trusts this client already: it needs no token")
	}
	location, err := h.svc.Redeem(ctx, in.TrustToken, c.RemoteAddr, trust.Showed{Text: in.Certificate, Certificate: trust.PeerOf(c.Request)})
	return location, nil, err
}
