package oidc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"lxd/internal/errs"
)

const (
	// loginCookie remembers in the browser what it was sent to the issuer with.
	loginCookie = "__Host-lxd_login"
	// loginTime is how long somebody may take to sign in.
	loginTime = 10 * time.Minute
	// home is where a browser goes in the end.
	home = "/ui/"
)

// visit is what a browser was sent to the issuer with.
type visit struct {
	State, Nonce, Verifier, Secret string
	Until                          time.Time
}

// flow is the exchange with the issuer, as this server is reached by the browser.
func (p *provider) flow(s Settings, r *http.Request) *oauth2.Config {
	return &oauth2.Config{ClientID: s.ClientID, ClientSecret: s.ClientSecret, Endpoint: p.Endpoint(), Scopes: strings.Fields(s.Scopes),
		RedirectURL: "https://" + r.Host + "/oidc/callback"}
}

var errOff = errs.Newf(errs.NotFound, "signing in with OpenID Connect is not set up: set oidc.issuer and oidc.client.id")

// Login sends a browser to the issuer.
func (s *Service) Login(w http.ResponseWriter, r *http.Request) error {
	set, p, err := s.ready(r.Context())
	if err != nil {
		return err
	}
	secret, err := s.current(r.Context())
	if err != nil {
		return err
	}
	v := visit{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Secret: secret.ID, Until: s.d.Now().Add(loginTime)}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	http.SetCookie(w, &http.Cookie{Name: loginCookie, Value: text + "." + secret.sign("login", text), Path: "/", MaxAge: int(loginTime.Seconds()),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}) // it comes back from another site
	options := []oauth2.AuthCodeOption{goidc.Nonce(v.Nonce), oauth2.S256ChallengeOption(v.Verifier)}
	if set.Audience != "" {
		options = append(options, oauth2.SetAuthURLParam("audience", set.Audience))
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, p.flow(set, r).AuthCodeURL(v.State, options...), http.StatusFound)
	return nil
}

func (s *Service) ready(ctx context.Context) (Settings, *provider, error) {
	set, err := s.settings(ctx)
	if err != nil {
		return set, nil, err
	}
	if !set.Enabled() {
		return set, nil, errOff
	}
	p, err := s.issuer.get(ctx, set)
	return set, p, err
}

// visited is what the browser was sent with, if it is this browser that comes back now.
func (s *Service) visited(r *http.Request) (v visit, err error) {
	gone := refused("the browser was not sent to the issuer by this server, or too long ago: begin again at /oidc/login")
	c, err := r.Cookie(loginCookie)
	if err != nil {
		return v, gone
	}
	text, proof, _ := strings.Cut(c.Value, ".")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &v) != nil {
		return visit{}, gone
	}
	secret, err := s.secret(r.Context(), v.Secret)
	if err != nil {
		return visit{}, err
	}
	if !secret.signed("login", text, proof) || s.d.Now().After(v.Until) || v.State != r.URL.Query().Get("state") {
		return visit{}, gone
	}
	return v, nil
}

// Callback is where the issuer sends the browser back to: it gets a session.
func (s *Service) Callback(w http.ResponseWriter, r *http.Request) error {
	return s.d.Limit.Try(r.RemoteAddr, "", func() error { return s.back(w, r) })
}

func (s *Service) back(w http.ResponseWriter, r *http.Request) error {
	set, p, err := s.ready(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	v, err := s.visited(r)
	clear := &http.Cookie{Name: loginCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	http.SetCookie(w, clear)
	if err != nil {
		return err
	}
	if why := r.URL.Query().Get("error"); why != "" {
		return refused("the issuer says " + printable(why))
	}
	who, err := s.exchange(r, set, p, v)
	if err != nil {
		return err
	}
	if _, err := s.introduce(r.Context(), who); err != nil {
		return err
	}
	cookie, err := s.begin(r.Context(), set, who, r)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, home, http.StatusFound)
	return nil
}

// exchange finds out who came back.
func (s *Service) exchange(r *http.Request, set Settings, p *provider, v visit) (Person, error) {
	ctx, cancel := context.WithTimeout(goidc.ClientContext(r.Context(), s.issuer.client), 2*patience)
	defer cancel()
	tokens, err := p.flow(set, r).Exchange(ctx, r.URL.Query().Get("code"), oauth2.VerifierOption(v.Verifier))
	if no, ok := errors.AsType[*oauth2.RetrieveError](err); ok && no.Response.StatusCode < http.StatusInternalServerError {
		return Person{}, refused("the issuer does not take back its code: " + printable(no.ErrorCode))
	}
	if err != nil {
		return Person{}, unreachable(err)
	}
	text, _ := tokens.Extra("id_token").(string)
	if text == "" {
		return Person{}, refused("the issuer sent no ID token")
	}
	token, err := p.checked(ctx, text, &goidc.Config{ClientID: set.ClientID})
	if err != nil {
		return Person{}, err
	}
	if token.Nonce != v.Nonce {
		return Person{}, refused("it was made for another visit")
	}
	var raw json.RawMessage
	var c claims
	if err := errors.Join(token.Claims(&raw), c.read(raw, set.GroupsClaim)); err != nil {
		return Person{}, refused("it is malformed")
	}
	if c.Email == "" || set.GroupsClaim != "" && !c.grouped {
		if err := p.ask(ctx, set, held{tokens.AccessToken, token.Expiry}, &c); err != nil {
			return Person{}, err
		}
	}
	return c.person(token.Expiry)
}

// Logout ends the session of a browser.
func (s *Service) Logout(w http.ResponseWriter, r *http.Request) error {
	one, err := s.proven(r)
	if err == nil {
		err = s.End(r.Context(), one.UUID)
	}
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, home, http.StatusFound)
	return nil
}
