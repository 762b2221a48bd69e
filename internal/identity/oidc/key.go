package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that a token may be signed with: each of them needs the issuer's private key.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	// keysFresh is how long the issuer's keys are taken for its present ones.
	keysFresh = time.Hour
	// keysOld is how long they are of use when the issuer cannot be asked.
	keysOld = 24 * time.Hour
)

// keySet is the public keys of the issuer. A token with a key that is not known has them read again, but not more often than every
// few seconds: whoever sends forged tokens must not have the server ask the issuer for each.
type keySet struct {
	client *http.Client
	url    string

	mu       sync.Mutex
	keys     jose.JSONWebKeySet
	read     time.Time
	tried    time.Time
	tryError error
	// busy is closed when a reading that is under way has ended.
	busy chan struct{}
}

// asking is the keys as the check of one token uses them. What that makes of an error does not tell whether the token is bad or the issuer
// could not be asked; failure is set in the second case.
type asking struct {
	*keySet
	failure error
}

// VerifySignature returns what a token says if a key of the issuer has signed it.
func (a *asking) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, fmt.Errorf("malformed token: %w", err)
	}
	candidates, err := a.find(ctx, token.Signatures[0].Header.KeyID)
	if err != nil {
		a.failure = err
		return nil, err
	}
	for _, key := range candidates {
		if payload, err := token.Verify(&key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer has signed this")
}

// find returns the keys of that name, which are all of them if the token names none. If they have to be read it waits for that, with
// all others who need them at the time; nobody is held up whose key is known.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	for {
		k.mu.Lock()
		found, age := k.named(id), time.Since(k.read)
		due := len(found) == 0 || age > keysFresh
		if due && k.busy == nil && time.Since(k.tried) > pause {
			k.busy = make(chan struct{})
			go k.update(context.WithoutCancel(ctx))
		}
		busy, failure := k.busy, k.tryError
		k.mu.Unlock()
		switch {
		case due && busy != nil:
		case failure != nil && (len(found) == 0 || age > keysOld):
			return nil, unreachable(failure)
		default:
			return found, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// update reads the keys.
func (k *keySet) update(ctx context.Context) {
	set, err := k.fetch(ctx)
	if err != nil {
		slog.Warn("The keys of the OpenID Connect issuer cannot be read", "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.tryError = time.Now(), err
	if err == nil {
		k.keys, k.read = set, k.tried
	}
	close(k.busy)
	k.busy = nil
}

func (k *keySet) named(id string) (found []jose.JSONWebKey) {
	for _, key := range k.keys.Keys {
		if (id == "" || key.KeyID == id) && key.Use != "enc" {
			found = append(found, key)
		}
	}
	return found
}

func (k *keySet) fetch(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return set, err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return set, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return set, fmt.Errorf("reading its keys: %s", answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		return set, fmt.Errorf("reading its keys: %w", err)
	}
	return set, nil
}
