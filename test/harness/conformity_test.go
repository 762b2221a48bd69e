package harness_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/internal/rest/openapi"
	"lxd/test/harness"
)

const small = `{"openapi":"3.1.0","info":{"title":"x","version":"1"},"components":{"schemas":{}},"paths":{"/1.0/x":{"put":{
	"requestBody":{"content":{"application/json":{"schema":{"type":"object"}}}},
	"responses":{"200":{"description":"","content":{"application/json":{"schema":{"type":"array"}}}}}}}}}`

// What is answered reaches the client as it is, and what is not described is noted once.
func TestConformity(t *testing.T) {
	checker, err := openapi.NewChecker(small, func(string, string) string { return "PUT /1.0/x" })
	if err != nil {
		t.Fatal(err)
	}
	c := &harness.Conformity{Checker: checker}
	s := httptest.NewServer(c.Around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	})))
	put := func(path, body string) string {
		r, err := http.NewRequest("PUT", s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := s.Client().Do(r)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	for _, body := range []string{`[]`, `{}`, `{}`} {
		if got := put("/1.0/x", body); got != body {
			t.Errorf("%s came back as %s", body, got)
		}
	}
	put("/hijack", "{}")
	s.Close()
	faults, calls := c.Faults()
	if calls != 3 || len(faults) != 2 || !strings.Contains(faults[0]+faults[1], "request: /: got array, want object") || !strings.Contains(faults[0]+faults[1], "/: got object, want array") {
		t.Errorf("%d: %q", calls, faults)
	}
}
