package bearer

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lxd/internal/errs"
	"lxd/internal/rest"
)

// Use is what a token is good for (wire name, the beginning of its audience).
type Use string

// Uses of tokens.
const (
	// API tokens are shown to the API on the network.
	API Use = "lxd"
	// Guest tokens are shown by instances, at the socket that they have inside.
	Guest Use = "devlxd"
)

// tokenMax is the longest token that is looked at; those that are issued are much shorter.
const tokenMax = 4 << 10

// ErrInvalid is why a token is refused. It is the same for all reasons, so that guessing teaches nothing.
var ErrInvalid = rest.WithStatus(http.StatusUnauthorized, errs.Newf(errs.Forbidden, "not authorized: the bearer token is not valid here, or has expired: have a new one issued"))

// claims is what a token says.
type claims struct {
	jwt.RegisteredClaims
	// Fingerprint is that of the server's certificate, for those who have to find out whom they talk to.
	Fingerprint string `json:"server_cert_fingerprint,omitempty"`
}

// newSecret makes what the tokens of one identity are signed with.
func newSecret() string {
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// keyOf is the key in a secret. One that is missing gives a key that nobody knows: it takes as long, and fits nothing.
func keyOf(secret string) []byte {
	if key, err := base64.StdEncoding.DecodeString(secret); err == nil && len(key) == 64 {
		return key
	}
	key, _ := base64.StdEncoding.DecodeString(newSecret()) // it was encoded just now
	return key
}

// sign makes a token.
func sign(c claims, secret string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS512, c).SignedString(keyOf(secret))
}

// name is how a server calls itself in a token.
func name(use Use, server string) string { return string(use) + ":" + server }

// claimed is what a token says before anybody knows whether it is true; ok is false if it was not issued by a server of this kind.
func claimed(text string) (c claims, ok bool) {
	parts := strings.Split(text, ".")
	if len(text) > tokenMax || len(parts) != 3 {
		return c, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &c) != nil {
		return claims{}, false
	}
	return c, strings.HasPrefix(c.Issuer, name(API, ""))
}

// purpose is what a token must be for: that use, at that server, now.
type purpose struct {
	server string
	use    Use
	now    time.Time
}

// verify fails unless the token was signed with the secret, for that purpose, and its time is not over.
func (p purpose) verify(text, secret string) error {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS512"}), jwt.WithIssuer(name(API, p.server)), jwt.WithAudience(name(p.use, p.server)),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(func() time.Time { return p.now }), jwt.WithStrictDecoding())
	var c claims
	_, err := parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return keyOf(secret), nil })
	if err != nil || len(c.Audience) != 1 {
		return ErrInvalid
	}
	return nil
}
