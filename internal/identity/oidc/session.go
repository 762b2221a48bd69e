package oidc

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/identity"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/server"
	"lxd/internal/store"
)

// Session is a browser that came back from the issuer.
type Session struct {
	UUID     string    `json:"uuid"`
	Email    string    `json:"email"`
	Username string    `json:"username"`
	Subject  string    `json:"subject"`
	Groups   []string  `json:"groups,omitempty"`
	IP       string    `json:"ip"`
	Agent    string    `json:"agent"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	// Secret is the one that signed its cookie.
	Secret string `json:"secret"`
	// Issuer and Client are those that vouched for it: with others in the configuration it is worth nothing.
	Issuer string `json:"issuer"`
	Client string `json:"client"`
}

// Sessions is where they are kept.
var Sessions = store.Collection[Session]{Name: identity.SessionCollection, Key: func(s Session) string { return s.UUID }}

// SessionURL is the address of a session.
func SessionURL(uuid string) string { return "/1.0/auth/oidc-sessions/" + uuid }

// API is the session as clients see it.
func (s Session) API() api.OIDCSession {
	return api.OIDCSession{UUID: s.UUID, Email: s.Email, Username: s.Username, IP: s.IP, UserAgent: s.Agent, ExpiresAt: s.Expires, CreatedAt: s.Created}
}

const (
	// sessionCookie is what the browser shows; its prefix has browsers take it from this server alone, and only encrypted.
	sessionCookie = "__Host-lxd_session"
	// sessionsMax is how many sessions one identity may have; the oldest give way.
	sessionsMax = 50
)

// begin makes a session, and the cookie for it.
func (s *Service) begin(ctx context.Context, set Settings, who Person, r *http.Request) (*http.Cookie, error) {
	secret, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	config, err := s.d.Config(ctx)
	if err != nil {
		return nil, err
	}
	now := s.d.Now().UTC()
	expires, err := schema.ExpiresAt(now, server.Keys().Get(config, server.OIDCSessionExpiry))
	if err != nil {
		return nil, err
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	one := Session{UUID: op.NewUUID(), Email: who.Email, Username: cmp.Or(who.Name, who.Email), Subject: who.Subject, Groups: who.Groups, IP: ip,
		Agent: printable(r.UserAgent()), Created: now, Expires: expires, Secret: secret.ID, Issuer: set.Issuer, Client: set.ClientID}
	err = s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := sweep(tx, now, who.Email); err != nil {
			return err
		}
		return Sessions.Insert(tx, one)
	})
	return &http.Cookie{Name: sessionCookie, Value: one.UUID + "." + secret.sign("session", one.UUID), Path: "/", Expires: expires,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode}, err
}

// printable is text without what would harm a terminal, cut to a sensible length.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 255)], "")
}

// sweep removes the sessions that are over, and the oldest ones of an identity that has too many.
func sweep(tx store.Tx, now time.Time, email string) error {
	var gone []string
	var own []Session
	for one, err := range Sessions.All(tx, "") {
		switch {
		case err != nil:
			return err
		case !now.Before(one.Expires):
			gone = append(gone, one.UUID)
		case one.Email == email:
			own = append(own, one)
		}
	}
	slices.SortFunc(own, func(a, b Session) int { return a.Created.Compare(b.Created) })
	for _, one := range own[:max(0, len(own)-sessionsMax+1)] {
		gone = append(gone, one.UUID)
	}
	for _, id := range gone {
		if err := Sessions.Delete(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the sessions that are over, and the secrets that are not needed any more.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.d.Now()
	return s.d.Store.Update(ctx, func(tx store.Tx) error { return errors.Join(sweep(tx, now, ""), prune(tx)) })
}

// Tend sweeps every hour until ctx ends.
func (s *Service) Tend(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.Error("Old sessions could not be removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Gone ends the sessions of an identity that is removed within tx, so that one that comes again later has to prove itself anew.
func Gone(tx store.Tx, rec identity.Record) error {
	if rec.Method != string(auth.OIDC) {
		return nil
	}
	var gone []string
	for one, err := range Sessions.All(tx, "") {
		if err != nil {
			return err
		}
		if one.Email == rec.ID {
			gone = append(gone, one.UUID)
		}
	}
	for _, id := range gone {
		if err := Sessions.Delete(tx, id); err != nil {
			return err
		}
	}
	return nil
}

// proven finds the session whose cookie the request carries; NotFound is none.
func (s *Service) proven(r *http.Request) (Session, error) {
	none := errs.Newf(errs.NotFound, "session not found")
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return Session{}, none
	}
	id, proof, _ := strings.Cut(c.Value, ".")
	one, err := s.Session(r.Context(), id)
	if err != nil {
		return Session{}, err
	}
	secret, err := s.secret(r.Context(), one.Secret)
	if err == nil && !secret.signed("session", one.UUID, proof) {
		err = none
	}
	return one, err
}

// fromSession tells who a browser is. A session that is over is no session, so that the browser can begin another one.
func (s *Service) fromSession(r *http.Request, set Settings) (id auth.Identity, handled bool, err error) {
	one, err := s.proven(r)
	if err == nil && (one.Issuer != set.Issuer || one.Client != set.ClientID) {
		return id, false, nil
	}
	if err == nil {
		rec, e := s.find(r.Context(), one.Email)
		if err = e; err == nil && rec.Subject != one.Subject {
			return id, false, nil
		}
		if err == nil {
			id, err = s.d.Identities.Caller(r.Context(), rec, one.Groups, r.RemoteAddr)
			id.Session, id.SessionID = err == nil, one.UUID
		}
	}
	if errs.Is(err, errs.NotFound) {
		return auth.Identity{}, false, nil
	}
	return id, true, err
}

// Session loads one session that is not over.
func (s *Service) Session(ctx context.Context, uuid string) (one Session, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		one, err = Sessions.Get(tx, uuid)
		return err
	})
	if errs.Is(err, errs.NotFound) || err == nil && !s.d.Now().Before(one.Expires) {
		return Session{}, errs.Newf(errs.NotFound, "session %q not found", uuid)
	}
	return one, err
}

// List loads the sessions that are not over, of one mail address or of all for "": the oldest first.
func (s *Service) List(ctx context.Context, email string) (all []Session, err error) {
	now := s.d.Now()
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all = all[:0]
		for one, err := range Sessions.All(tx, "") {
			if err != nil {
				return err
			}
			if now.Before(one.Expires) && (email == "" || one.Email == email) {
				all = append(all, one)
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Session) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UUID, b.UUID)) })
	return all, err
}

// End ends a session; its browser is a stranger from the next request on.
func (s *Service) End(ctx context.Context, uuid string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := Sessions.Get(tx, uuid); err != nil {
			return err
		}
		return Sessions.Delete(tx, uuid)
	})
}
