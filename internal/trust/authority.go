package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"

	"lxd/internal/errs"
)

// Authority is the certificate authority whose certificates all clients must have (PKI mode). It is not changed while the daemon runs.
type Authority struct {
	roots   *x509.CertPool
	revoked map[string]bool
}

// LoadAuthority reads the certificate of an authority, and which of its certificates are worth nothing any more. Without the first file
// there is no authority, which is nil; the second may be missing.
func LoadAuthority(caFile, crlFile string) (*Authority, error) {
	ca, err := readPEM(caFile, "CERTIFICATE")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // most servers have none
	}
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "%s: %w: put the certificate of the authority there, or remove the file", caFile, err)
	}
	a := &Authority{roots: x509.NewCertPool(), revoked: map[string]bool{}}
	a.roots.AddCert(cert)
	return a, a.loadRevoked(crlFile, cert)
}

func (a *Authority) loadRevoked(file string, ca *x509.Certificate) error {
	b, err := readPEM(file, "X509 CRL")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(b)
	if err == nil {
		err = list.CheckSignatureFrom(ca)
	}
	if err != nil {
		return errs.Newf(errs.Invalid, "%s: %w: put a list there that the authority has signed, or remove the file", file, err)
	}
	for _, r := range list.RevokedCertificateEntries {
		a.revoked[serial(r.SerialNumber)] = true
	}
	return nil
}

func serial(n *big.Int) string { return n.Text(16) }

func readPEM(file, kind string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, errs.Newf(errs.Invalid, "%s: %w: put one there, or remove the file", file, fmt.Errorf("there is no PEM block of type %q in it", kind))
	}
	return block.Bytes, nil
}

// vouches tells whether the authority has signed a certificate and not taken that back.
func (a *Authority) vouches(c *x509.Certificate) bool {
	if a.revoked[serial(c.SerialNumber)] {
		return false
	}
	_, err := c.Verify(x509.VerifyOptions{Roots: a.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}
