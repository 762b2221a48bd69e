package app

import (
	"context"
	"net/http"

	"lxd/internal/auth"
	"lxd/internal/identity"
	"lxd/internal/server"
	"lxd/internal/trust"
)

func (a *App) openIdentities(t *trust.Service) *identity.Service {
	return identity.New(identity.Deps{Store: a.store, Trust: t, Fingerprint: a.identity.Fingerprint, Addresses: a.addresses, Expiry: a.tokenExpiry})
}

// tokenExpiry is how long tokens are valid by which clients get in.
func (a *App) tokenExpiry(ctx context.Context) (string, error) {
	return a.domain.server.Get(ctx, server.TokenExpiry)
}

// methods are the ways of proving who calls, in the order in which they are asked, besides the socket and the certificates that are
// trusted as such. What the authority vouches for comes after all certificates that the server knows: those have the rights given to them.
func (a *App) methods() []identity.Method {
	return []identity.Method{a.domain.identities.TLS, a.domain.trust.Vouched}
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
