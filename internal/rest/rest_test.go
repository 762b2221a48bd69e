package rest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/rest"
)

type box struct {
	Name   string            `json:"name" yaml:"name"`
	Config map[string]string `json:"config" yaml:"config"`
}

type boxPut struct {
	Description string                       `json:"description"`
	Config      map[string]string            `json:"config"`
	Devices     map[string]map[string]string `json:"devices"`
	Profiles    []string                     `json:"profiles"`
}

// shelf is a resource with everything that rest offers.
type shelf struct {
	put   boxPut
	boxes []box
	calls []string
}

func (s *shelf) routes() []rest.Route {
	edit := auth.Can("server", "can_edit")
	fail := func(context.Context, *rest.Call, rest.None) (rest.None, error) {
		return rest.None{}, errs.Newf(errs.Conflict, "box is taken")
	}
	routes := []rest.Route{
		rest.List("GET /1.0/boxes", auth.Can("instance", "can_view"), s.list).Strict(),
		rest.List("GET /1.0/crates", auth.Authenticated, s.list).NullEmpty(),
		rest.List("GET /1.0/boxes/{name}/lids", auth.Can("instance", "can_view"), s.list),
		rest.Create("POST /1.0/boxes", edit, func(_ context.Context, c *rest.Call, in box) (string, error) {
			return "/1.0/boxes/" + in.Name, nil
		}),
		rest.Get("GET /1.0/boxes/{name}", auth.Public, func(_ context.Context, c *rest.Call) (box, any, error) {
			return box{Name: c.PathValue("name")}, []string{"a"}, nil
		}),
		rest.Sync("GET /1.0/boxes/{name}/fail", edit, fail),
		rest.Sync("GET /1.0/boxes/{name}/panic", edit, func(context.Context, *rest.Call, rest.None) (rest.None, error) { panic("ouch") }),
		rest.Sync("GET /1.0/boxes/{name}/call", edit, s.call),
		rest.Sync("GET /1.0/boxes/{name}/global", edit, s.call).Global(),
		rest.Sync("GET /1.0/boxes/{name}/far", edit, s.call).On(func(context.Context, *rest.Call) (string, error) { return "m2", nil }),
		rest.Sync("GET /1.0/boxes/{name}/near", edit, s.call).On(func(context.Context, *rest.Call) (string, error) { return "m1", nil }),
		rest.Raw("GET /1.0/boxes/{name}/label", auth.Authenticated, func(w http.ResponseWriter, c *rest.Call) error {
			_, err := io.WriteString(w, "label")
			return errors.Join(err, errors.New("too late to say"))
		}),
		rest.Raw("POST /1.0/boxes/{name}/label", auth.Authenticated, func(http.ResponseWriter, *rest.Call) error {
			return rest.WithStatus(429, errs.Newf(errs.Conflict, "slow down"))
		}),
		rest.Async("POST /1.0/boxes/{name}/open", edit, func(context.Context, *rest.Call, rest.None) (op.Spec, error) {
			return op.Spec{Kind: "open", Description: "Opening box", Run: func(context.Context, *op.Task) error { return nil }}, nil
		}),
		rest.Sync("GET /1.0/labels/{path...}", edit, s.call),
		rest.Sync("GET /1.0/labels/fixed/{x}/y", edit, s.call),
		rest.Sync("GET /internal/ready", edit, s.call).Global(),
		rest.Sync("PUT /1.0/operations/{id}", edit, s.call),
	}
	return append(routes, append(rest.Edit("/1.0/boxes/{name}", edit, rest.Editor[boxPut]{Load: s.load, Save: s.save}),
		rest.Edit("/1.0/crates/{name}", edit, rest.Editor[boxPut]{Load: s.load, Save: s.save, SaveAsync: s.saveAsync, PatchSync: true})...)...)
}

func (s *shelf) call(_ context.Context, c *rest.Call, _ rest.None) (string, error) {
	return fmt.Sprintf("name=%s path=%s x=%s project=%s all=%v recursion=%d fields=%q target=%s flag=%v who=%s by=%s/%s", c.PathValue("name"),
		c.PathValue("path"), c.PathValue("x"), c.Project, c.AllProjects, c.Recursion, c.Fields, c.Target(), c.Flag("flag"), c.Caller.Kind,
		op.CallerOf(c.Context()).Protocol, c.Query().Get("nothing")), nil
}

func (s *shelf) list(_ context.Context, c *rest.Call) iter.Seq2[rest.Item[box], error] {
	return func(yield func(rest.Item[box], error) bool) {
		for _, b := range s.boxes {
			it := rest.Item[box]{URL: "/1.0/boxes/" + b.Name, Value: func(int) box { return b }}
			if b.Config == nil {
				it.JSON = func(n int) []byte { return fmt.Appendf(nil, `{"kept":%d}`, n) }
			}
			var err error
			if b.Name == "broken" {
				err = errs.Newf(errs.Internal, "broken box")
			}
			if !yield(it, err) {
				return
			}
		}
	}
}

func (s *shelf) load(_ context.Context, c *rest.Call) (boxPut, any, error) {
	if c.PathValue("name") == "missing" {
		return boxPut{}, nil, errs.Newf(errs.NotFound, "no such box")
	}
	return s.put, s.put.Config, nil
}

func (s *shelf) save(_ context.Context, c *rest.Call, next boxPut) error {
	s.put = next
	s.calls = append(s.calls, c.Method)
	return nil
}

func (s *shelf) saveAsync(_ context.Context, _ *rest.Call, next boxPut) (op.Spec, error) {
	return op.Spec{Kind: "save", Run: func(context.Context, *op.Task) error { return nil }}, nil
}

func admin(*http.Request) (auth.Identity, error) {
	return auth.Identity{Kind: auth.Unix, Name: "root", Admin: true}, nil
}

func newServer(t *testing.T) *rest.Server {
	s := &rest.Server{Self: "m1", Ops: op.NewManager(t.Context(), op.Options{}), Auth: admin,
		Project: func(_ context.Context, name string) error {
			if name == "default" || name == "p" {
				return nil
			}
			return errs.Newf(errs.NotFound, "project %q not found", name)
		},
		Forward: func(w http.ResponseWriter, _ *http.Request, member string) { w.Header().Set("Member", member) },
	}
	s.SetPhase(rest.Serving)
	return s
}

func do(h http.Handler, method, url, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func boxes() []box {
	return []box{{Name: "a", Config: map[string]string{"limits.cpu": "2"}}, {Name: "b"}}
}

const (
	okHead   = `{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":`
	pathText = `"name=%s path=%s x=%s project=default all=false recursion=0 fields=[] target= flag=false who=unix by=unix/"}`
)

func refused(code int, text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"type":"error","status":"","status_code":0,"operation":"","error_code":%d,"error":%s,"metadata":null}`, code, b)
}

func TestAnswers(t *testing.T) {
	mozilla := []string{"User-Agent", "Mozilla/5.0", "Content-Type", "text/plain"}
	for name, c := range map[string]struct {
		method, url, body string
		header            []string
		code              int
		want              string
	}{
		"unknown path":         {"GET", "/1.0/nope", "", nil, 404, refused(404, "not found")},
		"odd method":           {"BREW", "/1.0/boxes", "", nil, 404, refused(404, "not found")},
		"missing method":       {"DELETE", "/1.0/boxes", "", nil, 501, refused(501, "DELETE is not implemented for /1.0/boxes")},
		"head is not get":      {"HEAD", "/1.0/boxes", "", nil, 501, refused(501, "HEAD is not implemented for /1.0/boxes")},
		"options":              {"OPTIONS", "/1.0/boxes", "", nil, 200, ""},
		"trailing slash":       {"GET", "/1.0/boxes/", "", nil, 404, refused(404, "not found")},
		"no path cleaning":     {"GET", "/1.0//boxes", "", nil, 404, refused(404, "not found")},
		"dots stay":            {"GET", "/1.0/x/../boxes", "", nil, 404, refused(404, "not found")},
		"escaped slash":        {"GET", "/1.0/boxes/a%2Fb/call", "", nil, 200, okHead + fmt.Sprintf(pathText, "a/b", "", "")},
		"escaped percent":      {"GET", "/1.0/boxes/a%2525/call", "", nil, 200, okHead + fmt.Sprintf(pathText, "a%25", "", "")},
		"rest of the path":     {"GET", "/1.0/labels/x/y/z", "", nil, 200, okHead + fmt.Sprintf(pathText, "", "x/y/z", "")},
		"literal before rest":  {"GET", "/1.0/labels/fixed/q/y", "", nil, 200, okHead + fmt.Sprintf(pathText, "", "", "q")},
		"back from a literal":  {"GET", "/1.0/labels/fixed/q", "", nil, 200, okHead + fmt.Sprintf(pathText, "", "fixed/q", "")},
		"error":                {"GET", "/1.0/boxes/a/fail", "", nil, 409, refused(409, "box is taken")},
		"panic":                {"GET", "/1.0/boxes/a/panic", "", nil, 500, refused(500, "internal error: ouch")},
		"odd status":           {"POST", "/1.0/boxes/a/label", "", nil, 429, refused(429, "slow down")},
		"error after the body": {"GET", "/1.0/boxes/a/label", "", nil, 200, "label"},
		"created":              {"POST", "/1.0/boxes", `{"name":"n"}`, nil, 201, okHead + "null}"},
		"no body":              {"POST", "/1.0/boxes", " ", nil, 400, refused(400, "request body is empty: send a JSON object")},
		"malformed":            {"POST", "/1.0/boxes", "{\n  \"name\" \"x\"}", nil, 400, refused(400, "request body at line 2, column 10: invalid character '\"' after object key")},
		"wrong type":           {"POST", "/1.0/boxes", `{"name":5}`, nil, 400, refused(400, "request body at line 1, column 9: json: cannot unmarshal number into Go struct field box.name of type string")},
		"trailing garbage":     {"POST", "/1.0/boxes", `{"name":"x"} {}`, nil, 400, refused(400, "request body at line 1, column 14: invalid character '{' after top-level value")},
		"same key twice":       {"POST", "/1.0/boxes", `{"a":[{"b":1}],"name":"x","config":{"k":"1","k":"2"}}`, nil, 400, refused(400, `request body at line 1, column 47: key "k" appears twice`)},
		"unknown keys pass":    {"POST", "/1.0/boxes", `{"name":"x","zzz":1}`, nil, 201, okHead + "null}"},
		"body too large":       {"POST", "/1.0/boxes", `{"name":"` + strings.Repeat("x", 5<<20) + `"}`, nil, 400, refused(400, "request body is larger than 4 MiB")},
		"browser, wrong type":  {"POST", "/1.0/boxes", `{"name":"x"}`, mozilla, 415, refused(415, `content type "text/plain" is not allowed here: send application/json`)},
		"browser, right type":  {"POST", "/1.0/boxes", `{"name":"x"}`, []string{"User-Agent", "Mozilla/5.0", "Content-Type", "application/json; charset=utf-8"}, 201, okHead + "null}"},
		"browser, upload":      {"POST", "/1.0/boxes/a/label", "x", []string{"User-Agent", "Mozilla/5.0", "Content-Type", "application/octet-stream"}, 429, refused(429, "slow down")},
		"browser, read":        {"GET", "/1.0/boxes", "", mozilla, 200, okHead + `[]}`},
		"cross-site":           {"GET", "/1.0/boxes", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, refused(403, "request from another web site is not allowed")},
		"same-site":            {"GET", "/1.0/boxes", "", []string{"Sec-Fetch-Site", "same-site"}, 403, refused(403, "request from another web site is not allowed")},
		"same-origin":          {"GET", "/1.0/boxes", "", []string{"Sec-Fetch-Site", "same-origin"}, 200, okHead + `[]}`},
		"unknown project":      {"GET", "/1.0/boxes?project=q", "", nil, 404, refused(404, `project "q" not found`)},
		"unknown, not asked":   {"GET", "/1.0/boxes/a/global?project=q", "", nil, 200, okHead + strings.Replace(fmt.Sprintf(pathText, "a", "", ""), "default", "q", 1)},
		"project and all":      {"GET", "/1.0/boxes?project=p&all-projects=TRUE", "", nil, 400, refused(400, "all-projects and project exclude each other: send one of them")},
		"all projects":         {"GET", "/1.0/boxes?all-projects=on", "", nil, 200, okHead + `[]}`},
		"bad recursion":        {"GET", "/1.0/boxes?recursion=x", "", nil, 400, refused(400, `recursion "x" is not a number: send 0, 1 or 2`)},
		"bad recursion passes": {"GET", "/1.0/crates?recursion=x", "", nil, 200, okHead + `null}`},
		"bad filter":           {"GET", "/1.0/boxes?filter=name", "", nil, 400, refused(400, "filter ends early: a comparison is FIELD eq VALUE or FIELD ne VALUE")},
		"bad filter, lenient":  {"GET", "/1.0/crates?filter=name", "", nil, 500, refused(500, "filter ends early: a comparison is FIELD eq VALUE or FIELD ne VALUE")},
		"broken query":         {"GET", "/1.0/boxes?a=%zz", "", nil, 400, refused(400, `query "a=%zz": invalid URL escape "%zz"`)},
		"forwarded":            {"GET", "/1.0/boxes/a/far", "", nil, 200, ""},
		"placed here":          {"GET", "/1.0/boxes/a/near", "", nil, 200, okHead + fmt.Sprintf(pathText, "a", "", "")},
		"all parameters": {"GET", "/1.0/boxes/a/call?project=p&target=m3&flag=yes&recursion=2;fields=state.disk,state.network&fields=x", "", nil, 200,
			okHead + `"name=a path= x= project=p all=false recursion=2 fields=[\"state.disk\" \"state.network\" \"x\"] target=m3 flag=true who=unix by=unix/"}`},
		"no fields": {"GET", "/1.0/boxes/a/call?all-projects=1&recursion=2%3Bfields=", "", nil, 200,
			okHead + `"name=a path= x= project=default all=true recursion=2 fields=[] target= flag=false who=unix by=unix/"}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(newServer(t).Handler((&shelf{}).routes()), c.method, c.url, c.body, c.header...)
			if w.Code != c.code || strings.TrimSpace(w.Body.String()) != c.want {
				t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, c.code, c.want)
			}
			if sniff := w.Header().Get("X-Content-Type-Options"); (sniff == "nosniff") != (c.code >= 400) {
				t.Errorf("X-Content-Type-Options %q at %d", sniff, c.code)
			}
			if c.want != "" && c.want != "label" && w.Header().Get("Content-Type") != "application/json" {
				t.Error(w.Header())
			}
		})
	}
}

func TestLists(t *testing.T) {
	for url, want := range map[string]string{
		"/1.0/boxes":                                 `["/1.0/boxes/a","/1.0/boxes/b"]`,
		"/1.0/boxes?recursion=1":                     `[{"name":"a","config":{"limits.cpu":"2"}},{"kept":1}]`,
		"/1.0/boxes?recursion=2":                     `[{"name":"a","config":{"limits.cpu":"2"}},{"kept":2}]`,
		"/1.0/boxes?filter=name+eq+B":                `["/1.0/boxes/b"]`,
		"/1.0/boxes?filter=config.limits.cpu+eq+2":   `["/1.0/boxes/a"]`,
		"/1.0/boxes?recursion=2&filter=name+ne+a":    `[{"kept":2}]`,
		"/1.0/crates?filter=name+eq+zzz&recursion=1": `null`,
		"/1.0/boxes?filter=name+eq+zzz":              `[]`,
	} {
		w := do(newServer(t).Handler((&shelf{boxes: boxes()}).routes()), "GET", url, "")
		if w.Code != 200 || w.Body.String() != okHead+want+"}\n" {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
		if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
			t.Errorf("%s: Content-Length %s of %d", url, got, w.Body.Len())
		}
	}
	for url, code := range map[string]int{"/1.0/boxes?recursion=1": 500, "/1.0/boxes?filter=zzz+eq+1": 500} {
		w := do(newServer(t).Handler((&shelf{boxes: []box{{Name: "a"}, {Name: "broken"}}}).routes()), "GET", url, "")
		if w.Code != code || !strings.Contains(w.Body.String(), `"metadata":null`) {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
	odd := do(newServer(t).Handler((&shelf{boxes: []box{{Name: `q"é`}}}).routes()), "GET", "/1.0/boxes", "")
	var e struct{ Metadata []string }
	if err := json.Unmarshal(odd.Body.Bytes(), &e); err != nil || e.Metadata[0] != `/1.0/boxes/q"é` {
		t.Error(odd.Body, err)
	}
}

// granted gives can_view on the URLs it holds.
type granted map[string]bool

func (g granted) Allows(o auth.Object, entitlement string) bool {
	return g[o.Entity+" "+o.Project+" "+o.URL+" "+entitlement]
}

func TestRights(t *testing.T) {
	for name, c := range map[string]struct {
		id     auth.Identity
		url    string
		header []string
		code   int
		want   string
	}{
		"untrusted":               {auth.Identity{}, "/1.0/boxes/a/call", nil, 403, "does not trust"},
		"untrusted on public":     {auth.Identity{}, "/1.0/boxes/a", nil, 200, `"name":"a"`},
		"untrusted that says not": {auth.Identity{}, "/1.0/boxes/a", []string{"X-LXD-authenticated", "true"}, 403, "does not trust"},
		"untrusted, no project":   {auth.Identity{}, "/1.0/boxes/a/call?project=q", nil, 403, "does not trust"},
		"list of another's":       {auth.Identity{Kind: auth.TLS, Rights: granted{"instance default /1.0/boxes/b can_view": true}}, "/1.0/boxes", nil, 403, "projects/default"},
		"list of no project":      {auth.Identity{Kind: auth.TLS, Rights: granted{}}, "/1.0/boxes?project=none", nil, 403, "projects/none"},
		"list of its project":     {auth.Identity{Kind: auth.TLS, Rights: granted{"instance default /1.0/boxes/b can_view": true, "project  /1.0/projects/default can_view": true}}, "/1.0/boxes", nil, 200, `["/1.0/boxes/b"]`},
		"list of all projects":    {auth.Identity{Kind: auth.TLS, Rights: granted{"instance default /1.0/boxes/b can_view": true}}, "/1.0/boxes?all-projects=true", nil, 200, `["/1.0/boxes/b"]`},
		"list shows what it may":  {auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{"instance default /1.0/boxes/b can_view": true}}, "/1.0/boxes", nil, 200, `["/1.0/boxes/b"]`},
		"list below another's":    {auth.Identity{Kind: auth.TLS, Rights: granted{}}, "/1.0/boxes/b/lids?all-projects=true", nil, 403, "can_view on /1.0/boxes/b is needed"},
		"list below a hidden one": {auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{}}, "/1.0/boxes/b/lids", nil, 404, "/1.0/boxes/b not found"},
		"list below its own":      {auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{"instance default /1.0/boxes/b can_view": true}}, "/1.0/boxes/b/lids", nil, 200, "[\"/1.0/boxes/b\"]"},
		"not by the server":       {auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{}}, "/1.0/boxes/a/call", nil, 403, "can_edit on /1.0 is needed"},
		"by the server":           {auth.Identity{Kind: auth.OIDC, FineGrained: true, Rights: granted{"server  /1.0 can_edit": true}}, "/1.0/boxes/a/call", nil, 200, "name=a"},
	} {
		s := newServer(t)
		s.Auth = func(*http.Request) (auth.Identity, error) { return c.id, nil }
		w := do(s.Handler((&shelf{boxes: boxes()}).routes()), "GET", c.url, "", c.header...)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	s := newServer(t)
	s.Auth = func(*http.Request) (auth.Identity, error) {
		return auth.Identity{}, errs.Newf(errs.Forbidden, "bad token")
	}
	if w := do(s.Handler((&shelf{}).routes()), "GET", "/1.0/boxes", ""); w.Code != 403 {
		t.Error(w.Code)
	}
}

func TestETagAndLocation(t *testing.T) {
	h := newServer(t).Handler((&shelf{}).routes())
	w := do(h, "GET", "/1.0/boxes/a", "")
	// sha256 of ["a"] and a newline
	if got := w.Header().Get("ETag"); got != `"92260ea0cbd70738c0bccba89c8dbf5881ec50d1a09891ea531aa254a783c9cd"` {
		t.Error(got)
	}
	if w = do(h, "POST", "/1.0/boxes", `{"name":"n"}`); w.Header().Get("Location") != "/1.0/boxes/n" {
		t.Error(w.Header())
	}
	w = do(h, "POST", "/1.0/boxes/a/open", "")
	var e struct {
		Type, Status, Operation, Error string
		StatusCode                     int `json:"status_code"`
		ErrorCode                      int `json:"error_code"`
		Metadata                       struct{ ID, Description string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	if w.Code != 202 || e.Type != "async" || e.StatusCode != 100 || e.Status != "Operation created" || e.Metadata.Description != "Opening box" ||
		e.Operation != "/1.0/operations/"+e.Metadata.ID || w.Header().Get("Location") != e.Operation {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestEdit(t *testing.T) {
	start := boxPut{Description: "d", Config: map[string]string{"a": "1", "b": "2"}, Profiles: []string{"p"},
		Devices: map[string]map[string]string{"eth0": {"type": "nic", "name": "eth0"}, "root": {"type": "disk"}}}
	tag, err := rest.ETag(start.Config)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method, body, match string
		code                int
		want                string
	}{
		"put replaces all":          {"PUT", `{"config":{"c":"3"}}`, "", 200, `{"description":"","config":{"c":"3"},"devices":null,"profiles":null}`},
		"put with the right tag":    {"PUT", `{}`, tag, 200, `{"description":"","config":null,"devices":null,"profiles":null}`},
		"put, tag without quotes":   {"PUT", `{}`, strings.Trim(tag, `"`), 200, `{"description":"","config":null,"devices":null,"profiles":null}`},
		"put with another tag":      {"PUT", `{}`, `"abc"`, 412, ""},
		"patch with another tag":    {"PATCH", `{}`, `*`, 412, ""},
		"patch nothing":             {"PATCH", `{}`, "", 200, `{"description":"d","config":{"a":"1","b":"2"},"devices":{"eth0":{"name":"eth0","type":"nic"},"root":{"type":"disk"}},"profiles":["p"]}`},
		"patch null leaves":         {"PATCH", `{"config":null,"devices":null,"profiles":null}`, "", 200, `{"description":"d","config":{"a":"1","b":"2"},"devices":{"eth0":{"name":"eth0","type":"nic"},"root":{"type":"disk"}},"profiles":["p"]}`},
		"patch merges and removes":  {"PATCH", `{"description":"e","config":{"a":"","c":"3","b":null},"devices":{"eth0":null,"root":{"pool":"x"}},"profiles":[]}`, "", 200, `{"description":"e","config":{"c":"3"},"devices":{"root":{"pool":"x"}},"profiles":[]}`},
		"malformed":                 {"PATCH", `{"config":{`, "", 400, ""},
		"patch of the wrong type":   {"PATCH", `{"config":[]}`, "", 400, ""},
		"patch, not even an object": {"PATCH", `[]`, "", 400, ""},
		"patch with a key repeated": {"PATCH", `{"config":{"a":"1","a":"2"}}`, "", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{put: start}
			header := []string{"If-Match", c.match}
			if c.match == "" {
				header = nil
			}
			w := do(newServer(t).Handler(s.routes()), c.method, "/1.0/boxes/a", c.body, header...)
			if w.Code != c.code {
				t.Fatal(w.Code, w.Body)
			}
			if got, _ := json.Marshal(s.put); c.code == 200 && string(got) != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			if c.code == 200 && w.Body.String() != okHead+"{}}\n" {
				t.Error(w.Body)
			}
			if c.code != 200 && len(s.calls) > 0 {
				t.Error("saved nevertheless")
			}
		})
	}
	if len(start.Config) != 2 || len(start.Devices) != 2 || len(start.Devices["root"]) != 1 {
		t.Errorf("what Load returned was changed: %+v", start)
	}
	h := newServer(t).Handler((&shelf{}).routes())
	for _, c := range []struct {
		method, url string
		code        int
	}{{"PUT", "/1.0/boxes/missing", 404}, {"PUT", "/1.0/crates/a", 202}, {"PATCH", "/1.0/crates/a", 200}} {
		if w := do(h, c.method, c.url, "{}"); w.Code != c.code {
			t.Errorf("%s %s: %d %s", c.method, c.url, w.Code, w.Body)
		}
	}
}

func TestPhases(t *testing.T) {
	for _, c := range []struct {
		phase       rest.Phase
		method, url string
		code        int
	}{
		{rest.Starting, "GET", "/1.0/boxes", 503},
		{rest.Starting, "GET", "/internal/ready", 200},
		{rest.Stopping, "GET", "/1.0/boxes", 200},
		{rest.Stopping, "POST", "/1.0/boxes", 503},
		{rest.Stopping, "PUT", "/1.0/operations/x", 200},
		{rest.Stopping, "GET", "/internal/ready", 200},
	} {
		s := newServer(t)
		s.SetPhase(c.phase)
		if w := do(s.Handler((&shelf{}).routes()), c.method, c.url, `{"name":"x"}`); w.Code != c.code || s.Phase() != c.phase {
			t.Errorf("%v %s %s: %d", c.phase, c.method, c.url, w.Code)
		}
	}
}

func TestTablesAreChecked(t *testing.T) {
	ok := func(context.Context, *rest.Call, rest.None) (rest.None, error) { return rest.None{}, nil }
	a := rest.Sync("GET /a", auth.Public, ok)
	for name, table := range map[string][]rest.Route{
		"no access":          {rest.Sync("GET /a", rest.Access{}, ok)},
		"unknown right":      {rest.Sync("GET /a", auth.Can("server", "can_fly"), ok)},
		"no method":          {rest.Sync("/a", auth.Public, ok)},
		"twice":              {a, a},
		"behind the rest":    {rest.Sync("GET /a/{b...}/c", auth.Public, ok)},
		"twice, other names": {rest.Sync("GET /a/{b}", auth.Public, ok), rest.Sync("GET /a/{c}", auth.Public, ok)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the table is taken", name)
				}
			}()
			newServer(t).Handler(table)
		}()
	}
	if got := rest.Patterns([]rest.Route{a}, rest.Edit("/b", auth.Public, rest.Editor[boxPut]{})); strings.Join(got, " ") != "GET /a PUT /b PATCH /b" {
		t.Error(got)
	}
	if a.In.String() != "rest.None" || a.Kind != rest.SyncKind {
		t.Error(a)
	}
}

// big is a list whose answer is worth compressing.
func big() *shelf {
	s := &shelf{}
	for i := range 1000 {
		s.boxes = append(s.boxes, box{Name: fmt.Sprintf("box-%d", i)})
	}
	return s
}

func TestGzipOnlyOverANetwork(t *testing.T) {
	h := newServer(t).Handler(big().routes())
	plain := do(h, "GET", "/1.0/boxes?recursion=1", "")
	packed := do(h, "GET", "/1.0/boxes?recursion=1", "", "Accept-Encoding", "gzip")
	if packed.Header().Get("Content-Encoding") != "gzip" || plain.Header().Get("Content-Encoding") != "" || packed.Body.Len() > plain.Body.Len()/2 {
		t.Fatal(packed.Header(), packed.Body.Len(), plain.Body.Len())
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain.Body.Bytes()) {
		t.Error("the packed answer is another one", err)
	}
	if small := do(h, "GET", "/1.0/boxes/a", "", "Accept-Encoding", "gzip"); small.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer was packed")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	defer srv.Close()
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	r, err := http.NewRequest("GET", "http://unix/1.0/boxes?recursion=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(b, plain.Body.Bytes()) {
		t.Error(resp.Header, err)
	}
}

func TestHandlersCanTakeTheConnection(t *testing.T) {
	hijack := rest.Raw("GET /h", auth.Public, func(w http.ResponseWriter, _ *rest.Call) error {
		w.(http.Flusher).Flush()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "mine now\n")
		return errors.Join(err, conn.Close())
	})
	copied := rest.Raw("GET /c", auth.Public, func(w http.ResponseWriter, _ *rest.Call) error {
		_, err := io.Copy(w, bufio.NewReader(strings.NewReader("copied")))
		return err
	})
	abort := rest.Raw("GET /a", auth.Public, func(http.ResponseWriter, *rest.Call) error { panic(http.ErrAbortHandler) })
	srv := httptest.NewServer(newServer(t).Handler([]rest.Route{hijack, copied, abort}))
	defer srv.Close()
	conn, err := net.DialTimeout("tcp", srv.Listener.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /h HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(b), "mine now\n") {
		t.Errorf("%q %v", b, err)
	}
	resp, err := http.Get(srv.URL + "/c")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "copied" {
		t.Error(string(b), err)
	}
	if _, err := http.Get(srv.URL + "/a"); err == nil {
		t.Error("an aborted answer looks whole")
	}
}

func TestResult(t *testing.T) {
	b, err := rest.Result(nil, errs.Newf(errs.NotFound, "gone"))
	if err != nil || string(b) != refused(404, "gone")+"\n" {
		t.Error(string(b), err)
	}
	for kind, code := range map[errs.Kind]int{errs.Internal: 500, errs.Invalid: 400, errs.Forbidden: 403, errs.NotFound: 404, errs.Conflict: 409,
		errs.Precondition: 412, errs.Unsupported: 501, errs.Unavailable: 503, errs.Canceled: 400, errs.TooMany: 429} {
		if got := rest.StatusOf(errs.Newf(kind, "x")); got != code {
			t.Errorf("kind %v has status %d", kind, got)
		}
	}
}

func BenchmarkListOfKeptObjects(b *testing.B) {
	kept := bytes.Repeat([]byte("x"), 2000)
	list := func(context.Context, *rest.Call) iter.Seq2[rest.Item[box], error] {
		return func(yield func(rest.Item[box], error) bool) {
			for range 10_000 {
				if !yield(rest.Item[box]{URL: "/1.0/boxes/a", JSON: func(int) []byte { return kept }}, nil) {
					return
				}
			}
		}
	}
	srv := &rest.Server{Auth: admin}
	srv.SetPhase(rest.Serving)
	h := srv.Handler([]rest.Route{rest.List("GET /1.0/boxes", auth.Authenticated, list)})
	path := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	defer server.Close()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	for b.Loop() {
		resp, err := client.Get("http://unix/1.0/boxes?recursion=2")
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || n < 20_000_000 {
			b.Fatal(n, err)
		}
		resp.Body.Close()
	}
}
