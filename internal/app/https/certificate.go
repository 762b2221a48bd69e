package https

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"lxd/internal/errs"
)

// validity is how long a certificate that the server made is good for. It is known by its fingerprint, so that nothing is gained by a
// short one, and every client has to trust a new one again.
const validity = 10 * 365 * 24 * time.Hour

// renewal is how long before its end a certificate that the server made is replaced.
const renewal = 30 * 24 * time.Hour

// Certificate is what the server proves its identity with.
type Certificate struct {
	tls.Certificate
	// PEM is the certificate in text form.
	PEM string
	// Fingerprint is its SHA-256 in hexadecimal.
	Fingerprint string
}

// Identity reads server.crt and server.key in dir, and makes them when neither is there. host is the name of the server.
func Identity(dir, host string) (Certificate, error) {
	cert, key := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	_, noCert := os.Stat(cert)
	_, noKey := os.Stat(key)
	if errors.Is(noKey, os.ErrNotExist) && errors.Is(noCert, os.ErrNotExist) {
		if err := generate(cert, key, host); err != nil {
			return Certificate{}, fmt.Errorf("make the server's certificate: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return Certificate{}, errs.Newf(errs.Invalid, "the server's certificate %s and key %s cannot be used: put both back, or remove both to have new ones made: %w", cert, key, err)
	}
	if pair, err = renew(pair, cert, host); err != nil {
		return Certificate{}, fmt.Errorf("renew the server's certificate: %w", err)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	return Certificate{pair, string(text), hex.EncodeToString(sum[:])}, nil
}

// renew makes a new certificate for the same key when the server's own is about to end: nobody would talk to it then. One that somebody
// else has signed is theirs to replace.
func renew(pair tls.Certificate, cert, host string) (tls.Certificate, error) {
	if time.Until(pair.Leaf.NotAfter) > renewal {
		return pair, nil
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !bytes.Equal(pair.Leaf.RawIssuer, pair.Leaf.RawSubject) {
		slog.Warn("The server's certificate is about to end: have its authority sign a new one", "file", cert, "end", pair.Leaf.NotAfter)
		return pair, nil
	}
	der, err := sign(private, host)
	if err != nil {
		return pair, err
	}
	if pair.Leaf, err = x509.ParseCertificate(der); err != nil {
		return pair, err
	}
	pair.Certificate = [][]byte{der}
	slog.Warn("The server's certificate was about to end and is a new one now: clients have to trust it anew", "file", cert, "end", pair.Leaf.NotAfter)
	return pair, write(cert, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// generate writes a new key and a certificate for it. The certificate comes last: where there is one, there is a key.
func generate(cert, key, host string) error {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := sign(private, host)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	if err := write(key, 0o600, &pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}); err != nil {
		return err
	}
	return write(cert, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sign makes a certificate that the key signs itself.
func sign(private *ecdsa.PrivateKey, host string) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"LXD"}, CommonName: "root@" + host},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(validity), DNSNames: []string{host},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
}

// write makes the file as a whole or not at all.
func write(path string, mode os.FileMode, block *pem.Block) error {
	var b bytes.Buffer
	if err := pem.Encode(&b, block); err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, b.Bytes(), mode); err != nil {
		return err
	}
	return os.Rename(next, path)
}
