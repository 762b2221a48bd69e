package rest_test

import (
	"context"
	"fmt"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// TestEditsOfOneObjectFollowEachOther has many clients merge a key of their own into one object at the same time.
func TestEditsOfOneObjectFollowEachOther(t *testing.T) {
	var mu sync.Mutex
	cur := boxPut{Config: map[string]string{}}
	h := newServer(t).Handler(rest.Edit("/1.0/boxes/{name}", auth.Authenticated, rest.Editor[boxPut]{
		Load: func(context.Context, *rest.Call) (boxPut, any, error) {
			mu.Lock()
			defer mu.Unlock()
			return boxPut{Config: maps.Clone(cur.Config)}, nil, nil
		},
		Save: func(_ context.Context, _ *rest.Call, next boxPut) error {
			mu.Lock()
			defer mu.Unlock()
			cur = next
			return nil
		},
	}))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if w := do(h, "PATCH", "/1.0/boxes/a", fmt.Sprintf(`{"config":{"k%d":"v"}}`, i)); w.Code != 200 {
				t.Error(w.Body)
			}
		})
	}
	all.Wait()
	if len(cur.Config) != 50 {
		t.Errorf("%d of 50 merges are there", len(cur.Config))
	}
}

// TestPatchOfOtherKinds covers objects that are no struct, and maps that are no config.
func TestPatchOfOtherKinds(t *testing.T) {
	type image struct {
		Properties map[string]string `json:"properties"`
		Public     bool
	}
	var saved any
	server := newServer(t)
	h := server.Handler(
		rest.Edit("/map", auth.Authenticated, rest.Editor[map[string]string]{
			Load: func(context.Context, *rest.Call) (map[string]string, any, error) {
				return map[string]string{"a": "1"}, nil, nil
			},
			Save: func(_ context.Context, _ *rest.Call, next map[string]string) error { saved = next; return nil },
		}),
		rest.Edit("/image", auth.Authenticated, rest.Editor[image]{
			Load: func(context.Context, *rest.Call) (image, any, error) {
				return image{Properties: map[string]string{"os": "Debian", "arch": "x"}}, nil, nil
			},
			Save: func(_ context.Context, _ *rest.Call, next image) error { saved = next; return nil },
		}))
	for _, c := range []struct{ url, body, want string }{
		{"/map", `{"b":"2"}`, "map[a:1 b:2]"},
		{"/image", `{"properties":{"os":"","arch":null},"Public":true}`, "{map[os:] true}"},
	} {
		if w := do(h, "PATCH", c.url, c.body); w.Code != 200 || fmt.Sprint(saved) != c.want {
			t.Errorf("%s: %d %s %v", c.body, w.Code, w.Body, saved)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{}`, `{"config":{"a":"1","a":"2"}}`, `[[{"a":1}]]`, `{"config":{"a":""},"devices":{"eth0":null}}`, `"x"`, `{"config":null} x`} {
		f.Add(seed)
	}
	server := &rest.Server{Auth: admin}
	server.SetPhase(rest.Serving)
	h := server.Handler((&shelf{put: boxPut{Config: map[string]string{"a": "1"}}}).routes())
	f.Fuzz(func(t *testing.T, body string) {
		for _, method := range []string{"PUT", "PATCH"} {
			r := httptest.NewRequest(method, "/1.0/boxes/a", strings.NewReader(body))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 && w.Code != 400 {
				t.Fatalf("%s %q: %d %s", method, body, w.Code, w.Body)
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/1.0/boxes/a%2Fb/call", "//", "/1.0/labels//x", "/1.0/labels/fixed/%/y", "/1.0/boxes/%00/call", "/"} {
		f.Add(seed)
	}
	server := &rest.Server{Auth: admin}
	server.SetPhase(rest.Serving)
	h := server.Handler((&shelf{}).routes())
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		u, err := r.URL.Parse("http://x/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			return
		}
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == 500 && !strings.HasSuffix(u.Path, "/panic") && !u.Query().Has("filter") && !u.Query().Has("with-access-entitlements") {
			t.Fatalf("%q: %s", path, w.Body)
		}
		if w.Code >= 300 && w.Code < 400 {
			t.Fatalf("%q: redirected to %s", path, w.Header().Get("Location"))
		}
	})
}
