package loki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lxd/internal/errs"
)

// pushPath is where Loki takes entries.
const pushPath = "/loki/api/v1/push"

// pusher sends requests to one server.
type pusher struct {
	url, username, password string
	client                  *http.Client
}

func newPusher(c Config, proxy Proxy) (*pusher, error) {
	t := &http.Transport{IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	}
	if c.Authority != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a host may have none
		}
		if !pool.AppendCertsFromPEM([]byte(c.Authority)) {
			return nil, errs.Newf(errs.Invalid, "the CA certificate of the Loki server is not PEM: put the certificate itself into loki.api.ca_cert")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &pusher{
		url: strings.TrimSuffix(strings.TrimSuffix(c.URL, "/"), pushPath) + pushPath, username: c.Username, password: c.Password,
		client: &http.Client{Transport: t, Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func (p *pusher) close() { p.client.CloseIdleConnections() }

// send sends one body; again tells whether a failure may pass.
func (p *pusher) send(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "LXD")
	if p.username != "" {
		req.SetBasicAuth(p.username, p.password)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	says, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // for the message alone
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode/100 == 5
	return again, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(says))
}

// pushed is the body of a request.
type pushed struct {
	Streams []stream `json:"streams"`
}

type stream struct {
	Labels json.RawMessage `json:"stream"`
	Values [][2]string     `json:"values"`
}

// encode makes entries a request: those of the same labels are one stream, oldest first.
func encode(batch []entry) []byte {
	slices.SortStableFunc(batch, func(a, b entry) int { return a.at.Compare(b.at) })
	var body pushed
	at := map[string]int{}
	for _, e := range batch {
		i, known := at[e.stream]
		if !known {
			i = len(body.Streams)
			at[e.stream] = i
			body.Streams = append(body.Streams, stream{Labels: json.RawMessage(e.stream)})
		}
		s := &body.Streams[i]
		s.Values = append(s.Values, [2]string{strconv.FormatInt(e.at.UnixNano(), 10), e.line})
	}
	b, _ := json.Marshal(body) // strings always marshal
	return b
}
