package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// stale is longer than either server shows the same metrics again.
const stale = 9 * time.Second

// sixtyRunning makes sixty containers that run.
func sixtyRunning(ctx context.Context, b *bench, s *server) error {
	if err := sixty(ctx, b, s); err != nil {
		return err
	}
	return each(func(n string) error { return s.run(ctx, "start", n) })
}

// scrapeRow times a scrape that cannot be answered from what was read before.
func scrapeRow(_ context.Context, _ *bench, s *server, _ int) (float64, error) {
	time.Sleep(stale)
	return timedCall(func() error { return s.get("/1.0/metrics", nil) })
}

// proxied is how much goes through a proxy in one measurement, proxyPort where it listens.
const (
	proxied   = 512 << 20
	proxyPort = "127.0.0.1:18080"
)

// proxy makes a running container that serves a large file through a proxy device.
func proxy(ctx context.Context, b *bench, s *server) error {
	if err := fresh(ctx, b, s); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"config", "device", "add", "m", "web", "proxy", "listen=tcp:" + proxyPort, "connect=tcp:127.0.0.1:80"}, {"start", "m"},
		{"exec", "m", "--", "sh", "-c", fmt.Sprintf("mkdir /www && truncate -s %d /www/big && httpd -p 127.0.0.1:80 -h /www", proxied)},
	} {
		if err := s.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// proxyRow times the file's way through the proxy.
func proxyRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(proxyPort) }}}
	return timedCall(func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+proxyPort+"/big", nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != proxied {
			return fmt.Errorf("%s: %d bytes came through the proxy: %w", s.label, n, err)
		}
		return nil
	})
}
