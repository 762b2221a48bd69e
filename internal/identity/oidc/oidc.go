// Package oidc lets identities in that an OpenID Connect issuer vouches for: programs that show the issuer's tokens, and browsers that
// have a session because they came back from the issuer.
//
// The issuer is whom the configuration names, and nothing in a token changes who is asked. An issuer that is down delays nobody for long:
// its keys are kept, sessions do without it, and what cannot be checked fails with a reason.
package oidc

import (
	"context"
	"net/http"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/store"
)

// Identities is what is needed of the identities.
type Identities interface {
	Find(ctx context.Context, method, nameOrID string) (identity.Record, error)
	Create(ctx context.Context, rec identity.Record) error
	Caller(ctx context.Context, rec identity.Record, claimed []string, address string) (auth.Identity, error)
}

// Deps is what the service needs.
type Deps struct {
	Store      store.Store
	Identities Identities
	// Limit holds back those who send wrong tokens; nil holds back no one.
	Limit *limit.Limiter
	// Config is the server's configuration, without what is at its default.
	Config func(ctx context.Context) (map[string]string, error)
	// Transport carries what is asked of the issuer; nil is the usual one.
	Transport http.RoundTripper
	// Now tells the time; nil is the clock.
	Now func() time.Time
}

// Service knows callers by what the issuer says of them.
type Service struct {
	d      Deps
	issuer issuer
}

// New makes the service; it has no effects.
func New(d Deps) *Service {
	if d.Transport == nil {
		d.Transport = http.DefaultTransport
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Service{d: d, issuer: issuer{client: newClient(d.Transport)}}
}

func (s *Service) settings(ctx context.Context) (Settings, error) {
	config, err := s.d.Config(ctx)
	return settingsOf(config), err
}

// Announce tells a caller that is not trusted how it can get a token, if there is an issuer.
func (s *Service) Announce(ctx context.Context, h http.Header) {
	if set, err := s.settings(ctx); err == nil && set.Enabled() {
		set.announce(h)
	}
}

// Identify tells who sent the request if it carries a token of the issuer, or the cookie of a session; it is an identity.Method.
func (s *Service) Identify(r *http.Request) (id auth.Identity, handled bool, err error) {
	token := bearer.TokenOf(r)
	_, noCookie := r.Cookie(sessionCookie)
	if token == "" && noCookie != nil {
		return id, false, nil
	}
	set, err := s.settings(r.Context())
	if err != nil || !set.Enabled() {
		return id, false, err
	}
	if token == "" {
		return s.fromSession(r, set)
	}
	err = s.d.Limit.Try(r.RemoteAddr, token, func() (err error) {
		id, err = s.fromToken(r, set, token)
		return err
	})
	return id, true, err
}

func (s *Service) fromToken(r *http.Request, set Settings, token string) (id auth.Identity, err error) {
	p, err := s.issuer.get(r.Context(), set)
	if err != nil {
		return id, err
	}
	who, err := p.verify(r.Context(), set, token)
	if err != nil {
		return id, err
	}
	rec, err := s.introduce(r.Context(), who)
	if err != nil {
		return id, err
	}
	return s.d.Identities.Caller(r.Context(), rec, who.Groups, r.RemoteAddr)
}

// introduce finds the identity of a person, or makes it, without any rights, when the person comes for the first time.
func (s *Service) introduce(ctx context.Context, who Person) (identity.Record, error) {
	rec, err := s.find(ctx, who.Email)
	if errs.Is(err, errs.NotFound) {
		rec = identity.Record{Method: string(auth.OIDC), Type: api.IdentityTypeOIDCClient, ID: who.Email, Name: who.Name, Subject: who.Subject}
		err = s.d.Identities.Create(ctx, rec)
		if errs.Is(err, errs.Conflict) { // it came twice at the same time
			rec, err = s.find(ctx, who.Email)
		}
	}
	if err != nil {
		return rec, err
	}
	if rec.Subject != who.Subject {
		return rec, refused("its mail address belongs to somebody else here: if the person is the same, remove the identity with \"lxc auth identity delete oidc/" + who.Email + "\"")
	}
	return rec, nil
}

// find finds an identity by its mail address, and never by another's name.
func (s *Service) find(ctx context.Context, email string) (identity.Record, error) {
	rec, err := s.d.Identities.Find(ctx, string(auth.OIDC), email)
	if errs.Is(err, errs.Invalid) || err == nil && rec.ID != email {
		return identity.Record{}, errs.Newf(errs.NotFound, "identity %q not found", email)
	}
	return rec, err
}
