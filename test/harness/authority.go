package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// authority signs certificates in tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	// signed is the serial number of the last certificate, revoked what is worth nothing any more.
	signed  int64
	revoked []x509.RevocationListEntry
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), signed: 1}
	a.cert, err = x509.ParseCertificate(der)
	return a, err
}

// theAuthority signs the certificates of image servers, and the programs of a test trust it, by SSL_CERT_FILE. It is made once in a
// process: what a process trusts is read once too.
var theAuthority = sync.OnceValues(func() (*authority, error) {
	a, err := newAuthority("authority of tests")
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "authority-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(a.pem); err != nil {
		return nil, err
	}
	err = errors.Join(f.Close(), os.Setenv("SSL_CERT_FILE", f.Name()))
	if err == nil {
		_, err = x509.SystemCertPool() // a daemon in this process trusts it from now on
	}
	return a, err
})

// Trust writes the authority's certificate to a file, for the environment of programs: SSL_CERT_FILE.
func Trust(dir string) (path string, err error) {
	a, err := theAuthority()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "authority.crt")
	return path, os.WriteFile(path, a.pem, 0o644)
}

// leaf is a certificate that is good for clients and for servers on the loopback address.
func (a *authority) leaf(name string, valid time.Duration) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	a.signed++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.signed), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// revocations is the signed list of what is worth nothing any more.
func (a *authority) revocations() ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(int64(len(a.revoked))), ThisUpdate: time.Now(),
		NextUpdate: time.Now().Add(time.Hour), RevokedCertificateEntries: a.revoked}, a.cert, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), err
}

// revoke takes back what was signed.
func (a *authority) revoke(c *x509.Certificate) {
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
}

// authorities are those of one script, by name; kept in its values.
type authorities map[string]*authority

type authoritiesKey struct{}

// signing is the command authority.
func signing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: authority NAME ca FILE | revoked FILE | sign CERTIFICATE KEY [LIFE] | revoke CERTIFICATE")
	}
	all := ts.Value(authoritiesKey{}).(authorities)
	a := all[args[0]]
	if a == nil {
		made, err := newAuthority(args[0])
		ts.Check(err)
		a, all[args[0]] = made, made
	}
	file := ts.MkAbs(args[2])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	switch args[1] {
	case "ca":
		ts.Check(os.WriteFile(file, a.pem, 0o644))
	case "revoked":
		list, err := a.revocations()
		ts.Check(err)
		ts.Check(os.WriteFile(file, list, 0o644))
	case "revoke":
		block, _ := pem.Decode([]byte(ts.ReadFile(args[2])))
		if block == nil {
			ts.Fatalf("%s is no certificate", args[2])
		}
		c, err := x509.ParseCertificate(block.Bytes)
		ts.Check(err)
		a.revoke(c)
	case "sign":
		life := 24 * time.Hour
		if len(args) > 4 {
			d, err := time.ParseDuration(args[4])
			ts.Check(err)
			life = d
		}
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		ts.Check(a.writeLeaf(name, file, ts.MkAbs(args[3]), life))
	default:
		ts.Fatalf("an authority cannot %s", args[1])
	}
}

// writeLeaf signs a certificate and keeps it and its key in files.
func (a *authority) writeLeaf(name, certFile, keyFile string, valid time.Duration) error {
	pair, err := a.leaf(name, valid)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o644)
}

// WriteLeaf keeps the certificate and key of a server on the loopback address that the programs of a test trust.
func WriteLeaf(certFile, keyFile string) error {
	a, err := theAuthority()
	if err != nil {
		return err
	}
	return a.writeLeaf("server of tests", certFile, keyFile, 24*time.Hour)
}
