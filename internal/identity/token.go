package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// tls is how the identities here prove themselves that have certificates.
const tls = string(auth.TLS)

// TLSRecord is the record of an identity with that certificate, which is PEM or base64 of the DER form.
func (s *Service) TLSRecord(name, certificate string, groups []string) (Record, error) {
	c, err := trust.Parse(certificate)
	if err != nil {
		return Record{}, err
	}
	if err := s.d.Trust.Acceptable(c); err != nil {
		return Record{}, err
	}
	return Record{Method: tls, Type: api.IdentityTypeClientCertificate, Name: name, Groups: groups}.with(c), nil
}

// with is the record with another certificate.
func (r Record) with(c *x509.Certificate) Record {
	r.ID = trust.Fingerprint(c)
	r.PEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	return r
}

// Issue makes an identity that waits for its certificate, and the token by which a client gives it that, once.
func (s *Service) Issue(ctx context.Context, name string, groups []string) (rec Record, t api.CertificateAddToken, err error) {
	addresses := s.d.Addresses()
	if len(addresses) == 0 {
		return rec, t, errs.Newf(errs.Invalid, "a token is of no use while the server cannot be reached: set core.https_address first")
	}
	expiry, err := s.d.Expiry(ctx)
	if err != nil {
		return rec, t, err
	}
	expires, err := schema.ExpiresAt(time.Now(), expiry)
	if err != nil {
		return rec, t, err
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	rec = Record{Method: tls, Type: api.IdentityTypeClientCertificatePending, ID: op.NewUUID(), Name: name, Groups: groups,
		Secret: hex.EncodeToString(b[:]), Expires: expires}
	t = api.CertificateAddToken{ClientName: name, Fingerprint: s.d.Fingerprint, Addresses: addresses, Secret: rec.Secret, ExpiresAt: expires, Type: rec.Type}
	return rec, t, s.Create(ctx, rec)
}

// pending tells whether the identity waits for its certificate, and its token has not expired.
func (r Record) pending(now time.Time) bool {
	return r.Type == api.IdentityTypeClientCertificatePending && (r.Expires.IsZero() || now.Before(r.Expires))
}

// Redeem gives an identity that waits for it the certificate of a client that knows its token, and returns the identity's address.
// Tokens are good for one client; wrong ones are counted against the address that they come from.
func (s *Service) Redeem(ctx context.Context, token, address string, peer *x509.Certificate) (location string, err error) {
	if err := s.d.Trust.Admit(address); err != nil {
		return "", err
	}
	if peer == nil {
		return "", errs.Newf(errs.Invalid, "there is no certificate: connect with the one that is to be trusted")
	}
	if err := s.d.Trust.Acceptable(peer); err != nil {
		return "", err
	}
	now, known := time.Now(), false
	err = s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := bySecret(tx, token, now)
		if known = err == nil; !known {
			return err
		}
		next := old.with(peer)
		next.Type, next.Secret, next.Expires = api.IdentityTypeClientCertificate, "", time.Time{}
		location = next.URL()
		return replace(tx, old, next)
	})
	if errs.Is(err, errs.Forbidden) && !known {
		s.d.Trust.Failed(address)
	}
	return location, err
}

// bySecret finds the identity that waits for the client with that token. It looks at all of them, so that the time tells nothing.
func bySecret(tx store.Tx, token string, now time.Time) (found Record, err error) {
	secret, _ := trust.SecretOf(token)
	for r, err := range Collection.All(tx, tls+"/") {
		if err != nil {
			return Record{}, err
		}
		if r.pending(now) && subtle.ConstantTimeCompare([]byte(r.Secret), []byte(secret)) == 1 {
			found = r
		}
	}
	if found.Secret == "" {
		return Record{}, errs.Newf(errs.Forbidden, "not authorized: the token is not valid, was used before, or has expired")
	}
	return found, nil
}

// replace gives an identity another identifier within tx.
func replace(tx store.Tx, old, next Record) error {
	if Collection.Has(tx, Key(next.Method, next.ID)) || trust.Collection.Has(tx, next.ID) {
		return errs.Newf(errs.Conflict, "the certificate %s is trusted already", next.ID[:shortest])
	}
	if err := Collection.Delete(tx, Key(old.Method, old.ID)); err != nil {
		return err
	}
	if err := Collection.Insert(tx, next); err != nil {
		return err
	}
	tx.Announce(next.change(api.LifecycleIdentityUpdated))
	return nil
}

// Update puts an identity into these groups and no others, and with a certificate in put replaces its own: it is known by that one from
// then on.
func (s *Service) Update(ctx context.Context, method, id string, put api.IdentityPut) error {
	next, err := s.certificateIn(method, put)
	if err != nil {
		return err
	}
	if err := s.acceptable(next, id); err != nil {
		return err
	}
	groups := sorted(put.Groups)
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := Collection.Get(tx, Key(method, id))
		if err != nil {
			return err
		}
		r := old
		r.Groups = groups
		if next != nil && trust.Fingerprint(next) != old.ID {
			if old.Type != api.IdentityTypeClientCertificate {
				return errs.Newf(errs.Invalid, "an identity of type %q gets its certificate from the client that shows its token", old.Type)
			}
			r = r.with(next)
		}
		switch err := r.check(); {
		case err != nil:
			return err
		case r.ID != old.ID:
			return replace(tx, old, r)
		case slices.Equal(r.Groups, old.Groups):
			return nil
		}
		tx.Announce(r.change(api.LifecycleIdentityUpdated))
		return Collection.Put(tx, r)
	})
}

// certificateIn is the certificate that a client wants an identity to have; nil is that which it has.
func (s *Service) certificateIn(method string, put api.IdentityPut) (*x509.Certificate, error) {
	switch {
	case put.TLSCertificate == "":
		return nil, nil //nolint:nilnil // most changes have none
	case method != tls:
		return nil, errs.Newf(errs.Invalid, "identities that prove themselves by %s have no certificate", method)
	}
	return trust.Parse(put.TLSCertificate)
}

// acceptable fails if an identity would be known by a certificate that proves nothing.
func (s *Service) acceptable(c *x509.Certificate, id string) error {
	if c == nil || trust.Fingerprint(c) == id {
		return nil
	}
	return s.d.Trust.Acceptable(c)
}

// Prune removes the identities whose token has expired before a client showed it.
func (s *Service) Prune(ctx context.Context, now time.Time) error {
	all, err := s.List(ctx, tls)
	late := func(r Record) bool { return r.Type == api.IdentityTypeClientCertificatePending && !r.pending(now) }
	if err != nil || !slices.ContainsFunc(all, late) {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		for _, r := range all {
			now, err := Collection.Get(tx, Key(tls, r.ID))
			if !late(r) || err != nil || !late(now) {
				continue // it was removed meanwhile
			}
			tx.Announce(r.change(api.LifecycleIdentityDeleted))
			if err := Collection.Delete(tx, Key(tls, r.ID)); err != nil {
				return err
			}
		}
		return nil
	})
}
