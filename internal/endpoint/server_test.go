package endpoint_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
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
	w := newWorld(t)
	w.who = auth.Identity{}
	var m api.MetadataConfiguration
	w.do(t, "GET", "/1.0/metadata/configuration", "").into(t, &m)
	keys := m.Configs["server"]["core"].Keys
	if len(keys) != 22 || keys[0]["core.auth_secret_expiry"].DefaultDescription != "1m" || keys[1]["core.bgp_address"].Scope != "local" {
		t.Errorf("%+v", keys)
	}
	if e := m.Entities["instance"]; !e.ProjectSpecific || len(e.Entitlements) == 0 || m.Entities["server"].ProjectSpecific {
		t.Errorf("%+v", m.Entities)
	}
}
