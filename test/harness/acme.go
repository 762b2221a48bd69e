package harness

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/internal/app/https/acme/acmetest"
)

// acmeAuthority is the command acme.
func acmeAuthority(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: acme VARIABLE ADDRESS FILE")
	}
	netns, daemon := ts.Getenv("NETNS"), args[1]
	l, err := ListenIn(netns, "127.0.0.1:0")
	ts.Check(err)
	trusted, err := theAuthority()
	ts.Check(err)
	cert, err := trusted.leaf("ACME service", time.Hour)
	ts.Check(err)
	a, err := acmetest.New("https://" + l.Addr().String())
	ts.Check(err)
	a.Fetch = func(ctx context.Context, _, path string) (string, error) {
		return fetchChallenge(ctx, netns, daemon, path)
	}
	ts.Defer(a.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root().Raw}), 0o644))
	ts.Setenv(args[0], a.Directory())
}

// fetchChallenge is what a proxy on port 80 of the domain would pass on.
func fetchChallenge(ctx context.Context, netns, daemon, path string) (string, error) {
	dial := DialIn(netns)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, daemon) }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+daemon+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	return string(b), err
}
