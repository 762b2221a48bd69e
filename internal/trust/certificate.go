// Package trust keeps the client certificates that the server knows, the tokens by which new ones get in, and what each may do.
package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/store"
)

// Types of certificates (wire names). Those of metrics give access to the metrics and nothing else.
const (
	Client  = "client"
	Metrics = "metrics"
)

// Record is a trusted certificate as stored.
type Record struct {
	Fingerprint string `json:"fingerprint"`
	Name        string `json:"name"`
	Type        string `json:"type"`
	// Restricted certificates may do something in Projects only.
	Restricted bool     `json:"restricted,omitempty"`
	Projects   []string `json:"projects,omitempty"`
	// PEM is the certificate itself.
	PEM string `json:"pem"`
}

// Collection is where the records live.
var Collection = store.Collection[Record]{Name: "certificate", Key: func(r Record) string { return r.Fingerprint }}

// API is the record as clients see it.
func (r Record) API() api.Certificate {
	return api.Certificate{Name: r.Name, Type: r.Type, Restricted: r.Restricted, Projects: append([]string{}, r.Projects...), Certificate: r.PEM, Fingerprint: r.Fingerprint}
}

// IdentityType is the type that its owner has as an identity.
func (r Record) IdentityType() string {
	switch {
	case r.Type == Metrics && r.Restricted:
		return api.IdentityTypeMetricsCertificateRestricted
	case r.Type == Metrics:
		return api.IdentityTypeMetricsCertificateUnrestricted
	case r.Restricted:
		return api.IdentityTypeClientCertificateRestricted
	}
	return api.IdentityTypeClientCertificateUnrestricted
}

// URL is the certificate's address.
func URL(fingerprint string) string { return "/1.0/certificates/" + fingerprint }

// Fingerprint is what a certificate is known by.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Parse reads a certificate: PEM, or base64 of the DER form.
func Parse(text string) (*x509.Certificate, error) {
	der, bad := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der, bad = block.Bytes, nil
	}
	if bad != nil {
		return nil, errs.Newf(errs.Invalid, "the certificate is neither PEM nor base64: %w", bad)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "the certificate cannot be read: %w", err)
	}
	return c, nil
}

// newRecord makes the record of a certificate with what the client says about it.
func newRecord(c *x509.Certificate, put api.CertificatePut) (Record, error) {
	r := Record{
		Fingerprint: Fingerprint(c), Name: put.Name, Type: put.Type, Restricted: put.Restricted, Projects: put.Projects,
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
	}
	if r.Name == "" {
		r.Name = c.Subject.CommonName
	}
	if r.Name == "" {
		r.Name = r.Fingerprint[:12]
	}
	return r, r.check()
}

func (r Record) check() error {
	if r.Type != Client && r.Type != Metrics {
		return errs.Newf(errs.Invalid, "certificate type %q is not known: use %q or %q", r.Type, Client, Metrics)
	}
	if len(r.Name) > 255 || strings.ContainsFunc(r.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return errs.Newf(errs.Invalid, "a certificate's name has at most 255 characters, and no control characters")
	}
	if len(r.Projects) > 0 && !r.Restricted {
		return errs.Newf(errs.Invalid, "a certificate that is not restricted has no projects: set restricted, or leave the projects out")
	}
	sorted := slices.Sorted(slices.Values(r.Projects))
	if len(slices.Compact(sorted)) != len(r.Projects) {
		return errs.Newf(errs.Invalid, "a project is listed twice")
	}
	return nil
}

func change(action string, r Record) event.Change {
	return event.Change{Action: action, Source: URL(r.Fingerprint), Name: r.Name}
}
