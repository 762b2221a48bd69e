package pin_test

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/cli/pin"
)

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "https://10.0.0.1:8443", "10.0.0.1:9000": "https://10.0.0.1:9000", "box": "https://box:8443", "fd42::1": "https://[fd42::1]:8443",
		"[fd42::1]:9000": "https://[fd42::1]:9000", "https://box": "https://box:8443", "https://box:443/": "https://box:443",
	} {
		if got, err := pin.URL(in); err != nil || got != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "http://box", "https://box/x", "ftp://a", "https://", "a b"} {
		if got, err := pin.URL(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, got)
		}
	}
}

func TestTokens(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := api.Operation{Class: "token", Metadata: map[string]any{"secret": "s", "fingerprint": "f", "addresses": []string{"a:1"}, "expiresAt": at,
		"request": api.CertificatesPost{Name: "n"}}}
	token, ok := pin.TokenOf(o)
	if !ok || token.ClientName != "n" || token.Secret != "s" || !token.ExpiresAt.Equal(at) {
		t.Fatal(token, ok)
	}
	text, err := pin.FormatToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := pin.ParseToken(text); !ok || got.Fingerprint != "f" || got.Addresses[0] != "a:1" {
		t.Error(got, ok)
	}
	o.Class = "task"
	if _, ok := pin.TokenOf(o); ok {
		t.Error("a task is no token")
	}
	for _, bad := range []string{"", "box", "10.0.0.1", base64.StdEncoding.EncodeToString([]byte(`{"secret":"s"}`)), text[:len(text)-8]} {
		if _, ok := pin.ParseToken(bad); ok {
			t.Errorf("%q is taken for a token", bad)
		}
	}
}

func TestPinnedServer(t *testing.T) {
	var shown int
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown = len(r.TLS.PeerCertificates) }))
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	defer srv.Close()
	c, vouched, err := pin.ServerCertificate(t.Context(), srv.URL, nil)
	if err != nil || vouched || !c.Equal(srv.Certificate()) {
		t.Fatal(vouched, err)
	}
	dir := t.TempDir()
	pinned, cert, key := filepath.Join(dir, "servercerts", "box.crt"), filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	if err := pin.Save(pinned, c); err != nil {
		t.Fatal(err)
	}
	if made, err := pin.Generate(cert, key); err != nil || !made {
		t.Fatal(made, err)
	}
	if made, err := pin.Generate(cert, key); err != nil || made {
		t.Error("made again", err)
	}
	if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
	call := func() error {
		config, err := pin.TLS(pin.Keys{Cert: cert, Key: key, Pinned: pinned})
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get(srv.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := call(); err != nil || shown != 1 {
		t.Error("pinned", err, shown)
	}
	own, err := pin.Load(cert)
	if err != nil || len(pin.Fingerprint(own)) != 64 {
		t.Fatal(err)
	}
	if err := pin.Save(pinned, own); err != nil {
		t.Fatal(err)
	}
	if err := call(); err == nil || !strings.Contains(err.Error(), "not the one that was trusted before") {
		t.Error("another server", err)
	}
	_ = os.Remove(pinned)
	if err := call(); err == nil {
		t.Error("nobody vouches for it, and it is trusted")
	}
	_ = os.Remove(key)
	if _, err := pin.Generate(cert, key); err == nil || !strings.Contains(err.Error(), "put the other back") {
		t.Error("a certificate without its key is replaced in silence", err)
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pin.Load(junk); err == nil || !strings.Contains(err.Error(), junk) {
		t.Error(err)
	}
	if _, err := pin.TLS(pin.Keys{Cert: junk, Key: junk, Pinned: filepath.Join(dir, "none")}); err == nil {
		t.Error("a broken client certificate is passed over in silence")
	}
	if _, err := pin.TLS(pin.Keys{Cert: filepath.Join(dir, "none"), Key: junk, Pinned: junk}); err == nil {
		t.Error("a broken pinned certificate is passed over in silence")
	}
	if _, _, err := pin.ServerCertificate(t.Context(), "https://127.0.0.1:1", nil); err == nil {
		t.Error("nobody is there")
	}
}
