//go:build system

package system

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// pebble is the authority that the makers of the protocol test clients with, and a DNS server in which every name is the loopback
// address, both in a daemon's network namespace.
type pebble struct {
	t *testing.T
	d *harness.Daemon
}

// buildPebble makes the programs; the test is skipped where their source cannot be fetched.
func buildPebble(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := exec.Command("go", "build", "-o", dir, "github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	c.Dir = "../pebble"
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("pebble, the ACME authority of this test, cannot be built: %v: %s", err, out)
	}
	return dir
}

// startPebble runs the authority; its certificates are good for as many seconds as life says.
func startPebble(t *testing.T, d *harness.Daemon, life int) *pebble {
	t.Helper()
	p, dir := &pebble{t, d}, buildPebble(t)
	if err := harness.WriteLeaf(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": "%[1]s/cert.pem",
		"privateKey": "%[1]s/key.pem", "httpPort": 80, "tlsPort": 443, "keyAlgorithm": "ecdsa", "domainBlocklist": ["blocked.test"],
		"retryAfter": {"authz": 1, "order": 1}, "profiles": {"default": {"description": "short", "validityPeriod": %[2]d}}}}`, dir, life)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(dir, "pebble-challtestsrv", "-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "", "-dnsserver", "127.0.0.1:8053", "-management", "127.0.0.1:8055", "-defaultIPv6", "")
	p.run(dir, "pebble", "-strict", "-dnsserver", "127.0.0.1:8053", "-config", filepath.Join(dir, "config.json"))
	for _, at := range []string{"127.0.0.1:8055", "127.0.0.1:14000", "127.0.0.1:15000"} {
		p.until(at+" answers", func() error {
			c, err := harness.DialIn(d.Netns)(t.Context(), "tcp", at)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	return p
}

func (p *pebble) run(dir, name string, args ...string) {
	p.t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		p.t.Fatal(err)
	}
	c := p.d.Command(append([]string{filepath.Join(dir, name)}, args...)...)
	c.Env = append(c.Env, "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = log.Close()
		if b, err := os.ReadFile(log.Name()); err == nil && p.t.Failed() {
			p.t.Logf("%s:\n%s", name, b)
		}
	})
}

// roots are what the authority's certificates are trusted by now.
func (p *pebble) roots() *x509.CertPool {
	p.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: harness.DialIn(p.d.Netns)}}
	resp, err := client.Get("https://127.0.0.1:15000/roots/0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(b) {
		p.t.Fatal(err, string(b))
	}
	return pool
}

// shown is the certificate that the daemon shows for a name, if the authority vouches for it.
func (p *pebble) shown(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	raw, err := harness.DialIn(p.d.Netns)(p.t.Context(), "tcp", "127.0.0.1:8443")
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: roots})
	if err := conn.HandshakeContext(p.t.Context()); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

func (p *pebble) until(what string, do func() error) {
	p.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s: %v", what, err)
		}
	}
}

// got waits until a certificate for name is shown, other than the one with that serial number.
func (p *pebble) got(name, not string) (serial string) {
	p.t.Helper()
	roots := p.roots()
	p.until("certificate for "+name, func() error {
		c, err := p.shown(name, roots)
		if err != nil {
			return err
		}
		if serial = c.SerialNumber.String(); serial == not {
			return fmt.Errorf("still the one that was there")
		}
		return nil
	})
	return serial
}

// warned waits for a warning with that text.
func (p *pebble) warned(text string) {
	p.t.Helper()
	p.until("warning "+text, func() error {
		if _, body := p.d.HTTP("GET", "/1.0/warnings?recursion=1", ""); !strings.Contains(body, text) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}

// TestACME gets certificates of pebble: by the daemon's own port 80, through a proxy there, renewed in time, and none where it may not.
func TestACME(t *testing.T) {
	d := harness.New(t)
	p := startPebble(t, d, 12)
	trust, err := harness.Trust(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d.Start("SSL_CERT_FILE=" + trust)
	d.LXC("config", "set", "core.https_address=127.0.0.1:8443", "acme.ca_url=https://127.0.0.1:14000/dir", "acme.email=admin@lxd.test", "acme.agree_tos=true")
	d.LXC("config", "set", "acme.domain=one.test")
	first := p.got("one.test", "")
	if c, err := harness.DialIn(d.Netns)(t.Context(), "tcp", "127.0.0.1:80"); err == nil {
		_ = c.Close()
		t.Error("port 80 stays open after the challenge")
	}
	second := p.got("one.test", first) // in the last third of 12 seconds
	if _, err := os.Stat(filepath.Join(d.Dir, "acme", "certificate.pem")); err != nil || second == first {
		t.Error(err)
	}

	// a stranger has port 80, and leads nowhere
	l, err := harness.ListenIn(d.Netns, "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	blind := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = blind.Serve(l) }()
	d.LXC("config", "set", "acme.domain=two.test")
	p.warned("port 80 of it, or a proxy there")
	if code, _ := d.HTTP("GET", "/1.0", ""); code != http.StatusOK {
		t.Error("the daemon does not serve", code)
	}
	_ = blind.Close()

	// a proxy has it, as where LXD is one of several services
	if l, err = harness.ListenIn(d.Netns, "127.0.0.1:80"); err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: "127.0.0.1:8443"})
	dial := harness.DialIn(d.Netns)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address)
		}}
	led := &http.Server{Handler: proxy}
	go func() { _ = led.Serve(l) }()
	defer led.Close()
	d.LXC("config", "set", "acme.domain=three.test")
	p.got("three.test", "")
	p.until("the warning is resolved", func() error {
		if out := d.LXC("warning", "list", "-f", "csv"); strings.Contains(out, "certificate") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})

	// what the authority refuses is told in its own words
	d.LXC("config", "set", "acme.domain=blocked.test")
	p.warned("refuses a certificate for blocked.test")
}
