// Package oidc gets tokens of an OpenID Connect issuer for programs without a browser, and keeps and renews them.
//
// A server that asks for such tokens says in its answers which issuer is to be asked. The person is shown an address and a code, signs in
// there with any browser, and the program gets its tokens meanwhile.
package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// patience is how long the issuer may take for one answer.
	patience = 30 * time.Second
	// early is how long before its end a token is renewed.
	early = 10 * time.Second
)

// Source is the tokens for one server; it is client.Credentials.
type Source struct {
	// Path is the file that the tokens are kept in.
	Path string
	// Tell shows the person where to sign in, and which code to type there.
	Tell func(address, code string)
	// HTTP sends what is asked of the issuer; nil is the usual client.
	HTTP *http.Client

	mu   sync.Mutex
	kept *kept
}

// kept is the tokens as they are in the file, with whom they are from.
type kept struct {
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token,omitempty"`
	Expiry  time.Time `json:"expiry"`
	Issuer  string    `json:"issuer"`
	Client  string    `json:"client_id"`
}

// asked is what a server says of the tokens that it wants.
type asked struct {
	issuer, client, audience string
	scopes                   []string
}

// wanted reads an answer of a server.
func wanted(h http.Header) (a asked, ok bool, err error) {
	a = asked{issuer: h.Get("X-LXD-OIDC-issuer"), client: h.Get("X-LXD-OIDC-clientid"), audience: h.Get("X-LXD-OIDC-audience")}
	if a.issuer == "" || a.client == "" {
		return a, false, nil
	}
	if !strings.HasPrefix(a.issuer, "https://") {
		return a, false, fmt.Errorf("The server names the OpenID Connect issuer %q, which is reached without encryption: nobody should sign in there", a.issuer)
	}
	if text := h.Get("X-LXD-OIDC-scopes"); text == "" || json.Unmarshal([]byte(text), &a.scopes) != nil {
		a.scopes = []string{"openid", "offline_access", "email", "profile"} // of servers from before they said so
	}
	return a, true, nil
}

// Token is the access token, renewed if its end is near and the issuer lets it be. One that cannot be renewed is shown as it is: the
// server decides.
func (s *Source) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil || s.kept == nil {
		return "", err
	}
	if !s.kept.Expiry.IsZero() && time.Until(s.kept.Expiry) < early && s.kept.Refresh != "" {
		if err := s.refresh(ctx, asked{issuer: s.kept.Issuer, client: s.kept.Client}); err != nil && ctx.Err() != nil {
			return "", err
		}
	}
	return s.kept.Access, nil
}

// Renew gets another token from the issuer that the server names: with the one that renews, or else by having the person sign in.
func (s *Source) Renew(ctx context.Context, refused string, answer http.Header) (bool, error) {
	a, ok, err := wanted(answer)
	if err != nil || !ok {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return false, err
	}
	if s.kept != nil && s.kept.Access != refused {
		return true, nil // somebody else was here meanwhile
	}
	// What renews tokens of one issuer must not be told to another one.
	if s.kept != nil && s.kept.Refresh != "" && s.kept.Issuer == a.issuer && s.kept.Client == a.client {
		if err := s.refresh(ctx, a); err == nil {
			return true, nil
		}
	}
	return true, s.signIn(ctx, a)
}

// provider asks the issuer about itself.
func (s *Source) provider(ctx context.Context, a asked) (context.Context, *oauth2.Config, error) {
	client := s.HTTP
	if client == nil {
		client = &http.Client{Timeout: patience}
	}
	ctx = goidc.ClientContext(ctx, client)
	p, err := goidc.NewProvider(ctx, a.issuer)
	if err != nil {
		return ctx, nil, fmt.Errorf("The OpenID Connect issuer %s cannot be asked: %w", a.issuer, err)
	}
	return ctx, &oauth2.Config{ClientID: a.client, Endpoint: p.Endpoint(), Scopes: a.scopes}, nil
}

// signIn has the person sign in.
func (s *Source) signIn(ctx context.Context, a asked) error {
	ctx, config, err := s.provider(ctx, a)
	if err != nil {
		return err
	}
	if config.Endpoint.DeviceAuthURL == "" {
		return fmt.Errorf("The OpenID Connect issuer %s has no way for programs like this one: have its device flow switched on", a.issuer)
	}
	var options []oauth2.AuthCodeOption
	if a.audience != "" {
		options = append(options, oauth2.SetAuthURLParam("audience", a.audience))
	}
	device, err := config.DeviceAuth(ctx, options...)
	if err != nil {
		return fmt.Errorf("Signing in at %s cannot begin: %w", a.issuer, err)
	}
	address := device.VerificationURIComplete
	if address == "" {
		address = device.VerificationURI
	}
	s.Tell(address, device.UserCode)
	token, err := config.DeviceAccessToken(ctx, device)
	if err != nil {
		return fmt.Errorf("Signing in at %s failed: %w", a.issuer, err)
	}
	return s.keep(a, token)
}

// refresh gets new tokens for the one that renews.
func (s *Source) refresh(ctx context.Context, a asked) error {
	ctx, config, err := s.provider(ctx, a)
	if err != nil {
		return err
	}
	token, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: s.kept.Refresh}).Token()
	if err != nil {
		return err
	}
	return s.keep(a, token)
}

// keep writes the tokens down, for nobody but the user to read.
func (s *Source) keep(a asked, token *oauth2.Token) error {
	s.kept = &kept{Access: token.AccessToken, Refresh: token.RefreshToken, Expiry: token.Expiry, Issuer: a.issuer, Client: a.client}
	b, err := json.Marshal(s.kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return fmt.Errorf("keeping the tokens: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(s.Path), "token-*") // readable by the user alone
	if err != nil {
		return fmt.Errorf("keeping the tokens: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.Path)
	}
	if err != nil {
		return fmt.Errorf("keeping the tokens: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// load reads the tokens, once.
func (s *Source) load() error {
	if s.kept != nil {
		return nil
	}
	b, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the tokens: %w", err)
	}
	var k kept
	if json.Unmarshal(b, &k) == nil && k.Access != "" {
		s.kept = &k
	}
	return nil // what cannot be read is got anew
}
