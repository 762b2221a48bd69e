package endpoint_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint"
	"lxd/internal/rest"
	"lxd/internal/schema"
	"lxd/internal/server"
)

func TestRoot(t *testing.T) {
	w := newWorld(t)
	if a := w.do(t, "GET", "/", ""); a.HTTP != 200 || string(a.Metadata) != `["/1.0"]` {
		t.Error(a)
	}
	if a := w.do(t, "GET", "/", "", "User-Agent", "Mozilla/5.0"); a.HTTP != 301 || a.Get("Location") != "/ui/" {
		t.Error(a)
	}
}

func TestServerIsShown(t *testing.T) {
	w := newWorld(t)
	a := w.do(t, "GET", "/1.0", "")
	var s api.Server
	a.into(t, &s)
	if s.Auth != "trusted" || s.AuthUserName != "root" || s.AuthUserMethod != "unix" || s.APIVersion != "1.0" || s.APIStatus != "stable" ||
		s.Environment.Server != "lxd" || s.Environment.ServerVersion != "6.7" || s.Config["volatile.uuid"] == nil || s.APIExtensions == nil ||
		strings.Join(s.AuthMethods, " ") != "tls bearer" || s.Environment.Project != "default" {
		t.Errorf("%+v", s)
	}
	if len(a.Get("ETag")) != 66 {
		t.Error(a.Header)
	}
}

func TestServerHidesFromStrangers(t *testing.T) {
	w := newWorld(t)
	id := w.uuid(t)
	w.do(t, "PUT", "/1.0", `{"config":{"volatile.uuid":"`+id+`","user.secret":"x"}}`)
	w.who = auth.Identity{}
	var m map[string]any
	w.do(t, "GET", "/1.0", "").into(t, &m)
	if m["auth"] != "untrusted" || m["environment"] != nil || len(m["config"].(map[string]any)) != 0 || m["auth_user_name"] != nil {
		t.Error(m)
	}
	if a := w.do(t, "PATCH", "/1.0", `{}`); a.HTTP != 403 {
		t.Error(a)
	}
	w.who = auth.Identity{Kind: auth.TLS} // trusted, but may not edit
	w.do(t, "GET", "/1.0", "").into(t, &m)
	if m["auth"] != "trusted" || m["environment"] == nil || len(m["config"].(map[string]any)) != 0 {
		t.Error(m)
	}
	w.who = auth.Identity{Kind: auth.Unix, Admin: true}
	w.do(t, "PATCH", "/1.0", `{"config":{"user.microcloud":"yes"}}`)
	w.who = auth.Identity{}
	w.do(t, "GET", "/1.0", "").into(t, &m)
	if c := m["config"].(map[string]any); len(c) != 1 || c["user.microcloud"] != "yes" {
		t.Error(m)
	}
}

func (w *world) uuid(t *testing.T) string {
	t.Helper()
	var s api.Server
	w.do(t, "GET", "/1.0", "").into(t, &s)
	return s.Config["volatile.uuid"].(string)
}

func TestServerIsEdited(t *testing.T) {
	w := newWorld(t)
	id := w.uuid(t)
	for _, c := range []struct {
		method, body, say string
		code              int
		config            string
	}{
		{"PATCH", `{"config":{"user.a":"1","user.b":"2"}}`, "", 200, `{"user.a":"1","user.b":"2"}`},
		{"PATCH", `{"config":{"user.a":""}}`, "", 200, `{"user.b":"2"}`},
		{"PATCH", `{"config":{"core.nope":"1"}}`, `Cannot set "core.nope" to "1": Unknown key`, 400, `{"user.b":"2"}`},
		{"PATCH", `{"config":{"user.b":3}}`, `must be a string`, 400, `{"user.b":"2"}`},
		{"PUT", `{"config":{"user.c":"3"}}`, "volatile.uuid", 400, `{"user.b":"2"}`},
		{"PUT", `{"config":{"user.c":"3","volatile.uuid":"` + id + `"}}`, "", 200, `{"user.c":"3"}`},
	} {
		a := w.do(t, c.method, "/1.0", c.body)
		if a.HTTP != c.code || !strings.Contains(a.Error, c.say) {
			t.Errorf("%s %s: %+v", c.method, c.body, a)
		}
		var s api.Server
		w.do(t, "GET", "/1.0", "").into(t, &s)
		delete(s.Config, "volatile.uuid")
		if b, err := json.Marshal(s.Config); err != nil || string(b) != c.config {
			t.Errorf("after %s %s: %s", c.method, c.body, b)
		}
	}
	tag := w.do(t, "GET", "/1.0", "").Get("ETag")
	if a := w.do(t, "PATCH", "/1.0", `{"config":{"user.c":"4"}}`, "If-Match", tag); a.HTTP != 200 {
		t.Error(a)
	}
	if a := w.do(t, "PATCH", "/1.0", `{"config":{"user.c":"5"}}`, "If-Match", tag); a.HTTP != 412 {
		t.Error(a)
	}
}

func TestMetadata(t *testing.T) {
	s := &rest.Server{Auth: func(*http.Request) (auth.Identity, error) { return auth.Identity{}, nil }}
	s.SetPhase(rest.Serving)
	tables := endpoint.Tables{"server": server.Table(), "instance": endpoint.Grouped("instance", "other", []schema.Key{
		{Name: "limits.memory.hugepages", Type: schema.Bool, Short: "Huge", Condition: "container"}}), "thing": {"some": {
		{Name: "things.address", Type: schema.OneOf("a", "b"), Short: "Where", Long: "Long."},
		{Name: "things.on", Type: schema.Bool, Default: "true", Condition: "sometimes", Short: "Whether"},
		{Name: "things.size", Type: schema.Size, Local: true, Short: "How big"}}}}
	answer := httptest.NewRecorder()
	s.Handler(endpoint.Metadata(tables)).ServeHTTP(answer, httptest.NewRequest("GET", "/1.0/metadata/configuration", nil))
	var envelope struct{ Metadata api.MetadataConfiguration }
	if err := json.Unmarshal(answer.Body.Bytes(), &envelope); err != nil {
		t.Fatal(err)
	}
	m := envelope.Metadata
	if len(m.Configs["instance"]["resource-limits"].Keys) != 1 {
		t.Errorf("%+v", m.Configs["instance"])
	}
	keys := map[string]api.MetadataConfigurationConfigKey{}
	for _, group := range m.Configs {
		for _, g := range group {
			for _, some := range g.Keys {
				maps.Copy(keys, some)
			}
		}
	}
	for name, want := range map[string]api.MetadataConfigurationConfigKey{
		"core.debug_address":      {ShortDescription: "Address of the debugging server", Type: "string", Scope: "local"},
		"core.shutdown_timeout":   {ShortDescription: "Minutes that a shutdown waits for running operations", Type: "integer", DefaultDescription: "5", Scope: "global"},
		"core.bgp_address":        {}, // is refused
		"things.address":          {ShortDescription: "Where", Type: "string", Scope: "global", LongDescription: "Long. Possible values are `a`, `b`."},
		"things.on":               {ShortDescription: "Whether", Type: "bool", DefaultDescription: "true", Scope: "global", Condition: "sometimes"},
		"limits.memory.hugepages": {ShortDescription: "Huge", Type: "bool", DefaultDescription: "false", Condition: "virtual machine"},
		"things.size":             {ShortDescription: "How big", Type: "string", Scope: "local"},
	} {
		if got := keys[name]; got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if e := m.Entities["instance"]; !e.ProjectSpecific || len(e.Entitlements) == 0 || m.Entities["server"].ProjectSpecific {
		t.Errorf("%+v", m.Entities)
	}
}
