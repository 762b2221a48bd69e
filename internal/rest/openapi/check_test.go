package openapi_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/internal/rest"
	"lxd/internal/rest/openapi"
)

const (
	head    = `{"type":"sync","status":"Success","status_code":200,"operation":"","error_code":0,"error":"","metadata":`
	profile = `{"name":"a","description":"","config":{},"devices":{},"used_by":[],"project":"default"}`
	failed  = `{"type":"error","status":"","status_code":0,"operation":"","error_code":404,"error":"gone","metadata":null}`
	work    = `{"id":"1","class":"task","description":"","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00.5+01:00",` +
		`"status":"Running","status_code":103,"resources":null,"metadata":null,"may_cancel":true,"err":"","location":"none"}`
	begun = `{"type":"async","status":"Operation created","status_code":100,"operation":"/1.0/operations/1","error_code":0,"error":"","metadata":` + work + `}`
)

func TestCheck(t *testing.T) {
	c, err := openapi.NewChecker(string(built(t)), rest.Find(table()))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		request, sent string
		status        int
		body          string
		// want is part of the fault; "" is none.
		want string
	}{
		{"GET /1.0/profiles", "", 200, head + `["/1.0/profiles/a"]}`, ""},
		{"GET /1.0/profiles?recursion=1&all-projects=true", "", 200, head + `[` + profile + `]}`, ""},
		{"GET /1.0/profiles?recursion=1", "", 200, head + `["/1.0/profiles/a"]}`, "metadata: /0: got string, want object"},
		{"GET /1.0/profiles?recursion=2;fields=x", "", 200, head + `["/1.0/profiles/a"]}`, "metadata: /0: got string, want object"},
		{"GET /1.0/profiles?recursion=much", "", 200, head + `[]}`, ""},
		{"GET /1.0/profiles", "", 200, head + `null}`, "got null, want array"},
		{"GET /1.0/profiles?colour=red", "", 200, head + `[]}`, "the query has colour"},
		{"GET /1.0/profiles", "", 202, begun, "the status is not described"},
		{"GET /1.0/profiles/a?project=p", "", 200, head + profile + `}`, ""},
		{"GET /1.0/profiles/a", "", 200, head + strings.Replace(profile, `"used_by":[],`, ``, 1) + `}`, "/metadata: missing property 'used_by'"},
		{"GET /1.0/profiles/a", "", 200, head + strings.Replace(profile, `"name"`, `"colour":"red","name"`, 1) + `}`, "/metadata: additional properties 'colour' not allowed"},
		{"GET /1.0/profiles/a", "", 200, strings.Replace(head, `"error":"",`, ``, 1) + profile + `}`, "missing property 'error'"},
		{"GET /1.0/profiles/a", "", 200, strings.Replace(head, `"error"`, `"more":1,"error"`, 1) + profile + `}`, "additional properties 'more' not allowed"},
		{"GET /1.0/profiles/a", "", 200, `text`, "not JSON"},
		{"GET /1.0/profiles/a", "", 404, failed, ""},
		{"GET /1.0/profiles/a", "", 400, failed, "the error_code is 404"},
		{"GET /1.0/profiles/a", "", 404, strings.Replace(failed, `gone`, ``, 1), "/error: minLength"},
		{"GET /1.0/colours", "", 404, failed, ""},
		{"GET /1.0/colours", "", 200, head + `[]}`, "nothing is described there"},
		{"PUT /1.0/profiles/a", `{"config":{"user.a":"1","user.b":null}}`, 200, head + `{}}`, ""},
		{"PUT /1.0/profiles/a", `{"confid":{}}`, 200, head + `{}}`, "request: /: additional properties 'confid' not allowed"},
		{"PUT /1.0/profiles/a", `{"config":{"a":1}}`, 200, head + `{}}`, "request: /config/a: got number"},
		{"PUT /1.0/profiles/a", `{}`, 200, head + `null}`, "/metadata: got null, want object"},
		{"POST /1.0/profiles", `{"name":"a","devices":null}`, 201, head + `null}`, ""},
		{"DELETE /1.0/profiles/a?force=1", `{}`, 202, begun, ""},
		{"DELETE /1.0/profiles/a", "", 202, strings.Replace(begun, `2026-01-01T00:00:00Z`, `today`, 1), "/metadata/created_at: 'today' is not valid date-time"},
		{"GET /1.0/wait", "", 200, head + work + `}`, ""},
		{"GET /1.0/wait", "", 200, failed, ""},
		{"GET /1.0/wait", "", 200, head + `{}}`, "/metadata: missing properties 'id'"},
		{"OPTIONS /1.0/profiles", "", 200, "", ""},
		{"GET /internal/ready", "", 200, "ready", ""},
	} {
		method, target, _ := strings.Cut(x.request, " ")
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("Content-Type", "application/json")
		err := c.Check(openapi.Exchange{Request: r, Sent: []byte(x.sent), Status: x.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(x.body)})
		if (err == nil) != (x.want == "") || err != nil && (!strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), x.request)) {
			t.Errorf("%s %s %s: %v, want %q", x.request, x.sent, x.body, err, x.want)
		}
	}
}

// Content has a declared type, whatever it holds; packed JSON is unpacked.
func TestCheckContent(t *testing.T) {
	c, err := openapi.NewChecker(string(built(t)), rest.Find(table()))
	if err != nil {
		t.Fatal(err)
	}
	check := func(target string, status int, body []byte, header ...string) error {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return c.Check(openapi.Exchange{Request: httptest.NewRequest("GET", target, nil), Status: status, Header: h, Body: body})
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(head + `["a"]}`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	const file = "/1.0/profiles/a/files/etc/hosts?path=/x"
	for name, err := range map[string]error{
		"bytes":  check(file, 200, []byte("x"), "Content-Type", "application/octet-stream"),
		"folder": check(file, 200, []byte(head+`["a"]}`), "Content-Type", "application/json"),
		"packed": check(file, 200, packed.Bytes(), "Content-Type", "application/json", "Content-Encoding", "gzip"),
		"same":   check(file, 304, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"type":         check(file, 200, []byte("x"), "Content-Type", "text/html"),
		"not packed":   check(file, 200, []byte("x"), "Content-Type", "application/json", "Content-Encoding", "gzip"),
		"error":        check(file, 404, []byte("gone"), "Content-Type", "text/plain"),
		"error packed": check(file, 404, []byte("gone"), "Content-Type", "application/json", "Content-Encoding", "gzip"),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for _, bad := range []string{"", "[]", "{"} {
		if _, err := openapi.NewChecker(bad, nil); err == nil {
			t.Errorf("%q is a document", bad)
		}
	}
}
