package oidc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"lxd/internal/errs"
)

const (
	// patience is how long the issuer may take for one answer.
	patience = 5 * time.Second
	// pause is how long an issuer that failed is not asked again.
	pause = 5 * time.Second
	// answerMax is the most that an answer of the issuer may hold.
	answerMax = 1 << 20
)

// newClient makes what asks the issuer: it waits for nothing for long, reads nothing without end, and leaves no encryption.
func newClient(base http.RoundTripper) *http.Client {
	return &http.Client{Transport: bounded{base}, Timeout: patience, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 2 || r.URL.Scheme != "https" {
			return errors.New("the issuer redirects to where nobody should go")
		}
		return nil
	}}
}

// bounded cuts answers that are too long, and goes nowhere without encryption.
type bounded struct{ base http.RoundTripper }

// RoundTrip sends one request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errors.New("the issuer names an address without encryption: " + r.URL.Redacted())
	}
	answer, err := b.base.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, answerMax), answer.Body}
	}
	return answer, err
}

// issuer is what is known of the configured issuer. The zero value knows nothing.
type issuer struct {
	client *http.Client

	mu sync.Mutex
	// settings are those that the rest belongs to.
	settings Settings
	known    *provider
	// failed is when finding out failed, and why.
	failed time.Time
	why    error
	// busy is closed when somebody who finds out is done.
	busy chan struct{}
}

// provider is an issuer that told of itself.
type provider struct {
	*goidc.Provider
	keys  *keySet
	facts *cache
}

// get returns what the issuer told of itself, and asks it if need be. Those who come meanwhile wait for the same answer.
func (i *issuer) get(ctx context.Context, s Settings) (*provider, error) {
	for {
		i.mu.Lock()
		if i.settings != s {
			i.settings, i.known, i.why = s, nil, nil
		}
		known, why, busy := i.known, i.why, i.busy
		mine := known == nil && busy == nil && (why == nil || time.Since(i.failed) > pause)
		if mine {
			i.busy = make(chan struct{})
		}
		i.mu.Unlock()
		switch {
		case known != nil:
			return known, nil
		case mine:
			return i.discover(ctx, s)
		case busy == nil:
			return nil, why
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// discover asks the issuer. It goes on when the caller goes away: others wait for it.
func (i *issuer) discover(ctx context.Context, s Settings) (*provider, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	p, err := i.describe(ctx, s)
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.busy)
	i.busy = nil
	if i.settings == s {
		i.known, i.why, i.failed = p, err, time.Now()
	}
	return p, err
}

func (i *issuer) describe(ctx context.Context, s Settings) (*provider, error) {
	p, err := goidc.NewProvider(goidc.ClientContext(ctx, i.client), s.Issuer)
	if err != nil {
		return nil, unreachable(err)
	}
	var more struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&more); err != nil {
		return nil, unreachable(err)
	}
	return &provider{p, &keySet{client: i.client, url: more.Keys}, newCache()}, nil
}

// unreachable is why the issuer was of no use; the text is for callers that proved nothing yet, and does not tell addresses.
func unreachable(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return errs.Newf(errs.Unavailable, "the OpenID Connect issuer cannot be asked: %w: try again, and check oidc.issuer if it stays so", err)
}
