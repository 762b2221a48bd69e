package trust

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Showed is the certificate of a client that wants to be trusted: what its request says, or else its connection.
type Showed struct {
	// Text is PEM or base64 of the DER form.
	Text string
	// Certificate is that of the connection; nil is none.
	Certificate *x509.Certificate
}

// PeerOf is the certificate that the caller's connection showed, nil if it showed none.
func PeerOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// Identify tells who sent the request: a local user, or the owner of a trusted certificate. It asks the store each time, so
// that a certificate that was removed is worth nothing from the next request on.
func (s *Service) Identify(r *http.Request) (auth.Identity, error) {
	id, err := auth.Identify(r)
	peer := PeerOf(r)
	if err != nil || id.Trusted() || !s.Admits(peer) {
		return id, err
	}
	err = s.d.Store.View(r.Context(), func(tx store.Tx) error {
		rec, err := Collection.Get(tx, Fingerprint(peer))
		switch {
		case errs.Is(err, errs.NotFound):
			return nil
		case err != nil:
			return err
		case rec.Type == Metrics:
			id.Meter = &auth.Meter{Restricted: rec.Restricted, Projects: rec.Projects}
			return nil // it stays a stranger to everything else
		case rec.Type != Client:
			return nil
		}
		id.Kind, id.Name, id.Admin = auth.TLS, rec.Fingerprint, !rec.Restricted
		id.ID, id.Type, id.Expires = rec.Fingerprint, rec.IdentityType(), peer.NotAfter
		if rec.Restricted {
			id.Rights, err = rightsIn(tx, rec.Projects)
		}
		return err
	})
	return id, err
}

// Admits tells whether a certificate may prove anything now: its time has come and is not over, and the authority, if there is one, vouches for it.
func (s *Service) Admits(peer *x509.Certificate) bool {
	return peer != nil && current(peer, time.Now()) == nil && (s.d.Authority == nil || s.d.Authority.vouches(peer))
}

// Vouched tells who sent the request if the authority vouches for it and that is enough. It is for callers whose certificate the server
// does not know in any way: one that it knows has the rights that were given to it, and no others.
func (s *Service) Vouched(r *http.Request) (id auth.Identity, handled bool, err error) {
	peer := PeerOf(r)
	if s.d.Authority == nil || !s.Admits(peer) {
		return id, false, nil
	}
	trusted, err := s.d.TrustAuthority(r.Context())
	if err != nil || !trusted {
		return id, false, err
	}
	known := false
	err = s.d.Store.View(r.Context(), func(tx store.Tx) error {
		known = Collection.Has(tx, Fingerprint(peer))
		return nil
	})
	if err != nil || known {
		return id, false, err
	}
	id.Kind, id.Name, id.Address, id.Admin, id.Expires = auth.PKI, Fingerprint(peer), r.RemoteAddr, true, peer.NotAfter
	return id, true, nil
}

// rights are what a restricted certificate may do: everything with what its projects own, viewing what they see of the default
// project, and nothing else.
type rights struct {
	// owns tells of each project which features it has of its own.
	owns map[string]map[project.Feature]bool
}

func rightsIn(tx store.Tx, names []string) (auth.Rights, error) {
	r := rights{owns: map[string]map[project.Feature]bool{}}
	for _, name := range names {
		p, err := project.Collection.Get(tx, name)
		if errs.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		own := map[project.Feature]bool{}
		for _, f := range project.Features {
			own[f] = name == project.Default || project.Keys.Bool(p.Config, string(f))
		}
		r.owns[name] = own
	}
	return r, nil
}

// Allows tells whether the entitlement on the object is given.
func (r rights) Allows(o auth.Object, entitlement string) bool {
	switch {
	case o.Entity == "project":
		name, err := url.PathUnescape(strings.TrimPrefix(o.URL, "/1.0/projects/"))
		return err == nil && r.inProject(name, entitlement)
	case !auth.InProject(o.Entity):
		return false
	}
	return r.may(o.Project, o.Entity, entitlement)
}

// inProject tells what may be done with a project. It may not be changed itself: that would lift the restriction.
func (r rights) inProject(name, entitlement string) bool {
	if slices.Contains([]string{"can_edit", "can_delete"}, entitlement) {
		return false
	}
	return r.may(name, entitlement, entitlement)
}

// may tells whether something may be done with objects of that kind as the project sees them.
func (r rights) may(name, kind, entitlement string) bool {
	own, ok := r.owns[name]
	if !ok {
		return false
	}
	f, decides := project.FeatureOf(kind)
	if !decides || own[f] || strings.HasPrefix(entitlement, "can_view") {
		return true
	}
	_, ok = r.owns[project.Default]
	return ok
}
