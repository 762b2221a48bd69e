package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	process "lxd/internal/host/run"
)

// secure is where a server serves HTTPS within its network namespace.
const secure = "127.0.0.1:18443"

// dial connects to an address within the server's network namespace.
func (s *server) dial(addr string) (conn net.Conn, err error) {
	ns, err := os.Open("/run/netns/" + s.netns)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = process.In(ns, func() error {
		conn, err = net.DialTimeout("tcp", addr, 5*time.Second)
		return err
	})
	return conn, err
}

// ask sends a request as the administrator, and decodes what the answer is about.
func (s *server) ask(ctx context.Context, method, path string, body, metadata any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lxd"+path, strings.NewReader(string(b)))
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	env := struct {
		Error    string
		Metadata any
	}{Metadata: metadata}
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil || env.Error != "" {
		return fmt.Errorf("%s %s: %w %s", method, path, err, env.Error)
	}
	return nil
}

// bearer makes a token with the rights that give returns for so many instances.
func bearer(name string, give func(many int) []map[string]string) prepare {
	return func(ctx context.Context, b *bench, s *server) error {
		if err := bigCrowd(ctx, b, s); err != nil {
			return err
		}
		if b.tokens == nil {
			b.tokens = map[string]string{}
			if err := s.ask(ctx, http.MethodPatch, "/1.0", map[string]any{"config": map[string]string{"core.https_address": secure}}, nil); err != nil {
				return err
			}
		}
		identity := map[string]any{"type": "Client token bearer", "name": name, "groups": []string{name}}
		var token struct{ Token string }
		for _, step := range []struct {
			path     string
			body     any
			metadata any
		}{
			{"/1.0/auth/groups", map[string]any{"name": name, "permissions": give(b.many)}, nil},
			{"/1.0/auth/identities/bearer", identity, nil},
			{"/1.0/auth/identities/bearer/" + name + "/token", struct{}{}, &token},
		} {
			if err := s.ask(ctx, http.MethodPost, step.path, step.body, step.metadata); err != nil {
				return err
			}
		}
		b.tokens[name] = token.Token
		return nil
	}
}

// allRights and someRights are those of an administrator, and of somebody who may view all instances by one permission and do more with
// every tenth of them by one each.
func allRights(int) []map[string]string {
	return []map[string]string{{"entity_type": "server", "url": "/1.0", "entitlement": "admin"}}
}

func someRights(many int) []map[string]string {
	ps := []map[string]string{{"entity_type": "project", "url": "/1.0/projects/default", "entitlement": "can_view_instances"}}
	for n := range many {
		ps = append(ps, map[string]string{"entity_type": "instance", "url": fmt.Sprintf("/1.0/instances/many%05d", 10*n), "entitlement": "operator"})
	}
	return ps
}

// bearerRow times the list of all instances with a token, on a connection that is there.
func bearerRow(name string) func(context.Context, *bench, *server, int) (float64, error) {
	var c *http.Client
	return func(ctx context.Context, b *bench, s *server, _ int) (float64, error) {
		if c == nil {
			c = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // both ends are ours
				DialContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(secure) }}}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+secure+"/1.0/instances?recursion=2", nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+b.tokens[name])
		return timedCall(func() error {
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n < int64(b.many)*1000 {
				return fmt.Errorf("%s: %d bytes: %w", resp.Status, n, err)
			}
			return nil
		})
	}
}
