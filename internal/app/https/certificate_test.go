package https_test

import (
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

	"lxd/internal/app/https"
)

// place puts a certificate and its key in dir that end in a while, signed by itself or by somebody else.
func place(t *testing.T, dir string, left time.Duration, foreign bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "root@box"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left)}
	parent := *c
	if foreign {
		parent.Subject.CommonName = "an authority"
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &parent, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenewal(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		left    time.Duration
		foreign bool
		renewed bool
	}{
		"good for long": {31 * day, false, false}, "about to end": {29 * day, false, true}, "ended": {-time.Minute, false, true},
		"of an authority": {29 * day, true, false},
	} {
		dir := t.TempDir()
		place(t, dir, c.left, c.foreign)
		key, err := os.ReadFile(filepath.Join(dir, "server.key"))
		if err != nil {
			t.Fatal(err)
		}
		first, err := https.Identity(dir, "box")
		if err != nil {
			t.Fatal(name, err)
		}
		if renewed := time.Until(first.Leaf.NotAfter) > 9*365*day; renewed != c.renewed {
			t.Errorf("%s: it ends %s", name, first.Leaf.NotAfter)
		}
		again, err := https.Identity(dir, "box")
		if err != nil || again.Fingerprint != first.Fingerprint || again.PEM != first.PEM {
			t.Error(name, "it is not kept", err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, "server.key")); err != nil || string(now) != string(key) {
			t.Error(name, "the key is another", err)
		}
	}
}
