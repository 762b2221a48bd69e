// Package source gets images from other servers: those of this API, those that offer images as static files (simplestreams), and plain
// addresses. Servers may be slow, broken or hostile: requests are bounded in time, answers in size, and what arrives is no image yet, only
// bytes to be checked.
package source

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"lxd/internal/errs"
	"lxd/internal/host/address"
)

// Bounds of requests.
const (
	// idle is how long a server may send nothing.
	idle = 30 * time.Second
	// maxRedirects is how often a server may send us elsewhere.
	maxRedirects = 5
)

// Proxies finds the proxy for an address; nil is none.
type Proxies func(*url.URL) (*url.URL, error)

// client makes what does the requests to one server.
type client struct {
	// certificate, if any, is the only one that is accepted, whoever signed it (PEM).
	certificate string
	proxy       Proxies
	// open lets requests go anywhere. Without it, as for callers who are not administrators, only addresses are reached that everybody
	// can reach: this server's own network is none of theirs.
	open bool
	// stay refuses redirects: the address has a secret in it.
	stay bool
}

// http makes the HTTP client.
func (c client) http() (*http.Client, error) {
	config, err := trust(c.certificate)
	if err != nil {
		return nil, err
	}
	tr := &http.Transport{
		TLSClientConfig: config, DialContext: c.dial, DisableCompression: true, TLSHandshakeTimeout: idle, ResponseHeaderTimeout: idle,
		IdleConnTimeout: idle, MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: 64 << 10,
	}
	if c.proxy != nil {
		tr.Proxy = func(r *http.Request) (*url.URL, error) { return c.proxy(r.URL) }
	}
	return &http.Client{Transport: guard{c, tr}, CheckRedirect: c.redirect}, nil
}

// trust is what servers are held against: the certificate that the request brought along, or else the authorities of this host.
func trust(certificate string) (*tls.Config, error) {
	if certificate == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errs.Newf(errs.Invalid, "the certificate of the image server is not a PEM certificate")
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "the certificate of the image server: %w", err)
	}
	pin := sha256.Sum256(want.Raw)
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // names and authorities say nothing here: the server must have this very certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || sha256.Sum256(s.PeerCertificates[0].Raw) != pin {
				return errors.New("the image server has another certificate than the one that was given")
			}
			return nil
		},
	}, nil
}

func (c client) redirect(r *http.Request, via []*http.Request) error {
	switch {
	case c.stay:
		return errors.New("the image server sends us elsewhere, which servers of this API do not")
	case len(via) > maxRedirects:
		return fmt.Errorf("the image server sends us elsewhere more than %d times", maxRedirects)
	case r.URL.Scheme != "https":
		return fmt.Errorf("the image server sends us to %s, which is not https", r.URL.Redacted())
	}
	r.Header.Del("Referer")
	return nil
}

// guard looks at the address of each request before a proxy is asked to go there.
type guard struct {
	client
	next http.RoundTripper
}

// RoundTrip does one request.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not https", r.URL.Redacted())
	}
	if !g.open && g.proxied(r.URL) {
		if err := outside(r.Context(), r.URL.Hostname()); err != nil {
			return nil, err
		}
	}
	return g.next.RoundTrip(r)
}

func (c client) proxied(u *url.URL) bool {
	if c.proxy == nil {
		return false
	}
	p, err := c.proxy(u)
	return err == nil && p != nil
}

// outside fails if a host that a proxy is asked to reach is one of this server's own network. One whose name only the proxy can resolve is
// the proxy's business.
func outside(ctx context.Context, host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return public(ip)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	for _, ip := range all {
		if err := public(ip); err != nil {
			return err
		}
	}
	return nil
}

// dial connects, and looks at the address that a name turned out to mean: the one of this very connection.
func (c client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: idle, Control: func(_, address string, _ syscall.RawConn) error {
		where, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return public(where.Addr())
	}}
	if c.open || c.isProxy(address) {
		d.Control = nil
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &impatient{Conn: conn}, nil
}

// isProxy tells whether an address is that of a proxy of this server, which its administrator chose.
func (c client) isProxy(address string) bool {
	if c.proxy == nil {
		return false
	}
	for _, scheme := range []string{"https", "http"} {
		p, err := c.proxy(&url.URL{Scheme: scheme, Host: "proxied.invalid"})
		if err != nil || p == nil {
			continue
		}
		port := p.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[p.Scheme]
		}
		if address == net.JoinHostPort(p.Hostname(), port) {
			return true
		}
	}
	return false
}

// public fails with Forbidden on an address that is not one that everybody can reach.
func public(ip netip.Addr) error {
	if address.Public(ip) {
		return nil
	}
	return errs.Newf(errs.Forbidden, "%s is an address of this server's own network: only its administrators may have images fetched from there; "+
		"copy with --mode=relay, or ask one", ip)
}

// impatient ends a connection on which nothing moves.
type impatient struct{ net.Conn }

// Read waits for a while.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write waits for a while.
func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
