package access

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/op"
	"lxd/internal/rest"
	"lxd/internal/trust"
)

// Identities is the routes of /1.0/auth/identities, but for those of tokens. Legacy certificates are among the identities that are shown.
func Identities(svc *identity.Service, legacy *trust.Service) []rest.Route {
	h := identities{svc, legacy}
	view, create := auth.Can("identity", "can_view"), auth.Can("server", "can_create_identities")
	all := []rest.Route{
		rest.List("GET /1.0/auth/identities", view, h.of("")),
		rest.Get("GET /1.0/auth/identities/current", auth.Authenticated, h.current),
		rest.CreateShown("POST /1.0/auth/identities/tls", auth.Public, h.createTLS),
		rest.Create("POST /1.0/auth/identities/bearer", create, h.createBearer),
	}
	for _, method := range []auth.Kind{auth.TLS, auth.OIDC, auth.Bearer} {
		o := oneMethod{h, string(method)}
		list := "/1.0/auth/identities/" + o.method
		one := list + "/{nameOrIdentifier}"
		edit := auth.Can("identity", "can_edit")
		if method == auth.TLS { // anybody may renew its own certificate
			edit = auth.Authenticated
		}
		all = append(all, rest.List("GET "+list, view, h.of(o.method)), rest.Get("GET "+one, view, o.get),
			rest.Sync("DELETE "+one, auth.Can("identity", "can_delete"), o.remove))
		all = append(all, rest.Edit(one, edit, rest.Editor[api.IdentityPut]{Load: o.load, Save: o.save})...)
	}
	return global(all)
}

type identities struct {
	svc    *identity.Service
	legacy *trust.Service
}

// fromCertificate is a legacy certificate as the identity that it is.
func fromCertificate(c api.Certificate) api.Identity {
	kind := trust.Record{Type: c.Type, Restricted: c.Restricted}.IdentityType()
	return api.Identity{AuthenticationMethod: string(auth.TLS), Type: kind, Identifier: c.Fingerprint, Name: c.Name, Groups: []string{}, TLSCertificate: c.Certificate}
}

// of lists the identities of a method, or all.
func (h identities) of(method string) func(context.Context, *rest.Call) iter.Seq2[rest.Item[api.Identity], error] {
	return func(ctx context.Context, c *rest.Call) iter.Seq2[rest.Item[api.Identity], error] {
		all, err := h.all(ctx, method)
		for i := range all {
			all[i] = h.shown(c, all[i])
		}
		return rest.Items(all, err, func(i api.Identity) string { return identity.URL(i.AuthenticationMethod, i.Identifier) })
	}
}

func (h identities) all(ctx context.Context, method string) ([]api.Identity, error) {
	records, err := h.svc.List(ctx, method)
	if err != nil {
		return nil, err
	}
	all := make([]api.Identity, 0, len(records))
	for _, r := range records {
		all = append(all, r.API())
	}
	if method == "" || method == string(auth.TLS) {
		certs, err := h.legacy.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			all = append(all, fromCertificate(c))
		}
	}
	slices.SortStableFunc(all, func(a, b api.Identity) int {
		return cmp.Or(cmp.Compare(a.AuthenticationMethod, b.AuthenticationMethod), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Identifier, b.Identifier))
	})
	return all, nil
}

// shown is an identity without the groups that the caller may not view; everybody sees its own.
func (identities) shown(c *rest.Call, i api.Identity) api.Identity {
	if c.Caller.Admin || itself(c, i) {
		return i
	}
	i.Groups = slices.DeleteFunc(slices.Clone(i.Groups), func(name string) bool {
		return !c.Caller.May(auth.Object{Entity: "group", URL: identity.GroupURL(name)}, "can_view")
	})
	return i
}

// itself tells whether an identity is the caller.
func itself(c *rest.Call, i api.Identity) bool {
	return string(c.Caller.Kind) == i.AuthenticationMethod && c.Caller.ID != "" && c.Caller.ID == i.Identifier
}

// current shows who calls, and what it may do.
func (h identities) current(ctx context.Context, c *rest.Call) (info api.IdentityInfo, etag any, err error) {
	if c.Caller.ID == "" {
		return info, nil, errs.Newf(errs.Invalid, "the server keeps no identity of a caller that proves itself by %s: call over HTTPS, as one of its identities", c.Caller.Kind)
	}
	info.Identity, err = h.find(ctx, string(c.Caller.Kind), c.Caller.ID)
	if err != nil {
		return info, nil, err
	}
	info.FineGrained = c.Caller.FineGrained
	info.EffectiveGroups = append([]string{}, c.Caller.Groups...)
	info.EffectivePermissions = []api.Permission{}
	if c.Caller.Permissions != nil {
		info.EffectivePermissions = append(info.EffectivePermissions, c.Caller.Permissions()...)
	}
	if !c.Caller.Expires.IsZero() {
		info.ExpiresAt = &c.Caller.Expires
	}
	return info, nil, nil
}

// find loads an identity or a legacy certificate.
func (h identities) find(ctx context.Context, method, nameOrID string) (api.Identity, error) {
	r, err := h.svc.Find(ctx, method, nameOrID)
	if err == nil || !errs.Is(err, errs.NotFound) || method != string(auth.TLS) {
		return r.API(), err
	}
	certs, other := h.legacy.List(ctx)
	if other != nil {
		return api.Identity{}, other
	}
	var found []api.Certificate
	for _, c := range certs {
		switch {
		case c.Fingerprint == nameOrID:
			return fromCertificate(c), nil
		case c.Name == nameOrID, len(nameOrID) >= shortest && strings.HasPrefix(c.Fingerprint, strings.ToLower(nameOrID)):
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return api.Identity{}, err
	case 1:
		return fromCertificate(found[0]), nil
	}
	return api.Identity{}, errs.Newf(errs.Invalid, "%d certificates are called %q: name the one that is meant by its fingerprint", len(found), nameOrID)
}

// shortest is how many digits of a fingerprint are needed.
const shortest = 12

// createBearer makes an identity that a token is to prove.
func (h identities) createBearer(ctx context.Context, c *rest.Call, in api.IdentitiesBearerPost) (string, error) {
	switch {
	case in.Type == api.IdentityTypeInitialUITokenBearer && !c.Caller.Admin:
		return "", errs.Newf(errs.Forbidden, "not authorized: whoever has a token of an identity of the type %q is an administrator, so only administrators may make one", in.Type)
	case in.Type != api.IdentityTypeClientTokenBearer && in.Type != api.IdentityTypeDevLxdTokenBearer && in.Type != api.IdentityTypeInitialUITokenBearer:
		return "", errs.Newf(errs.Invalid, "there is no type %q of bearers: use %q or %q", in.Type, api.IdentityTypeClientTokenBearer, api.IdentityTypeDevLxdTokenBearer)
	}
	if err := h.svc.MayGive(ctx, c.Caller, in.Groups); err != nil {
		return "", err
	}
	rec := identity.Record{Method: string(auth.Bearer), Type: in.Type, ID: op.NewUUID(), Name: in.Name, Groups: in.Groups}
	return rec.URL(), h.svc.Create(ctx, rec)
}

// oneMethod is the routes of the identities that prove themselves in one way.
type oneMethod struct {
	identities
	method string
}

func (h oneMethod) find(ctx context.Context, c *rest.Call) (api.Identity, error) {
	return h.identities.find(ctx, h.method, c.PathValue("nameOrIdentifier"))
}

func (h oneMethod) get(ctx context.Context, c *rest.Call) (api.Identity, any, error) {
	i, err := h.find(ctx, c)
	return h.shown(c, i), i.Writable(), err
}

func (h oneMethod) load(ctx context.Context, c *rest.Call) (api.IdentityPut, any, error) {
	i, err := h.find(ctx, c)
	if err := h.mayEdit(c, i, err); err != nil {
		return api.IdentityPut{}, nil, err
	}
	return i.Writable(), i.Writable(), err
}

// mayEdit fails unless the caller is the identity, or may edit it. Of one that the caller may not view, it tells nothing.
func (h oneMethod) mayEdit(c *rest.Call, i api.Identity, missing error) error {
	o := auth.Object{Entity: "identity", URL: identity.URL(h.method, i.Identifier)}
	switch {
	case missing == nil && (c.Caller.FineGrained && itself(c, i) || c.Caller.May(o, "can_edit")), missing != nil && c.Caller.May(server(), "can_view_identities"):
		return missing
	case c.Caller.FineGrained && (missing != nil || !c.Caller.May(o, "can_view")):
		return absent(c)
	}
	return errs.Newf(errs.Forbidden, "not authorized: can_edit on %s is needed", c.URL.Path)
}

func (h oneMethod) save(ctx context.Context, c *rest.Call, next api.IdentityPut) error {
	i, err := h.find(ctx, c)
	if err := h.mayEdit(c, i, err); err != nil {
		return err
	}
	if err := h.changeable(i); err != nil {
		return err
	}
	renews := next.TLSCertificate != "" && strings.TrimSpace(next.TLSCertificate) != strings.TrimSpace(i.TLSCertificate)
	if err := h.mayChange(ctx, c, i, next, renews); err != nil {
		return err
	}
	if !h.edits(c, i) {
		next.Groups = i.Groups
	}
	if !renews {
		next.TLSCertificate = ""
	}
	return h.svc.Update(ctx, h.method, i.Identifier, next)
}

// edits tells whether the caller may change the identity.
func (h oneMethod) edits(c *rest.Call, i api.Identity) bool {
	return c.Caller.May(auth.Object{Entity: "identity", URL: identity.URL(h.method, i.Identifier)}, "can_edit")
}

// mayChange fails if the change would give somebody more than the caller has.
func (h oneMethod) mayChange(ctx context.Context, c *rest.Call, i api.Identity, next api.IdentityPut, renews bool) error {
	switch {
	case !h.edits(c, i) && len(next.Groups) > 0 && !slices.Equal(sorted(next.Groups), i.Groups):
		return errs.Newf(errs.Forbidden, "not authorized: an identity may replace its own certificate, and change nothing else of it")
	case renews && !itself(c, i): // whoever has the certificate is that identity
		return h.svc.MayGive(ctx, c.Caller, slices.Concat(i.Groups, next.Groups))
	}
	return h.svc.MayGive(ctx, c.Caller, added(i.Groups, next.Groups))
}

// changeable fails on what is an identity but is not kept as one.
func (identities) changeable(i api.Identity) error {
	switch i.Type {
	case api.IdentityTypeClientCertificate, api.IdentityTypeClientCertificatePending, api.IdentityTypeOIDCClient,
		api.IdentityTypeClientTokenBearer, api.IdentityTypeDevLxdTokenBearer:
		return nil
	}
	return errs.Newf(errs.Unsupported, "an identity of type %q has no groups and is not changed here: certificates are kept in /1.0/certificates (\"lxc config trust\")", i.Type)
}

func (h oneMethod) remove(ctx context.Context, c *rest.Call, _ rest.None) (none rest.None, err error) {
	i, err := h.find(ctx, c)
	if err != nil {
		return none, err
	}
	if i.Type != api.IdentityTypeInitialUITokenBearer {
		if err := h.changeable(i); err != nil {
			return none, err
		}
	}
	return none, h.svc.Delete(ctx, h.method, i.Identifier)
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// added is those of next that old does not have.
func added(old, next []string) []string {
	return slices.DeleteFunc(slices.Clone(next), func(n string) bool { return slices.Contains(old, n) })
}
