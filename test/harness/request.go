package harness

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// call is one use of the command http.
type call struct {
	ts     *testscript.TestScript
	client *http.Client
	// stay returns an operation as it is answered; again repeats what does not go as expected; out takes the body.
	stay, again bool
	out         string
	// scheme is that of requests over the network.
	scheme string
}

func sendHTTP(ts *testscript.TestScript, neg bool, args []string) {
	c := call{ts: ts, client: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial(ts)}}}
	args = c.options(args)
	c.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if len(args) < 2 {
		ts.Fatalf("usage: http [-n] [-r] [-o FILE] [-plain ADDRESS | -tls ADDRESS [-as DIR] [-named NAME FILE] [-via IP]] METHOD PATH [BODY] [HEADER:VALUE …]")
	}
	body := ""
	if len(args) > 2 {
		body = args[2]
		if name, ok := strings.CutPrefix(body, "@"); ok {
			body = ts.ReadFile(name)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		req, err := newRequest(args[0], args[1], body)
		ts.Check(err)
		for _, h := range args[min(3, len(args)):] {
			k, v, _ := strings.Cut(h, ":")
			req.Header.Set(k, strings.TrimSpace(v))
		}
		status, answer, err := c.send(req)
		failed := status >= http.StatusBadRequest || strings.Contains(answer, `"type":"error"`)
		if c.again && (err != nil || failed != neg) && time.Now().Before(deadline) {
			continue
		}
		ts.Check(err)
		fmt.Fprintf(ts.Stdout(), "%d\n%s\n", status, answer)
		if failed != neg {
			ts.Fatalf("status %d: %s", status, answer)
		}
		return
	}
}

// over is how a request travels when not over the socket.
type over struct {
	scheme, address, as, via string
	// name is whom the server must be according to the authority in the file ca.
	name, ca string
}

// options reads the options of the command, and returns what follows them.
func (c *call) options(args []string) []string {
	var o over
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if args[0] == "-n" || args[0] == "-r" {
			c.stay, c.again, args = c.stay || args[0] == "-n", c.again || args[0] == "-r", args[1:]
			continue
		}
		if len(args) < 3 {
			c.ts.Fatalf("option %s needs a value", args[0])
		}
		switch args[0] {
		case "-o":
			c.out = args[1]
		case "-tls":
			o.scheme, o.address = "https", args[1]
		case "-plain":
			o.scheme, o.address = "http", args[1]
		case "-as":
			o.as = args[1]
		case "-named":
			o.name, o.ca, args = args[1], args[2], args[1:]
		case "-via":
			o.via = args[1]
		default:
			c.ts.Fatalf("unknown option %s", args[0])
		}
		args = args[2:]
	}
	c.travel(o)
	return args
}

func (c *call) travel(o over) {
	if o.scheme != "" {
		c.client, c.scheme = tlsClient(c.ts, o.address, o.as), o.scheme
	}
	if o.name != "" {
		c.verify(o.name, o.ca)
	}
	if o.via != "" {
		announce(c.client, o.via)
	}
}

// verify has the client look at the server's certificate.
func (c *call) verify(name, caFile string) {
	t, ok := c.client.Transport.(*http.Transport)
	if !ok || t.TLSClientConfig == nil {
		c.ts.Fatalf("-named is for requests with -tls")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.ts.ReadFile(caFile))) {
		c.ts.Fatalf("%s is no certificate", caFile)
	}
	t.TLSClientConfig.InsecureSkipVerify, t.TLSClientConfig.ServerName, t.TLSClientConfig.RootCAs = false, name, roots
}

// announce makes the client speak for another one, as proxies do.
func announce(client *http.Client, from string) {
	t, ok := client.Transport.(*http.Transport)
	if !ok {
		return
	}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			_, err = fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 40000 8443\r\n", from)
		}
		return conn, err
	}
}

// dial connects to the socket of the script's daemon, whatever the address.
func dial(ts *testscript.TestScript) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", ts.Getenv("LXD_DIR")+"/unix.socket")
	}
}

func newRequest(method, path, body string) (*http.Request, error) {
	req, err := http.NewRequest(method, "http://lxd"+path, strings.NewReader(body))
	if err == nil && body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// shown are the headers that scripts look at.
var shown = []string{"Location", "Etag", "Content-Type", "Content-Length", "Content-Disposition", "Allow", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods",
	"Access-Control-Allow-Headers", "Access-Control-Allow-Credentials",
	"X-Lxd-Oidc-Issuer", "X-Lxd-Oidc-Clientid", "X-Lxd-Oidc-Audience", "X-Lxd-Oidc-Groups-Claim", "X-Lxd-Oidc-Scopes",
	"X-Lxd-Uid", "X-Lxd-Gid", "X-Lxd-Mode", "X-Lxd-Type", "X-Lxd-Modified"}

// send sends one request; an operation that comes back is waited for and its end is the answer.
func (c call) send(req *http.Request) (int, string, error) {
	if c.scheme != "" {
		req.URL.Scheme = c.scheme
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var head bytes.Buffer
	for _, k := range shown {
		if v := resp.Header.Get(k); v != "" {
			fmt.Fprintf(&head, "%s: %s\n", k, v)
		}
	}
	for _, cookie := range resp.Header.Values("Set-Cookie") {
		fmt.Fprintf(&head, "Set-Cookie: %s\n", cookie)
	}
	location := resp.Header.Get("Location")
	if !c.stay && resp.StatusCode == http.StatusAccepted && strings.Contains(string(b), `"class":"task"`) {
		wait, err := newRequest("GET", location+"/wait", "")
		if err != nil {
			return 0, "", err
		}
		for _, k := range []string{"Authorization", "Cookie"} { // whoever began it waits for it
			if v := req.Header.Get(k); v != "" {
				wait.Header.Set(k, v)
			}
		}
		_, done, err := c.send(wait)
		return resp.StatusCode, head.String() + done, err
	}
	if c.out != "" && resp.StatusCode < http.StatusBadRequest {
		return resp.StatusCode, head.String(), os.WriteFile(c.ts.MkAbs(c.out), b, 0o644)
	}
	return resp.StatusCode, head.String() + string(b), nil
}
