package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"lxd/api"
	"lxd/internal/errs"
)

// ChallengePath is where the authority asks for the answer to a challenge, which follows.
const ChallengePath = "/.well-known/acme-challenge/"

// obtain gets a certificate.
func (s *Service) obtain(ctx context.Context, set Settings) (*certificate, error) {
	key, err := s.account()
	if err != nil {
		return nil, err
	}
	client := &acme.Client{Key: key, DirectoryURL: set.Directory, HTTPClient: s.d.HTTP, UserAgent: "LXD " + api.Version}
	if err := register(ctx, client, set); err != nil {
		return nil, fmt.Errorf("the ACME service %s does not know this server: %w", set.Directory, err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(set.Domain))
	if err != nil {
		return nil, fmt.Errorf("the ACME service refuses a certificate for %s: %w", set.Domain, err)
	}
	defer s.listen()()
	for _, at := range order.AuthzURLs {
		if err := s.authorize(ctx, client, at); err != nil {
			return nil, fmt.Errorf("the ACME service could not see that %s is this server: port 80 of it, or a proxy there, must lead %s to the server: %w", set.Domain, ChallengePath, err)
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, fmt.Errorf("the ACME service refuses a certificate for %s: %w", set.Domain, err)
	}
	c, err := finalize(ctx, client, order, set)
	if err != nil {
		return nil, fmt.Errorf("the ACME service gave no certificate for %s: %w", set.Domain, err)
	}
	return c, nil
}

// register makes the server known to the authority, or tells it the address to write to when that has changed.
func register(ctx context.Context, client *acme.Client, set Settings) error {
	var contact []string
	if set.Email != "" {
		contact = []string{"mailto:" + set.Email}
	}
	_, err := client.Register(ctx, &acme.Account{Contact: contact}, func(string) bool { return set.Agreed })
	if !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	known, err := client.GetReg(ctx, "")
	if err != nil || slices.Equal(known.Contact, contact) {
		return err
	}
	known.Contact = contact
	_, err = client.UpdateReg(ctx, known)
	return err
}

// authorize proves one name.
func (s *Service) authorize(ctx context.Context, client *acme.Client, at string) error {
	auth, err := client.GetAuthorization(ctx, at)
	if err != nil || auth.Status == acme.StatusValid {
		return err
	}
	i := slices.IndexFunc(auth.Challenges, func(c *acme.Challenge) bool { return c.Type == "http-01" })
	if i < 0 {
		return errs.Newf(errs.Unsupported, "it offers no challenge of type http-01")
	}
	answer, err := client.HTTP01ChallengeResponse(auth.Challenges[i].Token)
	if err != nil {
		return err
	}
	defer s.expect(auth.Challenges[i].Token, answer)()
	if _, err := client.Accept(ctx, auth.Challenges[i]); err != nil {
		return err
	}
	_, err = client.WaitAuthorization(ctx, auth.URI)
	return err
}

// finalize has the authority sign a certificate for a new key.
func finalize(ctx context.Context, client *acme.Client, order *acme.Order, set Settings) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: set.Domain}, DNSNames: []string{set.Domain}}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return nil, err
	}
	return newCertificate(chain, key, set)
}

// newCertificate refuses what is not what was asked for.
func newCertificate(chain [][]byte, key *ecdsa.PrivateKey, set Settings) (*certificate, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	c := &certificate{tls.Certificate{Certificate: chain, PrivateKey: crypto.Signer(key), Leaf: leaf}, set.Directory}
	if !key.PublicKey.Equal(leaf.PublicKey) || !c.fits(set) || time.Now().After(leaf.NotAfter) {
		return nil, errs.Newf(errs.Invalid, "what it gave is for another name or key, or has ended")
	}
	return c, nil
}

// listen answers challenges on an address for them alone, if one can be had, until stop is called.
func (s *Service) listen() (stop func()) {
	if s.d.Listen == nil {
		return func() {}
	}
	l, err := s.d.Listen()
	if err != nil {
		slog.Debug("Challenges are expected through a proxy alone", "err", err)
		return func() {}
	}
	srv := &http.Server{Handler: http.HandlerFunc(s.answer), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go func() { _ = srv.Serve(l) }() // it ends with Close
	return func() { _ = srv.Close() }
}

func (s *Service) answer(w http.ResponseWriter, r *http.Request) {
	text, err := "", error(nil)
	token, ok := strings.CutPrefix(r.URL.Path, ChallengePath)
	if ok {
		text, err = s.Challenge(token)
	}
	if !ok || err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(text)) // who went away needs no answer
}
