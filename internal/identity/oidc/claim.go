package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"lxd/internal/errs"
	"lxd/internal/rest"
)

const (
	// tokenMax is the longest token that is looked at.
	tokenMax = 32 << 10
	// groupsMax is how many groups a token may name.
	groupsMax = 1000
)

// Person is who a token of the issuer stands for.
type Person struct {
	Subject, Email, Name string
	Groups               []string
	// Expires is when the token ends.
	Expires time.Time
}

// claims is what tokens and the issuer's answers say.
type claims struct {
	Subject  string `json:"sub"`
	Email    string `json:"email"`
	Verified *bool  `json:"email_verified"`
	Name     string `json:"name"`
	Party    string `json:"azp"`
	Client   string `json:"client_id"`

	groups []string
	// grouped tells that there was a word on groups.
	grouped bool
}

func (c *claims) read(raw json.RawMessage, groupsClaim string) error {
	// Some issuers write booleans as text.
	var loose struct {
		claims
		Verified any `json:"email_verified"`
	}
	if err := json.Unmarshal(raw, &loose); err != nil {
		return err
	}
	*c = loose.claims
	c.Verified = nil
	if loose.Verified != nil {
		v := loose.Verified == true || loose.Verified == "true"
		c.Verified = &v
	}
	if groupsClaim == "" {
		return nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	list, ok := all[groupsClaim]
	if !ok {
		return nil
	}
	c.grouped = true
	var one string
	if json.Unmarshal(list, &one) == nil {
		c.groups = []string{one}
		return nil
	}
	if err := json.Unmarshal(list, &c.groups); err != nil {
		return errors.New("its claim of groups is not a list of names")
	}
	if len(c.groups) > groupsMax {
		return errors.New("it names too many groups")
	}
	return nil
}

// person checks that the claims say who somebody is.
func (c claims) person(expires time.Time) (Person, error) {
	switch {
	case c.Email == "":
		return Person{}, refused("the issuer tells no mail address: have it tell, and ask for the scope email")
	case c.Verified != nil && !*c.Verified:
		return Person{}, refused("the issuer has not verified the mail address")
	case !plain(c.Email) || strings.Count(c.Email, "@") != 1 || strings.ContainsAny(c.Email, " /?#%"):
		return Person{}, refused("the mail address cannot be used as a name here")
	}
	name := c.Name
	if !plain(name) || strings.ContainsRune(name, '@') { // nobody can call itself by the address of another
		name = ""
	}
	return Person{Subject: c.Subject, Email: c.Email, Name: name, Groups: c.groups, Expires: expires}, nil
}

// plain tells whether text is short, and shows as what it is.
func plain(s string) bool {
	return len(s) < 255 && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// refused is the error of a token that does not prove who somebody is.
func refused(why string) error {
	return rest.WithStatus(http.StatusUnauthorized, errs.Newf(errs.Forbidden, "not authorized: the OpenID Connect token is refused: %s", why))
}

// verify finds out who an access token of the issuer stands for.
func (p *provider) verify(ctx context.Context, s Settings, text string) (Person, error) {
	if len(text) > tokenMax {
		return Person{}, refused("it is too long")
	}
	token, err := p.checked(ctx, text, &goidc.Config{SkipClientIDCheck: true})
	if err != nil {
		return Person{}, err
	}
	var raw json.RawMessage
	var c claims
	if err := errors.Join(token.Claims(&raw), c.read(raw, s.GroupsClaim)); err != nil {
		return Person{}, refused("it is malformed")
	}
	if !s.meant(token, c) {
		return Person{}, refused("it is for another audience")
	}
	if c.Email == "" || s.GroupsClaim != "" && !c.grouped {
		if err := p.ask(ctx, s, held{text, token.Expiry}, &c); err != nil {
			return Person{}, err
		}
	}
	return c.person(token.Expiry)
}

// checked checks signature, issuer and time of a token.
func (p *provider) checked(ctx context.Context, text string, config *goidc.Config) (*goidc.IDToken, error) {
	for _, a := range algorithms {
		config.SupportedSigningAlgs = append(config.SupportedSigningAlgs, string(a))
	}
	keys := &asking{keySet: p.keys}
	token, err := goidc.NewVerifier(p.issuer(), keys, config).Verify(ctx, text)
	if late, ok := errors.AsType[*goidc.TokenExpiredError](err); ok {
		return nil, refused("it expired at " + late.Expiry.UTC().Format(time.RFC3339))
	}
	if keys.failure != nil {
		return nil, keys.failure
	}
	if err == nil && token.Subject == "" {
		err = errors.New("it has no subject")
	}
	if err != nil {
		return nil, refused("it is not valid")
	}
	return token, nil
}

// issuer is the name that the issuer has for itself.
func (p *provider) issuer() string {
	var c struct {
		Issuer string `json:"issuer"`
	}
	_ = p.Claims(&c) // it was read before
	return c.Issuer
}

// meant tells whether a token is for this server: for the audience that it demands, or made for its own client. A token that the
// issuer made for another program is worth nothing here.
func (s Settings) meant(token *goidc.IDToken, c claims) bool {
	if s.Audience != "" {
		return slices.Contains(token.Audience, s.Audience)
	}
	return slices.Contains(token.Audience, s.ClientID) || c.Party == s.ClientID || c.Client == s.ClientID
}

// held is an access token.
type held struct {
	text  string
	until time.Time
}

// ask has the issuer tell what the token does not say, once for each token.
func (p *provider) ask(ctx context.Context, s Settings, token held, c *claims) error {
	key := sha256.Sum256([]byte(token.text))
	info, ok := p.facts.get(key)
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		told, err := p.UserInfo(goidc.ClientContext(ctx, p.keys.client), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token.text}))
		if err != nil {
			return unreachable(err)
		}
		var raw json.RawMessage
		if err := errors.Join(told.Claims(&raw), info.read(raw, s.GroupsClaim)); err != nil || info.Subject != c.Subject {
			return refused("the issuer says something else of its owner")
		}
		p.facts.put(key, info, token.until)
	}
	if c.Email == "" {
		c.Email, c.Verified, c.Name = info.Email, info.Verified, info.Name
	}
	if !c.grouped {
		c.groups, c.grouped = info.groups, info.grouped
	}
	return nil
}

// factsMax is how many tokens' owners are kept in mind, factsFresh for how long.
const (
	factsMax   = 2000
	factsFresh = 10 * time.Minute
)

// cache keeps what the issuer told of the owners of tokens.
type cache struct {
	mu  sync.Mutex
	all map[[32]byte]fact
}

type fact struct {
	claims
	until time.Time
}

func newCache() *cache { return &cache{all: map[[32]byte]fact{}} }

func (c *cache) get(key [32]byte) (claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.all[key]
	return f.claims, ok && time.Now().Before(f.until)
}

func (c *cache) put(key [32]byte, info claims, until time.Time) {
	now := time.Now()
	if late := now.Add(factsFresh); until.After(late) {
		until = late
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, f := range c.all { // the old ones, and some that are not when there are too many
		if len(c.all) >= factsMax || now.After(f.until) {
			delete(c.all, k)
		}
	}
	c.all[key] = fact{info, until}
}
