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
}

// VerifySignature returns what a token says if a key of the issuer has signed it.
func (k *keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, fmt.Errorf("malformed token: %w", err)
	}
	candidates, err := k.find(ctx, token.Signatures[0].Header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range candidates {
		if payload, err := token.Verify(&key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the issuer has signed this")
}

// find returns the keys of that name, which are all of them if the token names none.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.named(id)
	age := time.Since(k.read)
	if (len(found) == 0 || age > keysFresh) && time.Since(k.tried) > pause {
		k.tried = time.Now()
		if k.tryError = k.refresh(ctx); k.tryError != nil {
			slog.Warn("The keys of the OpenID Connect issuer cannot be read", "err", k.tryError)
		}
		found, age = k.named(id), time.Since(k.read)
	}
	if k.tryError != nil && (len(found) == 0 || age > keysOld) {
		return nil, unreachable(k.tryError)
	}
	return found, nil
}

func (k *keySet) named(id string) (found []jose.JSONWebKey) {
	for _, key := range k.keys.Keys {
		if (id == "" || key.KeyID == id) && key.Use != "enc" {
			found = append(found, key)
		}
	}
	return found
}

func (k *keySet) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("reading its keys: %s", answer.Status)
	}
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		return fmt.Errorf("reading its keys: %w", err)
	}
	k.keys, k.read = set, time.Now()
	return nil
}
