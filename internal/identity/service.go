package identity

import (
	"context"
	"crypto/x509"
	"net/url"
	"reflect"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/trust"
)

// Trust is what the service needs of the legacy certificates, and of the protection against guessing.
type Trust interface {
	// Admits tells whether a certificate may prove anything now.
	Admits(peer *x509.Certificate) bool
	// Acceptable fails on a certificate that would prove nothing.
	Acceptable(c *x509.Certificate) error
	// Admit fails while an address has sent too many wrong tokens.
	Admit(address string) error
	// Failed counts a wrong token of an address.
	Failed(address string)
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	Trust Trust
	// Fingerprint is that of the server's own certificate.
	Fingerprint string
	// Expiry is how long a token is valid, in the form of schema.ExpiresAt.
	Expiry func(ctx context.Context) (string, error)
	// Addresses lists where the server can be reached; none means that it cannot.
	Addresses func() []string
	// Gone is told within the transaction that an identity is removed; nil is no one.
	Gone func(tx store.Tx, rec Record) error
}

// Service is the use cases of identities and groups.
type Service struct {
	d      Deps
	rights cache
}

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d: d} }

// List loads the identities that prove themselves by method, or all for "": in order of method and identifier. Legacy certificates are not
// among them.
func (s *Service) List(ctx context.Context, method string) (all []Record, err error) {
	prefix := ""
	if method != "" {
		prefix = method + "/"
	}
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all = all[:0]
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}

// Find loads one identity by its identifier or name; of a fingerprint the first 12 digits are enough.
func (s *Service) Find(ctx context.Context, method, nameOrID string) (r Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		r, err = find(tx, method, nameOrID)
		return err
	})
	return r, err
}

// shortest is how many digits of a fingerprint are needed.
const shortest = 12

func find(tx store.Tx, method, nameOrID string) (Record, error) {
	r, err := Collection.Get(tx, Key(method, nameOrID))
	if err == nil || !errs.Is(err, errs.NotFound) {
		return r, err
	}
	var named, begun []Record
	prefix := strings.ToLower(nameOrID)
	for r, err := range Collection.All(tx, method+"/") {
		switch {
		case err != nil:
			return Record{}, err
		case r.Name == nameOrID:
			named = append(named, r)
		case method == string(auth.TLS) && len(prefix) >= shortest && strings.HasPrefix(r.ID, prefix):
			begun = append(begun, r)
		}
	}
	for _, found := range [][]Record{named, begun} {
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return Record{}, errs.Newf(errs.Invalid, "%d identities are called %q: name the one that is meant by its identifier", len(found), nameOrID)
		}
	}
	return Record{}, errs.Newf(errs.NotFound, "identity %q not found", method+"/"+nameOrID)
}

// Put adds an identity, or replaces the one of the same method and identifier.
func (s *Service) Put(ctx context.Context, rec Record) error {
	rec.Groups = sorted(rec.Groups)
	if err := rec.check(); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		old, err := Collection.Get(tx, Key(rec.Method, rec.ID))
		if errs.Is(err, errs.NotFound) {
			return insert(tx, rec, api.LifecycleIdentityCreated)
		}
		if err != nil || reflect.DeepEqual(old, rec) {
			return err
		}
		tx.Announce(rec.change(api.LifecycleIdentityUpdated))
		return Collection.Put(tx, rec)
	})
}

// Change changes an identity that is there; it keeps its method and identifier. change may run twice.
func (s *Service) Change(ctx context.Context, method, id string, change func(*Record)) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		return Collection.Modify(tx, Key(method, id), func(r *Record) error {
			change(r)
			tx.Announce(r.change(api.LifecycleIdentityUpdated))
			return r.check()
		})
	})
}

// Create adds an identity; one of the same name or identifier is a Conflict.
func (s *Service) Create(ctx context.Context, rec Record) error {
	rec.Groups = sorted(rec.Groups)
	if err := rec.check(); err != nil {
		return err
	}
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		return insert(tx, rec, api.LifecycleIdentityCreated)
	})
}

// insert adds an identity within tx. Names are free to be alike only where an identity provider chooses them.
func insert(tx store.Tx, rec Record, action string) error {
	if rec.Method == string(auth.TLS) && trust.Collection.Has(tx, rec.ID) {
		return errs.Newf(errs.Conflict, "the certificate %s is trusted already: remove it with \"lxc config trust remove\" first", rec.ID[:shortest])
	}
	if rec.Method != string(auth.OIDC) {
		for other, err := range Collection.All(tx, rec.Method+"/") {
			if err != nil {
				return err
			}
			if other.Name == rec.Name {
				return errs.Newf(errs.Conflict, "there is an identity %q already: choose another name", rec.Method+"/"+rec.Name)
			}
		}
	}
	if err := Collection.Insert(tx, rec); err != nil {
		return err
	}
	tx.Announce(rec.change(action))
	return nil
}

// Delete removes an identity; it is worth nothing from its next request on.
func (s *Service) Delete(ctx context.Context, method, id string) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error {
		r, err := Collection.Get(tx, Key(method, id))
		if err != nil {
			return err
		}
		if s.d.Gone != nil {
			if err := s.d.Gone(tx, r); err != nil {
				return err
			}
		}
		tx.Announce(r.change(api.LifecycleIdentityDeleted))
		return Collection.Delete(tx, Key(method, id))
	})
}

// Named is the address of an identity that an object names by its name or the beginning of its fingerprint; others keep theirs.
func (s *Service) Named(ctx context.Context, o auth.Object) string {
	words := strings.Split(strings.TrimPrefix(o.URL, "/1.0/auth/identities/"), "/")
	if len(words) != 2 {
		return o.URL
	}
	name, err := url.PathUnescape(words[1])
	if err != nil {
		return o.URL
	}
	at := o.URL
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		r, err := find(tx, words[0], name)
		if errs.Is(err, errs.NotFound) && words[0] == tls {
			if id := certificate(tx, name); id != "" {
				at = URL(tls, id)
			}
		}
		if err == nil {
			at = r.URL()
		}
		return nil
	})
	if err != nil {
		return o.URL
	}
	return at
}

// certificate is the fingerprint of the legacy certificate that is called so; "" if it is none or not known which.
func certificate(tx store.Tx, name string) (found string) {
	for c, err := range trust.Collection.All(tx, "") {
		begun := len(name) >= shortest && strings.HasPrefix(c.Fingerprint, strings.ToLower(name))
		switch {
		case err != nil || c.Name != name && !begun:
		case found != "":
			return ""
		default:
			found = c.Fingerprint
		}
	}
	return found
}
