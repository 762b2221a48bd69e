// Package bearer lets identities in that show a token which this server issued.
//
// A token is signed with a secret of its identity alone. Issuing another one, or revoking it, replaces the secret, so that what was
// issued before is worth nothing from then on. A token names the server and its use: what was made for the inside of an instance opens nothing
// on the network, and the other way round.
package bearer

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/schema"
)

// Identities is what is needed of the identities.
type Identities interface {
	Find(ctx context.Context, method, nameOrID string) (identity.Record, error)
	Change(ctx context.Context, method, id string, change func(*identity.Record)) error
	Caller(ctx context.Context, rec identity.Record, claimed []string, address string) (auth.Identity, error)
}

// Deps is what the service needs.
type Deps struct {
	Identities Identities
	// Limit holds back those who send wrong tokens; nil holds back no one.
	Limit *limit.Limiter
	// Server is the identity of this server.
	Server func(ctx context.Context) (string, error)
	// Fingerprint is that of the server's own certificate.
	Fingerprint string
	// Now tells the time; nil is the clock.
	Now func() time.Time
}

// Service issues tokens and knows them again.
type Service struct{ d Deps }

// New makes the service; it has no effects.
func New(d Deps) *Service {
	if d.Now == nil {
		d.Now = time.Now
	}
	return &Service{d}
}

// uses is what the tokens of each type of identity are good for.
var uses = map[string]Use{
	api.IdentityTypeClientTokenBearer: API, api.IdentityTypeInitialUITokenBearer: API, api.IdentityTypeDevLxdTokenBearer: Guest,
}

const (
	// usual is how long a token is valid if nobody says otherwise.
	usual = "1d"
	// longest is how many years a token may be valid.
	longest = 10
)

// Issue makes a token of an identity, valid as long as expiry says in the form of schema.ExpiresAt; "" is a day. Earlier ones are worth
// nothing any more.
func (s *Service) Issue(ctx context.Context, rec identity.Record, expiry string) (string, error) {
	now := s.d.Now().Truncate(time.Second)
	at, err := until(now, rec.Type, expiry)
	if err != nil {
		return "", err
	}
	server, err := s.d.Server(ctx)
	if err != nil {
		return "", err
	}
	secret := newSecret()
	text, err := sign(claims{jwt.RegisteredClaims{Issuer: name(API, server), Audience: jwt.ClaimStrings{name(uses[rec.Type], server)},
		Subject: rec.ID, IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(at)}, s.d.Fingerprint}, secret)
	if err != nil {
		return "", err
	}
	return text, s.d.Identities.Change(ctx, rec.Method, rec.ID, func(r *identity.Record) { r.Secret, r.Expires = secret, at.UTC() })
}

// until is when a token ends that is issued now.
func until(now time.Time, kind, expiry string) (time.Time, error) {
	if strings.TrimSpace(expiry) == "" {
		expiry = usual
	}
	last := now.AddDate(longest, 0, 0)
	if kind == api.IdentityTypeInitialUITokenBearer {
		last = now.Add(24 * time.Hour)
	}
	at, err := schema.ExpiresAt(now, expiry)
	switch {
	case err != nil:
		return at, errs.Newf(errs.Invalid, "expiry %q: %w", expiry, err)
	case !at.After(now):
		return at, errs.Newf(errs.Invalid, "expiry %q: the token would be worth nothing: let it be valid for a while", expiry)
	case at.After(last):
		return at, errs.Newf(errs.Invalid, "expiry %q is too long: a token of this identity can be valid until %s", expiry, last.Format(time.RFC3339))
	}
	return at, nil
}

// Revoke makes the token of an identity worthless.
func (s *Service) Revoke(ctx context.Context, rec identity.Record) error {
	return s.d.Identities.Change(ctx, rec.Method, rec.ID, func(r *identity.Record) { r.Secret, r.Expires = "", time.Time{} })
}

// TokenOf is the token in the Authorization header of a request; "" is none.
func TokenOf(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

// Cookie is the name of the cookie that a browser with a session of this kind shows (wire name).
const Cookie = "token_bearer_session"

// Identify tells who sent the request if it carries a token that says it is from this kind of server; it is an identity.Method. A token
// in a cookie must be one for the user interface.
func (s *Service) Identify(r *http.Request) (id auth.Identity, handled bool, err error) {
	text := TokenOf(r)
	if c, err := r.Cookie(Cookie); text == "" && err == nil {
		return s.session(r, c.Value)
	}
	if _, ours := claimed(text); !ours {
		return id, false, nil
	}
	id, err = s.caller(r.Context(), text, API, r.RemoteAddr)
	return id, true, err
}

// session tells who a browser is. A session that is over is no session, so that the browser can begin another one.
func (s *Service) session(r *http.Request, text string) (id auth.Identity, handled bool, err error) {
	rec, err := s.owner(r.Context(), text, API)
	if errs.Is(err, errs.Forbidden) || err == nil && rec.Type != api.IdentityTypeInitialUITokenBearer {
		return id, false, nil
	}
	if err == nil {
		id, err = s.d.Identities.Caller(r.Context(), rec, nil, r.RemoteAddr)
	}
	id.Session = err == nil
	return id, true, err
}

// Guest tells which identity an instance shows itself to be, by a token for guests. address tells one instance from another.
func (s *Service) Guest(ctx context.Context, text, address string) (auth.Identity, error) {
	return s.caller(ctx, text, Guest, address)
}

// caller is who shows a token; wrong ones are counted.
func (s *Service) caller(ctx context.Context, text string, use Use, address string) (id auth.Identity, err error) {
	err = s.d.Limit.Try(address, text, func() error {
		rec, err := s.owner(ctx, text, use)
		if err == nil {
			id, err = s.d.Identities.Caller(ctx, rec, nil, address)
		}
		return err
	})
	return id, err
}

// owner finds the identity that a token was issued for; Forbidden says that the token is not valid.
func (s *Service) owner(ctx context.Context, text string, use Use) (rec identity.Record, err error) {
	said, ours := claimed(text)
	if ours && said.Subject != "" {
		rec, err = s.d.Identities.Find(ctx, string(auth.Bearer), said.Subject)
	}
	if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
		return rec, err
	}
	server, err := s.d.Server(ctx)
	if err != nil {
		return rec, err
	}
	// An identity that is not there is verified too: it takes as long, and no key fits.
	err = purpose{server, use, s.d.Now()}.verify(text, rec.Secret)
	if err != nil || rec.ID == "" || rec.ID != said.Subject || rec.Secret == "" || uses[rec.Type] != use {
		return identity.Record{}, ErrInvalid
	}
	return rec, nil
}

// Redeem checks the token of a link, and returns the cookie that the browser which opened it is known by from then on.
func (s *Service) Redeem(ctx context.Context, text, address string) (cookie *http.Cookie, err error) {
	err = s.d.Limit.Try(address, text, func() error {
		rec, err := s.owner(ctx, text, API)
		if err == nil && rec.Type != api.IdentityTypeInitialUITokenBearer {
			err = ErrInvalid
		}
		cookie = &http.Cookie{Name: Cookie, Value: text, Path: "/", Expires: rec.Expires, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode}
		return err
	})
	return cookie, err
}
