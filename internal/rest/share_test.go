package rest_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// TestNobodyHasAllRequests has callers whose requests do not end: each gets its share, and leaves that of others alone.
func TestNobodyHasAllRequests(t *testing.T) {
	s := newServer(t)
	s.Auth = func(r *http.Request) (auth.Identity, error) {
		if name := r.Header.Get("Who"); name != "" {
			return auth.Identity{Kind: auth.Kind(r.Header.Get("Kind")), Name: name, Admin: true}, nil
		}
		return auth.Identity{}, nil
	}
	begun, end := make(chan bool), make(chan bool)
	h := s.Handler([]rest.Route{rest.Raw("GET /wait", auth.Public, func(_ http.ResponseWriter, c *rest.Call) error {
		if c.Header.Get("Stay") != "" {
			begun <- true
			<-end
		}
		return nil
	})})
	var all sync.WaitGroup
	ask := func(address, kind, who, stay string) int {
		r := httptest.NewRequest("GET", "/wait", nil)
		r.RemoteAddr = address
		for k, v := range map[string]string{"Kind": kind, "Who": who, "Stay": stay} {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	hold := func(n int, address, kind, who string) {
		for range n {
			all.Go(func() { ask(address, kind, who, "yes") })
			<-begun
		}
	}
	hold(64, "10.0.0.1:1", "", "")
	hold(1024, "10.0.0.1:1", "tls", "greedy")
	hold(1030, "@", "unix", "root")
	for _, c := range []struct {
		address, kind, who string
		want               int
	}{
		{"10.0.0.1:2", "", "", 429}, {"10.0.0.2:1", "", "", 200}, {"10.0.0.3:1", "tls", "greedy", 429}, {"10.0.0.1:1", "tls", "modest", 200}, {"@", "unix", "root", 200},
	} {
		if got := ask(c.address, c.kind, c.who, ""); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	close(end)
	all.Wait()
	if a, b := ask("10.0.0.1:2", "", "", ""), ask("10.0.0.3:1", "tls", "greedy", ""); a != 200 || b != 200 {
		t.Error("places are not given back", a, b)
	}
}
