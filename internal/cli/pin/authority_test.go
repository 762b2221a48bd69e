package pin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/cli/pin"
)

// signer is an authority that signs certificates of servers.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newSigner(t *testing.T) signer {
	t.Helper()
	c, key := make509(t, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, signer{})
	return signer{c, key}
}

// make509 signs a certificate, by itself if by is empty.
func make509(t *testing.T, template *x509.Certificate, by signer) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.Subject, template.NotBefore, template.NotAfter = pkix.Name{CommonName: "x"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if by.cert == nil {
		by = signer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func (s signer) crl(t *testing.T, serial int64) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()}}}, s.cert, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func (s signer) serve(t *testing.T, serial int64, ip string) *httptest.Server {
	t.Helper()
	c, key := make509(t, &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.ParseIP(ip)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, s)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestAuthorityVouchesForServers(t *testing.T) {
	dir := t.TempDir()
	ca, crl := filepath.Join(dir, "client.ca"), filepath.Join(dir, "client.crl")
	if a, err := pin.LoadAuthority(ca, crl); a != nil || err != nil {
		t.Fatal(a, err)
	}
	mine, other := newSigner(t), newSigner(t)
	if err := pin.Save(ca, mine.cert); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(crl, other.crl(t, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pin.LoadAuthority(ca, crl); err == nil {
		t.Error("the list of another authority was taken")
	}
	if err := os.WriteFile(crl, mine.crl(t, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := pin.LoadAuthority(ca, crl)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		srv  *httptest.Server
		want string
	}{
		"good": {mine.serve(t, 2, "127.0.0.1"), ""}, "revoked": {mine.serve(t, 3, "127.0.0.1"), "revoked"},
		"of another": {other.serve(t, 2, "127.0.0.1"), "authority"}, "for another": {mine.serve(t, 4, "192.0.2.1"), "192.0.2.1"},
	} {
		_, _, met := pin.ServerCertificate(t.Context(), c.srv.URL, a)
		config, err := pin.TLS(pin.Keys{Authority: a})
		if err != nil {
			t.Fatal(err)
		}
		resp, called := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get(c.srv.URL)
		if called == nil {
			_ = resp.Body.Close()
		}
		for what, err := range map[string]error{"met": met, "called": called} {
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}
