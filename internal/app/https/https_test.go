package https_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/app/https"
	"lxd/internal/errs"
)

func identity(t *testing.T) https.Certificate {
	t.Helper()
	c, err := https.Identity(t.TempDir(), "box")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freePort is a port of the loopback address that nobody uses just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newServer(t *testing.T, h http.HandlerFunc) *https.Server {
	t.Helper()
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, len(r.TLS.PeerCertificates)) }
	}
	s := https.New(h, identity(t), 8443)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client trusts everyone, and keeps no connection.
func client(two bool) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: two, DisableKeepAlives: true}}
}

func get(t *testing.T, c *http.Client, address string) (string, error) {
	t.Helper()
	resp, err := c.Get("https://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestIdentityIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := https.Identity(dir, "box")
	if err != nil {
		t.Fatal(err)
	}
	again, err := https.Identity(dir, "other")
	if err != nil || again.Fingerprint != first.Fingerprint || again.PEM != first.PEM || len(first.Fingerprint) != 64 {
		t.Fatal(again.Fingerprint, err)
	}
	c, err := x509.ParseCertificate(first.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"box", "127.0.0.1", "::1"} {
		if err := c.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if c.NotAfter.Before(time.Now().AddDate(9, 0, 0)) || c.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		t.Error(c.NotAfter, c.SignatureAlgorithm)
	}
	if fi, err := os.Stat(filepath.Join(dir, "server.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "server.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := https.Identity(dir, "box"); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "put both back") {
		t.Error("a lost key is replaced in silence", err)
	}
}

func TestMove(t *testing.T) {
	s := newServer(t, nil)
	if s.Addresses() != nil || s.Address() != "" {
		t.Error("it listens before it was told to")
	}
	one, two := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(one); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, client(false), one); err != nil || got != "HTTP/1.10" {
		t.Error(got, err)
	}
	if got, err := get(t, client(true), one); err != nil || got != "HTTP/2.00" {
		t.Error(got, err)
	}
	if err := s.Move(two); err != nil || s.Address() != two || s.Addresses()[0] != two {
		t.Fatal(err, s.Addresses())
	}
	if _, err := get(t, client(false), one); err == nil {
		t.Error("the old address is still served")
	}
	// the same port on all addresses is in the way of itself
	wide := two[strings.LastIndexByte(two, ':'):]
	if err := s.Move(wide); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, client(false), two); err != nil {
		t.Error(err)
	}
	if len(s.Addresses()) == 0 || strings.Contains(strings.Join(s.Addresses(), " "), "[::]") {
		t.Error("nobody can use these addresses", s.Addresses())
	}
	if err := s.Move(""); err != nil || s.Addresses() != nil {
		t.Error(err)
	}
	if _, err := get(t, client(false), two); err == nil {
		t.Error("it serves after it was told not to")
	}
}

func TestMoveThatFailsChangesNothing(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := newServer(t, nil)
	mine := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(mine); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{other.Addr().String(), "192.0.2.77:8443", "nonsense:port"} {
		if err := s.Move(bad); err == nil || s.Address() != mine {
			t.Errorf("%s: %v, now at %s", bad, err, s.Address())
		}
		if _, err := get(t, client(false), mine); err != nil {
			t.Error(bad, err)
		}
	}
}

func TestStartTriesUntilTheAddressIsFree(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, nil)
	s.Retry(20 * time.Millisecond)
	s.Start(other.Addr().String())
	if s.Addresses() != nil {
		t.Error("it listens where another does")
	}
	_ = other.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := get(t, client(false), other.Addr().String()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it gave up")
		}
	}
}

func TestRequestsEndBeforeTheirAddressIsGivenUp(t *testing.T) {
	begun, finish := make(chan bool), make(chan bool)
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		begun <- true
		<-finish
		fmt.Fprint(w, "done")
	})
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(at); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, err := get(t, client(false), at)
		got <- fmt.Sprint(b, err)
	}()
	<-begun
	if err := s.Move(""); err != nil {
		t.Fatal(err)
	}
	close(finish)
	if b := <-got; b != "done<nil>" {
		t.Error(b)
	}
}

func TestStreamsAreCutWhenServingEnds(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(at); err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatal(line, err)
	}
	if err := s.Move(""); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, in); err != nil && os.IsTimeout(err) {
		t.Error("the stream goes on")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	s := newServer(t, nil)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(at); err != nil {
		t.Fatal(err)
	}
	if c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.2 is spoken")
	}
}
