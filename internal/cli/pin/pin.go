// Package pin is how lxc and a server get to know each other: the client's own certificate, the server's, and tokens.
package pin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"lxd/api"
)

// defaultPort is where servers serve the network unless they are told otherwise.
const defaultPort = "8443"

// reachTime is how long a server may take to show its certificate.
const reachTime = 10 * time.Second

// URL makes the address of a server out of what a user types: a host, host:port or URL.
func URL(typed string) (string, error) {
	if !strings.Contains(typed, "://") {
		if strings.Count(typed, ":") > 1 && !strings.HasPrefix(typed, "[") {
			typed = "[" + typed + "]"
		}
		typed = "https://" + typed
	}
	u, err := url.Parse(typed)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("%q is no address of a server: give a host, host:port or https://host:port", typed)
	}
	return "https://" + net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort)), nil
}

// Fingerprint is what a certificate is known by.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// ServerCertificate is the certificate that the server at base shows, and whether the authorities of this system vouch for it; with an
// authority of the client's own, nil is none, that one has to.
func ServerCertificate(ctx context.Context, base string, own *Authority) (c *x509.Certificate, vouched bool, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	// What is asked for here is the certificate; nothing is sent to the server before it is trusted.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, false, errors.New("the server shows no certificate")
	}
	if own != nil {
		return chain[0], true, own.vouches(chain, u.Hostname())
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	_, doubt := chain[0].Verify(x509.VerifyOptions{DNSName: u.Hostname(), Intermediates: others})
	return chain[0], doubt == nil, nil
}

// Save keeps a certificate in a file, for all to read.
func Save(path string, c *x509.Certificate) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("keeping the server's certificate: %w", err)
	}
	return os.WriteFile(path, encode("CERTIFICATE", c.Raw), 0o644)
}

// Load reads a certificate from a file.
func Load(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads a certificate in PEM.
func Parse(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("there is no certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Keys is where a client keeps what it proves itself with, and what it knows servers by.
type Keys struct {
	// Cert and Key are the client's own certificate and its key, Pinned the certificate of the server; each may be missing.
	Cert, Key, Pinned string
	// Authority has to vouch for the server; nil is none.
	Authority *Authority
}

// TLS trusts what the client's own authority vouches for. Without one that is exactly the pinned certificate if there is one, else what
// the system's authorities vouch for. The client shows its own certificate if it has one.
func TLS(k Keys) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS13}
	own, err := tls.LoadX509KeyPair(k.Cert, k.Key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the client's certificate %s cannot be used: %w", k.Cert, err)
	}
	if err == nil {
		out.Certificates = []tls.Certificate{own}
	}
	if k.Authority != nil {
		out.RootCAs = k.Authority.roots
		out.VerifyConnection = func(state tls.ConnectionState) error { return k.Authority.stands(state.PeerCertificates[0]) }
		return out, nil
	}
	want, err := Load(k.Pinned)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	// The names in a server's own certificate say nothing: it is known by being the very certificate that was pinned.
	out.InsecureSkipVerify = true
	out.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
			return fmt.Errorf("the server's certificate is not the one that was trusted before (%s): if the server was set up anew, remove the remote and add it again", k.Pinned)
		}
		return nil
	}
	return out, nil
}

// Generate makes the client's own certificate and key, unless they are there. made tells that it did.
func Generate(cert, key string) (made bool, err error) {
	_, noCert := os.Stat(cert)
	_, noKey := os.Stat(key)
	if noCert == nil && noKey == nil {
		return false, nil
	}
	if noCert == nil || noKey == nil {
		return false, fmt.Errorf("only one of %s and %s is there: put the other back, or remove both to have new ones made", cert, key)
	}
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return false, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return false, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"LXD"}, CommonName: whoAmI()},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(10, 0, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return false, err
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(cert), 0o750); err != nil {
		return false, err
	}
	if err := os.WriteFile(key, encode("EC PRIVATE KEY", secret), 0o600); err != nil {
		return false, err
	}
	return true, os.WriteFile(cert, encode("CERTIFICATE", der), 0o644)
}

// whoAmI is user@host, which tells certificates apart in a list.
func whoAmI() string {
	name, host := "user", "localhost"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

func encode(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
	return b.Bytes()
}

// ParseToken reads a token for adding a client; ok tells whether text is one.
func ParseToken(text string) (t api.CertificateAddToken, ok bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &t) != nil {
		return t, false
	}
	return t, t.ClientName != "" && t.Secret != "" && t.Fingerprint != "" && len(t.Addresses) > 0
}

// FormatToken writes a token as text.
func FormatToken(t api.CertificateAddToken) (string, error) {
	b, err := json.Marshal(t)
	return base64.StdEncoding.EncodeToString(b), err
}

// TokenOf reads the token that an operation stands for.
func TokenOf(o api.Operation) (t api.CertificateAddToken, ok bool) {
	var m struct {
		Secret, Fingerprint string
		Addresses           []string
		ExpiresAt           time.Time
		Request             api.CertificatesPost
	}
	b, err := json.Marshal(o.Metadata)
	if o.Class != "token" || err != nil || json.Unmarshal(b, &m) != nil || m.Request.Name == "" {
		return t, false
	}
	return api.CertificateAddToken{ClientName: m.Request.Name, Fingerprint: m.Fingerprint, Addresses: m.Addresses, Secret: m.Secret, ExpiresAt: m.ExpiresAt}, true
}
