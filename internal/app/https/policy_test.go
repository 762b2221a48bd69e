package https_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lxd/internal/app/https"
)

func TestBrowsersAreToldWhatPagesMayDo(t *testing.T) {
	s := newServer(t, nil)
	where := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(where); err != nil {
		t.Fatal(err)
	}
	header := func(origin string) http.Header {
		req, err := http.NewRequest(http.MethodGet, "https://"+where+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := client(false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header
	}
	const allow, page = "Access-Control-Allow-Origin", "https://ui.example"
	if h := header(page); h.Get(allow) != "" {
		t.Error("a page was let in without being asked for", h)
	}
	s.SetPolicy(https.PolicyOf(map[string]string{
		"core.https_allowed_origin": page, "core.https_allowed_methods": "GET, PUT", "core.https_allowed_headers": "Content-Type", "core.https_allowed_credentials": "true",
	}))
	h := header(page)
	for name, want := range map[string]string{allow: page, "Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "Content-Type", "Access-Control-Allow-Credentials": "true"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	for _, origin := range []string{"", "https://evil.example", "https://ui.example.evil"} {
		if h := header(origin); h.Get(allow) != "" {
			t.Errorf("%q was let in: %v", origin, h)
		}
	}
}

func TestOnlyTrustedProxiesSpeakForOthers(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	where := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	if err := s.Move(where); err != nil {
		t.Fatal(err)
	}
	// ask says first what head is, and then makes a request.
	ask := func(head string) (string, error) {
		raw, err := net.DialTimeout("tcp", where, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(raw, head)
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			return "", err
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		b, err := io.ReadAll(c)
		return string(b), err
	}
	const head = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"
	if got, err := ask(head); err == nil {
		t.Error("a stranger spoke for others:", got)
	}
	s.SetPolicy(https.PolicyOf(map[string]string{"core.https_trusted_proxy": "10.0.0.1, 127.0.0.1"}))
	if got, err := ask(head); err != nil || !strings.Contains(got, "192.0.2.7:40000") {
		t.Error(got, err)
	}
	if got, err := ask(""); err != nil || !strings.Contains(got, "127.0.0.1:") {
		t.Error("one that speaks for itself:", got, err)
	}
	if got, err := ask("PROXY nonsense\r\n"); err == nil {
		t.Error("nonsense was understood:", got)
	}
	// A proxy that says nothing holds up nobody.
	silent, err := net.Dial("tcp", where)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := ask(head); err != nil {
		t.Error(err)
	}
}
