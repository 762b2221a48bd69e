package rest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// network is a server over TLS, in both versions of the protocol, with a route that reads a body, one that pauses, and one that counts
// what is uploaded.
func network(t *testing.T, patience time.Duration) *httptest.Server {
	t.Helper()
	srv := newServer(t)
	srv.Patience = patience
	srv.Auth = func(*http.Request) (auth.Identity, error) { return auth.Identity{Kind: auth.TLS, Admin: true}, nil }
	s := httptest.NewUnstartedServer(srv.Handler([]rest.Route{
		rest.Sync("POST /1.0/json", auth.Public, func(_ context.Context, _ *rest.Call, in map[string]string) (string, error) { return in["a"], nil }),
		rest.Raw("GET /1.0/pause", auth.Public, func(w http.ResponseWriter, c *rest.Call) error {
			_, _ = io.WriteString(w, "one")
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(300 * time.Millisecond):
			case <-c.Context().Done():
				t.Error("the client was given up")
			}
			_, _ = io.WriteString(w, "two")
			return nil
		}),
		rest.Raw("POST /1.0/upload", auth.Public, func(w http.ResponseWriter, c *rest.Call) error {
			n, err := io.Copy(io.Discard, c.Body)
			if err != nil {
				return err
			}
			// The client must not count as gone once all of its body is there.
			select {
			case <-time.After(300 * time.Millisecond):
			case <-c.Context().Done():
				t.Error("the client was given up after its upload")
			}
			fmt.Fprint(w, n)
			return nil
		}),
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestNetworkClientsInBothVersions(t *testing.T) {
	s := network(t, 100*time.Millisecond)
	for _, two := range []bool{false, true} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: two}}
		for range 3 { // over one connection
			resp, err := c.Get(s.URL + "/1.0/pause")
			if err != nil {
				t.Fatal(two, err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || string(b) != "onetwo" || (resp.ProtoMajor == 2) != two {
				t.Error(two, string(b), err, resp.Proto)
			}
			_ = resp.Body.Close()
			resp, err = c.Post(s.URL+"/1.0/upload", "application/octet-stream", strings.NewReader(strings.Repeat("x", 100_000)))
			if err != nil {
				t.Fatal(two, err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "100000" {
				t.Error(two, string(b), err)
			}
			_ = resp.Body.Close()
		}
		c.CloseIdleConnections()
	}
}

// TestSlowBodies sends a byte at a time: a body that is read as a whole has its time, a stream must go on.
func TestSlowBodies(t *testing.T) {
	s := network(t, 200*time.Millisecond)
	for path, pause := range map[string]time.Duration{"/1.0/json": 50 * time.Millisecond, "/1.0/upload": time.Hour, "/1.0/nosuch": time.Hour} {
		c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", path)
		end, stop := context.WithCancel(t.Context())
		go func() {
			for {
				select {
				case <-end.Done():
					return
				case <-time.After(pause):
					if _, err := c.Write([]byte(" ")); err != nil {
						return
					}
				}
			}
		}()
		start := time.Now()
		_ = c.SetReadDeadline(start.Add(5 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		stop()
		if took := time.Since(start); took > 3*time.Second || took < 150*time.Millisecond {
			t.Errorf("%s: %q %v after %s", path, line, err, took)
		}
	}
}
