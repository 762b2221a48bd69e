// Package issuer is a small OpenID Connect provider for tests: discovery, keys, the flows of browsers and of devices, renewal of
// tokens, and what it knows of its users. Nobody types a password: the one who is signed in is whom the test says.
package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Person is a user of the provider.
type Person struct {
	Subject, Email, Name string
	Groups               []string
	// Unverified says that the mail address was never checked.
	Unverified bool
}

// Issuer is one provider. Make it with New.
type Issuer struct {
	// URL is where it is reached; set it before the first request.
	URL string
	// ClientID and ClientSecret are those of its only client; without a secret the client is a public one.
	ClientID, ClientSecret string
	// Audience is what access tokens are for besides; empty is nothing.
	Audience string
	// Life is how long tokens are valid.
	Life time.Duration
	// Bare leaves mail address and groups out of tokens, so that they have to be asked for.
	Bare bool

	mu      sync.Mutex
	person  *Person
	down    bool
	keys    []jose.JSONWebKey
	people  map[string]Person // by access token
	grants  map[string]grant  // by code of a browser
	devices map[string]string // scopes, by code of a device
	renewal map[string]Person // by refresh token
	asked   map[string]int    // by path
}

// grant is what a browser was given for the token endpoint.
type grant struct {
	person                     Person
	nonce, challenge, redirect string
}

// New makes a provider with one client, nobody signed in.
func New(client, secret string) (*Issuer, error) {
	i := &Issuer{ClientID: client, ClientSecret: secret, Life: time.Hour, people: map[string]Person{}, grants: map[string]grant{},
		devices: map[string]string{}, renewal: map[string]Person{}, asked: map[string]int{}}
	return i, i.Rotate()
}

// Rotate replaces the key that tokens are signed with; the old one is not known any more.
func (i *Issuer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{{Key: key, KeyID: rand.Text(), Algorithm: string(jose.ES256), Use: "sig"}}
	return nil
}

// SignIn makes the person the one who is signed in; nil is nobody.
func (i *Issuer) SignIn(p *Person) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.person = p
}

// Break makes the provider answer nothing but errors, or ends that.
func (i *Issuer) Break(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Asked is how many requests there were for a path.
func (i *Issuer) Asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// Sign makes a token of claims, whatever they are.
func (i *Issuer) Sign(claims map[string]any) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sign(claims)
}

func (i *Issuer) sign(claims map[string]any) (string, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.keys[0]}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(b)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// Access makes an access token of the person, as the flows do.
func (i *Issuer) Access(p Person) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.access(p)
}

func (i *Issuer) access(p Person) (string, error) {
	claims := i.claims(p)
	claims["azp"], claims["jti"] = i.ClientID, rand.Text()
	delete(claims, "aud")
	if i.Audience != "" {
		claims["aud"] = []string{i.Audience}
	}
	if i.Bare {
		for _, name := range []string{"email", "email_verified", "name", "groups"} {
			delete(claims, name)
		}
	}
	token, err := i.sign(claims)
	i.people[token] = p
	return token, err
}

// claims are what an ID token says of the person.
func (i *Issuer) claims(p Person) map[string]any {
	now := time.Now()
	c := about(p)
	c["iss"], c["aud"], c["iat"], c["exp"] = i.URL, i.ClientID, now.Unix(), now.Add(i.Life).Unix()
	return c
}

// about is what the provider tells of a person.
func about(p Person) map[string]any {
	return map[string]any{"sub": p.Subject, "email": p.Email, "email_verified": !p.Unverified, "name": p.Name, "groups": p.Groups}
}

// ServeHTTP is the provider.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked[r.URL.Path]++
	if i.down {
		http.Error(w, "out of order", http.StatusBadGateway)
		return
	}
	h, ok := map[string]func(http.ResponseWriter, *http.Request){
		"/.well-known/openid-configuration": i.discovery, "/keys": i.publish, "/authorize": i.authorize, "/token": i.token,
		"/device": i.device, "/userinfo": i.userinfo,
	}[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"device_authorization_endpoint": i.URL + "/device", "userinfo_endpoint": i.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"},
		"subject_types_supported": []string{"public"},
	})
}

func (i *Issuer) publish(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{}
	for _, k := range i.keys {
		set.Keys = append(set.Keys, k.Public())
	}
	answer(w, http.StatusOK, set)
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	var token string
	_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer %s", &token)
	p, ok := i.people[token]
	if !ok {
		http.Error(w, "unknown token", http.StatusUnauthorized)
		return
	}
	answer(w, http.StatusOK, about(p))
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that went away needs no answer
}
