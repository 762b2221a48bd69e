package acme

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lxd/internal/errs"
)

// certificate is one that was got, with its key.
type certificate struct {
	tls.Certificate
	// directory is the authority that it is of.
	directory string
}

// origin begins the line of the file that names the authority; readers of PEM pass over it.
const origin = "Directory: "

// fits tells whether it is what the settings want.
func (c *certificate) fits(set Settings) bool {
	return c.directory == set.Directory && c.Leaf.VerifyHostname(set.Domain) == nil
}

// due is when a new one should be asked for: in the last third of its time, so that a month is left of three.
func (c *certificate) due() time.Time {
	return c.Leaf.NotAfter.Add(-c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 3)
}

// load reads one; without a file there is none, which is nil.
func load(file string) (*certificate, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // before the first
	}
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := &certificate{Certificate: pair}
	line, err := bufio.NewReader(bytes.NewReader(b)).ReadString('\n')
	c.directory = strings.TrimSpace(strings.TrimPrefix(line, origin))
	return c, err
}

func (c *certificate) save(file string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\n", origin, c.directory)
	for _, der := range c.Certificate.Certificate {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return write(file, b.Bytes())
}

// account reads the key that the authority knows the server by, and makes it the first time.
func (s *Service) account() (*ecdsa.PrivateKey, error) {
	file := filepath.Join(s.d.Dir, "account.key")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newAccount(file)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errs.Newf(errs.Invalid, "%s holds no key: put it back, or remove it to have the authority know the server anew", file)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func newAccount(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, write(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))
}

// write makes the file, for root alone, as a whole or not at all.
func write(file string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil { // without Sync a host that loses power may keep the name of an empty file
		return err
	}
	return os.Rename(next, file)
}
