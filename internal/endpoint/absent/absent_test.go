package absent_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/endpoint/absent"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// ask sends one request and returns the status, the metadata and the error.
func ask(t *testing.T, who auth.Identity, method, path, body string) (int, string, string) {
	t.Helper()
	s := &rest.Server{Ops: op.NewManager(t.Context(), op.Options{}), Auth: func(*http.Request) (auth.Identity, error) { return who, nil }}
	s.SetPhase(rest.Serving)
	h := s.Handler(absent.Cluster(), absent.Routes(func(_ context.Context, name string) error {
		if name == "p" {
			return nil
		}
		return errs.Newf(errs.NotFound, "storage pool %q not found", name)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	var e struct {
		Metadata json.RawMessage
		Error    string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatal(path, err, w.Body)
	}
	return w.Code, string(e.Metadata), e.Error
}

var (
	admin    = auth.Identity{Kind: auth.Unix, Admin: true}
	stranger = auth.Identity{}
)

func TestNone(t *testing.T) {
	for request, want := range map[string]struct {
		code int
		text string
	}{
		"GET /1.0/network-zones":                       {200, "[]"},
		"GET /1.0/network-zones?recursion=1":           {200, "[]"},
		"GET /1.0/placement-groups?all-projects=true":  {200, "[]"},
		"GET /1.0/storage-pools/p/buckets":             {200, "[]"},
		"GET /1.0/storage-pools/q/buckets":             {404, `storage pool "q" not found`},
		"POST /1.0/network-zones":                      {501, "network zones are not supported yet"},
		"POST /1.0/placement-groups":                   {501, "placement groups are not supported yet"},
		"POST /1.0/storage-pools/p/buckets":            {501, "storage buckets are not supported yet"},
		"POST /1.0/storage-pools/q/buckets":            {404, `storage pool "q" not found`},
		"GET /1.0/network-zones/z":                     {404, `network zone "z" not found`},
		"PUT /1.0/network-zones/z":                     {404, `network zone "z" not found`},
		"PATCH /1.0/network-zones/z":                   {404, `network zone "z" not found`},
		"DELETE /1.0/network-zones/z":                  {404, `network zone "z" not found`},
		"GET /1.0/network-zones/z/records":             {404, `network zone "z" not found`},
		"PATCH /1.0/network-zones/z/records/r":         {404, `network zone "z" not found`},
		"POST /1.0/placement-groups/g":                 {404, `placement group "g" not found`},
		"GET /1.0/storage-pools/p/buckets/b":           {404, `storage bucket "b" not found`},
		"GET /1.0/storage-pools/q/buckets/b":           {404, `storage pool "q" not found`},
		"POST /1.0/storage-pools/p/buckets/b/keys":     {404, `storage bucket "b" not found`},
		"DELETE /1.0/storage-pools/p/buckets/b/keys/k": {404, `storage bucket "b" not found`},
		"GET /1.0/cluster":                             {200, `{"server_name":"","enabled":false,"member_config":[]}`},
		"PUT /1.0/cluster":                             {400, "not clustered"},
		"PUT /1.0/cluster/certificate":                 {400, "not clustered"},
		"GET /1.0/cluster/members":                     {400, "not clustered"},
		"POST /1.0/cluster/members":                    {400, "not clustered"},
		"DELETE /1.0/cluster/members/m":                {400, "not clustered"},
		"GET /1.0/cluster/members/m/state":             {400, "not clustered"},
		"POST /1.0/cluster/members/m/state":            {400, "not clustered"},
		"GET /1.0/cluster/groups":                      {400, "not clustered"},
		"POST /1.0/cluster/groups":                     {400, "not clustered"},
		"PATCH /1.0/cluster/groups/g":                  {400, "not clustered"},
	} {
		method, path, _ := strings.Cut(request, " ")
		code, metadata, text := ask(t, admin, method, path, "{}")
		if code != want.code || code == 200 && metadata != want.text || code != 200 && !strings.Contains(text, want.text) {
			t.Errorf("%s: %d %s %s", request, code, metadata, text)
		}
		if code, _, _ := ask(t, stranger, method, path, "{}"); code != 403 {
			t.Errorf("%s: a stranger gets %d", request, code)
		}
	}
	if code, _, text := ask(t, admin, "PUT", "/1.0/cluster", `{"enabled": true, "server_name": "m1"}`); code != 501 || !strings.Contains(text, "not supported yet") {
		t.Error(code, text)
	}
}
