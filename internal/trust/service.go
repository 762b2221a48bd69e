package trust

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Fingerprint is that of the server's own certificate.
	Fingerprint string
	// Expiry is how long a token is valid, in the form of schema.ExpiresAt.
	Expiry func(ctx context.Context) (string, error)
	// Authority must have signed the certificates of all clients; nil is none. TrustAuthority tells whether that alone is enough.
	Authority      *Authority
	TrustAuthority func(ctx context.Context) (bool, error)
	// Limit holds back those who send wrong tokens; nil holds back no one.
	Limit *limit.Limiter
	// Addresses lists where the server can be reached; none means that it cannot.
	Addresses func() []string
	// Taken tells whether a certificate is that of an identity with fine-grained rights; nil knows none.
	Taken func(tx store.Tx, fingerprint string) bool
}

// Service is the use cases of certificates.
type Service struct {
	d Deps

	mu     sync.Mutex
	tokens map[string]*token
}

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d: d, tokens: map[string]*token{}} }

// List loads all certificates, in order of their fingerprints.
func (s *Service) List(ctx context.Context) (all []api.Certificate, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, r.API())
		}
		return nil
	})
	return all, err
}

// Get loads the certificate whose fingerprint begins with prefix.
func (s *Service) Get(ctx context.Context, prefix string) (c api.Certificate, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := find(tx, prefix)
		c = r.API()
		return err
	})
	return c, err
}

func find(tx store.Tx, prefix string) (found Record, err error) {
	prefix = strings.ToLower(prefix)
	for r, err := range Collection.All(tx, prefix) {
		switch {
		case err != nil:
			return found, err
		case r.Fingerprint == prefix:
			return r, nil
		case found.Fingerprint != "":
			return Record{}, errs.Newf(errs.Invalid, "several certificates begin with %q: give more of the fingerprint", prefix)
		}
		found = r
	}
	if found.Fingerprint == "" || prefix == "" {
		return Record{}, errs.Newf(errs.NotFound, "certificate %q not found", prefix)
	}
	return found, nil
}

// Add trusts a certificate, which is post.Certificate or else the one that the caller showed, and returns its address.
func (s *Service) Add(ctx context.Context, post api.CertificatesPost, shown *x509.Certificate) (location string, err error) {
	c := shown
	if post.Certificate != "" {
		if c, err = Parse(post.Certificate); err != nil {
			return "", err
		}
	}
	if c == nil {
		return "", errs.Newf(errs.Invalid, "there is no certificate: send one in the request, or connect with one")
	}
	if err := s.Acceptable(c); err != nil {
		return "", err
	}
	r, err := newRecord(c, api.CertificatePut{Name: post.Name, Type: post.Type, Restricted: post.Restricted, Projects: post.Projects})
	if err != nil {
		return "", err
	}
	return URL(r.Fingerprint), s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.free(tx, r.Fingerprint); err != nil {
			return err
		}
		if err := projectsExist(tx, r.Projects); err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleCertificateCreated, r))
		return Collection.Insert(tx, r)
	})
}

// Acceptable fails with Forbidden on a certificate that would open nothing.
func (s *Service) Acceptable(c *x509.Certificate) error {
	if s.d.Authority != nil && !s.d.Authority.vouches(c) {
		return errs.Newf(errs.Forbidden, "the certificate is not one of the server's certificate authority, or was revoked: have that authority sign one")
	}
	return current(c, time.Now())
}

// free fails with Conflict if the certificate is trusted already, in this way or the other.
func (s *Service) free(tx store.Tx, fingerprint string) error {
	if Collection.Has(tx, fingerprint) || s.d.Taken != nil && s.d.Taken(tx, fingerprint) {
		return errs.Newf(errs.Conflict, "the certificate %s is trusted already", fingerprint[:12])
	}
	return nil
}

// current fails with Forbidden on a certificate whose time has not come or is over.
func current(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return errs.Newf(errs.Forbidden, "the certificate is valid from %s to %s only: make a new one",
			c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func projectsExist(tx store.Tx, names []string) error {
	for _, n := range names {
		if _, err := project.Collection.Get(tx, n); err != nil {
			return err
		}
	}
	return nil
}

// Update replaces what clients may write of a certificate. With another certificate in put it is known under that one from then on.
// Without admin only the certificate itself may change, which renews it.
func (s *Service) Update(ctx context.Context, prefix string, put api.CertificatePut, admin bool) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := find(tx, prefix)
		if err != nil {
			return err
		}
		r, err := s.next(old, put)
		if err != nil {
			return err
		}
		if !admin && !sameRights(old, r) {
			return errs.Newf(errs.Forbidden, "not authorized: a client may replace its own certificate, and change nothing else of it")
		}
		if err := projectsExist(tx, r.Projects); err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleCertificateUpdated, r))
		if r.Fingerprint == old.Fingerprint {
			return Collection.Put(tx, r)
		}
		if err := s.free(tx, r.Fingerprint); err != nil {
			return err
		}
		if err := Collection.Delete(tx, old.Fingerprint); err != nil {
			return err
		}
		return Collection.Insert(tx, r)
	})
}

// next is the record as put wants it; without a certificate it keeps its own.
func (s *Service) next(old Record, put api.CertificatePut) (Record, error) {
	text := put.Certificate
	if text == "" {
		text = old.PEM
	}
	c, err := Parse(text)
	if err != nil {
		return Record{}, err
	}
	if text != old.PEM {
		if err := s.Acceptable(c); err != nil {
			return Record{}, err
		}
	}
	return newRecord(c, put)
}

// sameRights tells whether nothing but the certificate itself differs.
func sameRights(a, b Record) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Restricted == b.Restricted && slices.Equal(a.Projects, b.Projects)
}

// Delete stops trusting a certificate.
func (s *Service) Delete(ctx context.Context, prefix string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, err := find(tx, prefix)
		if err != nil {
			return err
		}
		tx.Announce(change(api.LifecycleCertificateDeleted, r))
		return Collection.Delete(tx, r.Fingerprint)
	})
}

// ProjectGone takes a project from all certificates within tx, so that a later one of the same name is not open to them.
func (s *Service) ProjectGone(tx store.Tx, name string) error {
	return s.eachOf(tx, name, func(projects []string, i int) []string { return slices.Delete(projects, i, i+1) })
}

// ProjectRenamed lets the certificates of a project follow its name within tx.
func (s *Service) ProjectRenamed(tx store.Tx, from, to string) error {
	return s.eachOf(tx, from, func(projects []string, i int) []string {
		projects[i] = to
		return projects
	})
}

// eachOf changes the list of projects of every certificate that has name in it.
func (s *Service) eachOf(tx store.Tx, name string, edit func(projects []string, i int) []string) error {
	var keys []string
	for r, err := range Collection.All(tx, "") {
		if err != nil {
			return err
		}
		if slices.Contains(r.Projects, name) {
			keys = append(keys, r.Fingerprint)
		}
	}
	for _, k := range keys {
		err := Collection.Modify(tx, k, func(r *Record) error {
			r.Projects = edit(r.Projects, slices.Index(r.Projects, name))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
