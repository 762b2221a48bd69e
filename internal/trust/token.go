package trust

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// token lets one client in, once.
type token struct {
	secret  string
	post    api.CertificatesPost
	expires time.Time
	// used is closed when a client has got in.
	used chan struct{}
	// over is set once the operation has ended.
	over bool
}

// Issue returns an operation that is a token: it ends when a client has used it, when it is cancelled, or when it expires.
func (s *Service) Issue(ctx context.Context, post api.CertificatesPost) (op.Spec, error) {
	addresses := s.d.Addresses()
	switch {
	case post.Name == "":
		return op.Spec{}, errs.Newf(errs.Invalid, "a token needs a name: it becomes the name of the client")
	case post.Type != Client:
		return op.Spec{}, errs.Newf(errs.Invalid, "tokens are for certificates of type %q only", Client)
	case post.Certificate != "":
		return op.Spec{}, errs.Newf(errs.Invalid, "a token and a certificate exclude each other: send one of them")
	case len(addresses) == 0:
		return op.Spec{}, errs.Newf(errs.Invalid, "a token is of no use while the server cannot be reached: set core.https_address first")
	}
	if err := (Record{Name: post.Name, Type: post.Type, Restricted: post.Restricted, Projects: post.Projects}).check(); err != nil {
		return op.Spec{}, err
	}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return projectsExist(tx, post.Projects) }); err != nil {
		return op.Spec{}, err
	}
	t, err := s.newToken(ctx, post)
	if err != nil {
		return op.Spec{}, err
	}
	return op.Spec{
		Kind: "certificate-add-token", Class: op.TokenClass, Description: api.OperationCertificateAddToken.String(),
		Metadata: map[string]any{
			"secret": t.secret, "fingerprint": s.d.Fingerprint, "addresses": addresses, "request": post, "expiresAt": t.expires,
		},
		Run: func(ctx context.Context, _ *op.Task) error { return s.await(ctx, t) },
	}, nil
}

func (s *Service) newToken(ctx context.Context, post api.CertificatesPost) (*token, error) {
	expiry, err := s.d.Expiry(ctx)
	if err != nil {
		return nil, err
	}
	expires, err := schema.ExpiresAt(time.Now(), expiry)
	if err != nil {
		return nil, err
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return &token{secret: hex.EncodeToString(b[:]), post: post, expires: expires, used: make(chan struct{})}, nil
}

func (t *token) late(now time.Time) bool { return !t.expires.IsZero() && now.After(t.expires) }

// await makes the token valid for as long as its operation runs.
func (s *Service) await(ctx context.Context, t *token) error {
	s.mu.Lock()
	s.tokens[t.secret] = t
	s.mu.Unlock()
	defer s.end(t)
	var late <-chan time.Time
	if !t.expires.IsZero() {
		timer := time.NewTimer(time.Until(t.expires))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-t.used:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late:
		return errs.Newf(errs.Canceled, "the token expired at %s: make a new one", t.expires.Format(time.RFC3339))
	}
}

// take makes the token useless, and tells whether it was of use.
func (s *Service) take(t *token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.tokens[t.secret] == t
	delete(s.tokens, t.secret)
	return ok
}

// end makes the token useless for good.
func (s *Service) end(t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, t.secret)
	t.over = true
}

// giveBack makes a token that was taken useful again, unless it ended meanwhile.
func (s *Service) giveBack(t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.over {
		s.tokens[t.secret] = t
	}
}

// byText finds the token that a client sent as base64 of JSON. It looks at all of them, so that the time tells nothing.
func (s *Service) byText(text string) *token {
	secret, ok := SecretOf(text)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *token
	now := time.Now()
	for _, t := range s.tokens {
		if subtle.ConstantTimeCompare([]byte(t.secret), []byte(secret)) == 1 && !t.late(now) {
			found = t
		}
	}
	return found
}

// SecretOf is the secret of a token that a client sent as base64 of JSON; ok tells whether it has that form.
func SecretOf(text string) (secret string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	var t api.CertificateAddToken
	if json.Unmarshal(b, &t) != nil || t.Secret == "" {
		return "", false
	}
	return t.Secret, true
}

// IsToken tells whether text has the form of a token.
func IsToken(text string) bool {
	_, ok := SecretOf(text)
	return ok
}

// Redeem trusts the certificate of a client that knows a token; what the client may do is what was said when the token was made.
// A token that could not be used for a reason other than itself stays valid.
func (s *Service) Redeem(ctx context.Context, text, address string, showed Showed) (location string, err error) {
	var t *token
	if err := s.d.Limit.Try(address, "", func() error {
		if t = s.byText(text); t == nil || !s.take(t) {
			return errs.Newf(errs.Forbidden, "not authorized: the token is not valid, was used before, or has expired")
		}
		return nil
	}); err != nil {
		return "", err
	}
	post := t.post
	post.Certificate = showed.Text
	location, err = s.Add(ctx, post, showed.Certificate)
	if err != nil {
		s.giveBack(t)
		return "", err
	}
	close(t.used)
	return location, nil
}

// Admit fails while an address has sent too many wrong tokens, of whatever kind.
func (s *Service) Admit(address string) error { return s.d.Limit.Admit(address) }

// Failed counts a wrong token of an address.
func (s *Service) Failed(address string) { s.d.Limit.Failed(address) }
