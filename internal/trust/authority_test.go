package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// authority signs certificates of clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, dir: t.TempDir()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(t, "server.ca", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) sign(t *testing.T, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (a *authority) revoke(t *testing.T, serial int64) {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()}}}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "ca.crl", "X509 CRL", der)
}

func (a *authority) load() (*trust.Authority, error) {
	return trust.LoadAuthority(filepath.Join(a.dir, "server.ca"), filepath.Join(a.dir, "ca.crl"))
}

func TestAuthority(t *testing.T) {
	a := newAuthority(t)
	a.revoke(t, 13)
	loaded, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	enough := false
	known, clerk, signed, revoked, unsigned := a.sign(t, 10), a.sign(t, 11), a.sign(t, 12), a.sign(t, 13), trusttest.Certificate(t, time.Hour)
	w.add(t, known, false)
	w.add(t, clerk, true, "own")
	w.add(t, revoked, false)
	w.add(t, unsigned, false) // these two were trusted before there was an authority
	w.Service = trust.New(trust.Deps{Store: w.store, Authority: loaded, TrustAuthority: func(context.Context) (bool, error) { return enough, nil }})
	for name, c := range map[string]*x509.Certificate{"revoked": revoked, "not signed": trusttest.Certificate(t, time.Hour)} {
		if _, err := w.Add(t.Context(), api.CertificatesPost{Type: "client", Certificate: text(c)}, nil); !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: it was added: %v", name, err)
		}
	}
	other := newAuthority(t).sign(t, 10)
	if id := w.who(t, known); id.Kind != auth.TLS || !id.Admin {
		t.Errorf("known: %+v", id)
	}
	for name, c := range map[string]*x509.Certificate{"signed but unknown": signed, "revoked": revoked, "known but not signed": unsigned, "of another authority": other} {
		if id := w.who(t, c); id.Trusted() {
			t.Errorf("%s: %+v", name, id)
		}
	}
	enough = true
	if id := w.vouched(t, signed); id.Kind != auth.PKI || !id.Admin || id.Name != trust.Fingerprint(signed) {
		t.Errorf("signed: %+v", id)
	}
	if id := w.who(t, clerk); id.Kind != auth.TLS || id.Admin {
		t.Errorf("the authority's word lifts a restriction: %+v", id)
	}
	if id := w.vouched(t, clerk); id.Trusted() {
		t.Errorf("the authority's word counts for a certificate that is known: %+v", id)
	}
	for name, c := range map[string]*x509.Certificate{"revoked": revoked, "known but not signed": unsigned, "of another authority": other} {
		if id := w.who(t, c); id.Trusted() || w.vouched(t, c).Trusted() {
			t.Errorf("%s: %+v", name, id)
		}
	}
}

func TestAuthorityFiles(t *testing.T) {
	if a, err := trust.LoadAuthority(filepath.Join(t.TempDir(), "none"), "none"); a != nil || err != nil {
		t.Error(a, err)
	}
	a := newAuthority(t)
	b := newAuthority(t)
	b.revoke(t, 1)
	crl, err := os.ReadFile(filepath.Join(b.dir, "ca.crl"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"of another authority": string(crl), "nonsense": "x", "empty": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, "ca.crl"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.load(); err == nil {
			t.Errorf("a list that is %s was taken", name)
		}
	}
}
