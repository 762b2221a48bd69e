package endpoint_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/endpoint"
	"lxd/internal/rest"
)

// The document is shown to everyone, packed for those who can unpack it, and not sent again to who has it.
func TestDescription(t *testing.T) {
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return auth.Identity{}, nil }}
	s.SetPhase(rest.Serving)
	h := s.Handler(endpoint.Description(`{"openapi":"3.1.0"}`))
	get := func(header ...string) *http.Response {
		r := httptest.NewRequest("GET", "/1.0/metadata/openapi", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	plain := get()
	if b, err := io.ReadAll(plain.Body); err != nil || string(b) != `{"openapi":"3.1.0"}` || plain.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%q %v %v", b, err, plain.Header)
	}
	packed := get("Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != `{"openapi":"3.1.0"}` {
		t.Errorf("%q %v", b, err)
	}
	again := get("If-None-Match", plain.Header.Get("ETag"))
	if b, _ := io.ReadAll(again.Body); again.StatusCode != http.StatusNotModified || len(b) != 0 {
		t.Errorf("%d %q", again.StatusCode, b)
	}
	if other := get("If-None-Match", `"x"`); other.StatusCode != http.StatusOK {
		t.Errorf("%d", other.StatusCode)
	}
}
