package rest_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// handedOver connects as who, to a route that hands the connection over and then says nothing.
func handedOver(t *testing.T, s *rest.Server, who auth.Identity) *bufio.Reader {
	t.Helper()
	s.Auth = func(*http.Request) (auth.Identity, error) { return who, nil }
	s.SetPhase(rest.Serving)
	srv := httptest.NewServer(s.Handler([]rest.Route{rest.Raw("GET /1.0/line", auth.Authenticated, func(w http.ResponseWriter, _ *rest.Call) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "hello\n")
		return err
	})}))
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /1.0/line HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if text, err := r.ReadString('\n'); text != "hello\n" {
		t.Fatal(text, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	return r
}

func TestLinesEndWithRights(t *testing.T) {
	named := func(name string) auth.Identity { return auth.Identity{Kind: auth.TLS, Name: name} }
	for what, c := range map[string]struct {
		who   auth.Identity
		ended bool
	}{
		"who lost rights":  {named("ann"), true},
		"somebody else":    {named("bob"), false},
		"the local socket": {auth.Identity{Kind: auth.Unix, Name: "ann", Admin: true}, false},
		"whose token ends": {auth.Identity{Kind: auth.Bearer, Name: "x", Expires: time.Now().Add(50 * time.Millisecond)}, true},
	} {
		s := &rest.Server{}
		r := handedOver(t, s, c.who)
		s.End(func(i auth.Identity) bool { return i.Name == "ann" })
		_, err := r.ReadByte()
		if ended := err == io.EOF; ended != c.ended {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestLinesOfWhoIsNobodyByNow(t *testing.T) {
	s := &rest.Server{}
	asked := 0
	s.SetPhase(rest.Serving)
	s.Auth = func(*http.Request) (auth.Identity, error) {
		if asked++; asked > 1 {
			return auth.Identity{}, nil
		}
		return auth.Identity{Kind: auth.TLS, Name: "ann"}, nil
	}
	srv := httptest.NewServer(s.Handler([]rest.Route{rest.Raw("GET /1.0/line", auth.Authenticated, func(w http.ResponseWriter, _ *rest.Call) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, err = io.WriteString(conn, "hello\n")
		}
		if err == nil {
			t.Error("it is served")
		}
		return err
	})}))
	defer srv.Close()
	if resp, err := http.Get(srv.URL + "/1.0/line"); err == nil {
		t.Error(resp.Status)
	}
}
