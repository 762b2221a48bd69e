package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"lxd/internal/auth"
	"lxd/internal/identity"
	"lxd/internal/identity/bearer"
	"lxd/internal/identity/oidc"
	"lxd/internal/op"
	"lxd/internal/server"
	"lxd/internal/trust"
)

func (a *App) openIdentities(t *trust.Service) *identity.Service {
	return identity.New(identity.Deps{Store: a.store, Trust: t, Fingerprint: a.identity.Fingerprint, Addresses: a.addresses, Expiry: a.tokenExpiry, Gone: oidc.Gone})
}

func (a *App) openBearers(d *domain) *bearer.Service {
	return bearer.New(bearer.Deps{Identities: d.identities, Limit: &a.limit, Fingerprint: a.identity.Fingerprint,
		Server: func(ctx context.Context) (string, error) { return d.server.Get(ctx, server.UUID) }})
}

func (a *App) openIssuer(d *domain) *oidc.Service {
	get := func(ctx context.Context, key string) (string, error) { return d.server.Get(ctx, key) }
	through := proxies(get)
	transport := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) { return through(r.URL) }, TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout: time.Minute, MaxIdleConns: 4, MaxConnsPerHost: 16, ForceAttemptHTTP2: true}
	a.onClose("connections to the issuer", func(context.Context) error { transport.CloseIdleConnections(); return nil })
	return oidc.New(oidc.Deps{Store: a.store, Identities: d.identities, Limit: &a.limit, Transport: transport,
		Config: func(ctx context.Context) (map[string]string, error) { return d.server.Config(ctx) }})
}

// tendSessions removes sessions that are over, until the daemon ends.
func (a *App) tendSessions(ctx context.Context) error {
	a.tend(ctx, "sessions", a.domain.issuer.Tend)
	return nil
}

// tokenExpiry is how long tokens are valid by which clients get in.
func (a *App) tokenExpiry(ctx context.Context) (string, error) {
	return a.domain.server.Get(ctx, server.TokenExpiry)
}

// methods are the ways of proving who calls, in the order in which they are asked, besides the socket and the certificates that are
// trusted as such. What the authority vouches for comes after all certificates that the server knows: those have the rights given to them.
func (a *App) methods() []identity.Method {
	return []identity.Method{a.domain.identities.TLS, a.domain.trust.Vouched, a.domain.bearers.Identify, a.domain.issuer.Identify}
}

// named is the address of what a path may name in several ways.
func (a *App) named(ctx context.Context, o auth.Object) string {
	if o.Entity == "identity" {
		return a.domain.identities.Named(ctx, o)
	}
	return a.domain.images.Named(ctx, o)
}

// tendIdentities removes identities whose tokens have expired, and ends the connections of those who lose rights, for as long as the
// daemon runs.
func (a *App) tendIdentities(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.onClose("identities", func(context.Context) error { cancel(); return nil })
	go func() {
		if err := a.domain.identities.Revocations(ctx, func(m identity.Match) { a.rest.End(m) }); err != nil && ctx.Err() == nil {
			slog.Error("Who loses rights keeps the connections that are open: restart the daemon", "err", err)
		}
	}()
	go op.EachMinute(ctx.Done(), func(minute time.Time) {
		if err := a.domain.identities.Prune(ctx, minute); err != nil {
			slog.Error("Identities whose tokens have expired could not be removed", "err", err)
		}
	})
	return nil
}

// chain asks first, and those after it as long as nobody knows who calls.
func chain(first func(*http.Request) (auth.Identity, error), others ...identity.Method) func(*http.Request) (auth.Identity, error) {
	return func(r *http.Request) (auth.Identity, error) {
		id, err := first(r)
		if err != nil || id.Trusted() || id.Meter != nil {
			return id, err
		}
		for _, m := range others {
			if found, handled, err := m(r); err != nil || handled {
				return found, err
			}
		}
		return id, nil
	}
}
