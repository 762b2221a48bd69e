package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"lxd/internal/rest"
)

func TestRequestsAreCountedByWhatTheyAreAbout(t *testing.T) {
	s := &rest.Server{}
	h := s.Handler()
	for _, path := range []string{"/1.0/instances/a", "/1.0/containers", "/1.0/network-acls", "/1.0", "/1.0/auth/groups", "/internal/ready", "/", "/1.0x"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	want := map[string]int64{"instance": 2, "network": 1, "server": 1, "identity": 1}
	for _, r := range s.Requests() {
		if got := r.Completed["error_client"]; got != want[r.Entity] || r.Ongoing != 0 || r.Completed["succeeded"]+r.Completed["error_server"] != 0 {
			t.Errorf("%+v, want %d", r, want[r.Entity])
		}
	}
}
