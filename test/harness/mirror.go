package harness

import (
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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/client/simplestreams/tree"
)

// authority signs the certificates of image servers in tests. The programs of a test trust it, by SSL_CERT_FILE.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// theAuthority is made once in a process: what a process trusts is read once too.
var theAuthority = sync.OnceValues(func() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of tests"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
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

// leaf is the certificate of a server on the loopback address.
func (a *authority) leaf() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "image server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// Serve offers the files in dir over https on the loopback address, in the network namespace of that name ("" is the test's own). A HEAD
// that asks for an image to be imported is answered by its address and hash. stop ends it.
func Serve(netns, dir string) (address string, stop func(), err error) {
	a, err := theAuthority()
	if err != nil {
		return "", nil, err
	}
	cert, err := a.leaf()
	if err != nil {
		return "", nil, err
	}
	var l net.Listener
	err = within(netns, func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return "", nil, err
	}
	files := http.FileServer(http.Dir(dir))
	srv := &http.Server{ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && r.Header.Get("LXD-Server-Version") != "" {
				b, err := os.ReadFile(filepath.Join(dir, filepath.Clean("/"+r.URL.Path)))
				if err == nil {
					sum := sha256.Sum256(b)
					w.Header().Set("LXD-Image-Hash", hex.EncodeToString(sum[:]))
					w.Header().Set("LXD-Image-URL", r.URL.Path)
				}
			}
			files.ServeHTTP(w, r)
		})}
	go func() { _ = srv.ServeTLS(l, "", "") }() // it ends with Close
	return "https://" + l.Addr().String(), func() { _ = srv.Close() }, nil
}

// mirror starts an image server for a script.
func mirror(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mirror VARIABLE DIR")
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o755))
	address, stop, err := Serve(ts.Getenv("NETNS"), ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], address)
}

// streamsTree writes the files of an image server.
func streamsTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tree DIR NAME=VALUE … META [ROOT] [-- …]")
	}
	words := args[1:]
	for i, w := range words {
		if !strings.Contains(w, "=") && w != "--" {
			words[i] = ts.MkAbs(w)
		}
	}
	images, err := tree.Parse(words)
	ts.Check(err)
	ts.Check(tree.Write(ts.MkAbs(args[0]), images))
}
