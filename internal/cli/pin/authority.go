package pin

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Authority is the certificate authority that all servers of a client have their certificates from.
type Authority struct {
	file    string
	roots   *x509.CertPool
	revoked map[string]bool
}

// LoadAuthority reads the certificate of an authority and its list of revoked certificates. Without the first file there is no
// authority, which is nil; the second may be missing.
func LoadAuthority(caFile, crlFile string) (*Authority, error) {
	ca, err := Load(caFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // most clients have none
	}
	if err != nil {
		return nil, err
	}
	a := &Authority{file: caFile, roots: x509.NewCertPool(), revoked: map[string]bool{}}
	a.roots.AddCert(ca)
	b, err := os.ReadFile(crlFile)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: there is no list of revoked certificates in it", crlFile)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err == nil {
		err = list.CheckSignatureFrom(ca)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", crlFile, err)
	}
	for _, r := range list.RevokedCertificateEntries {
		a.revoked[r.SerialNumber.String()] = true
	}
	return a, nil
}

// vouches fails unless the authority has signed the first certificate of the chain, for a server of that name, and not taken it back.
func (a *Authority) vouches(chain []*x509.Certificate, host string) error {
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: a.roots, Intermediates: others}); err != nil {
		return fmt.Errorf("the server's certificate is not one of the authority %s: %w", a.file, err)
	}
	return a.stands(chain[0])
}

// stands fails when the authority has revoked a certificate.
func (a *Authority) stands(c *x509.Certificate) error {
	if a.revoked[c.SerialNumber.String()] {
		return fmt.Errorf("the authority %s has revoked the server's certificate", a.file)
	}
	return nil
}
