package access_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/store"
	"lxd/internal/trust"
)

func TestNobodyGivesWhatHeHasNot(t *testing.T) {
	w := newWorld(t)
	w.group(t, "editors", [3]string{"server", "/1.0", "can_create_groups"}, [3]string{"server", "/1.0", "can_edit_groups"}, [3]string{"server", "/1.0", "can_view_groups"},
		[3]string{"server", "/1.0", "can_create_identities"}, [3]string{"server", "/1.0", "can_edit_identities"}, [3]string{"server", "/1.0", "can_view_identities"},
		[3]string{"server", "/1.0", "can_create_identity_provider_groups"}, [3]string{"server", "/1.0", "can_edit_identity_provider_groups"})
	w.group(t, "admins", [3]string{"server", "/1.0", "admin"})
	w.group(t, "managers", [3]string{"server", "/1.0", "permission_manager"})
	w.group(t, "nothing")
	editor := w.client(t, "editor", "editors")
	manager := w.client(t, "manager", "managers")
	boss := w.client(t, "boss", "admins")
	w.want(t, 201, "POST", "/1.0/auth/identity-provider-groups", `{"name": "chiefs", "groups": ["admins"]}`)
	const admin = `[{"entity_type": "server", "url": "/1.0", "entitlement": "admin"}]`
	const own = `[{"entity_type": "server", "url": "/1.0", "entitlement": "can_view_groups"}]`
	raise := []struct {
		method, path, body string
	}{
		{"POST", "/1.0/auth/groups", `{"name": "x", "permissions": ` + admin + `}`},
		{"PUT", "/1.0/auth/groups/editors", `{"permissions": ` + admin + `}`},
		{"PATCH", "/1.0/auth/groups/nothing", `{"permissions": ` + admin + `}`},
		{"PATCH", "/1.0/auth/identities/tls/" + trust.Fingerprint(editor), `{"groups": ["editors", "admins"]}`},
		{"PATCH", "/1.0/auth/identities/tls/" + trust.Fingerprint(boss), `{"tls_certificate": "` + text(foreign(t)) + `"}`},
		{"POST", "/1.0/auth/identities/tls", `{"name": "x", "groups": ["admins"], "certificate": "` + text(foreign(t)) + `"}`},
		{"POST", "/1.0/auth/identities/tls", `{"name": "y", "groups": ["admins"], "token": true}`},
		{"POST", "/1.0/auth/identities/bearer", `{"name": "x", "groups": ["admins"], "type": "Client token bearer"}`},
		{"POST", "/1.0/auth/identity-provider-groups", `{"name": "all", "groups": ["admins"]}`},
		{"POST", "/1.0/auth/identity-provider-groups/chiefs", `{"name": "staff"}`},
	}
	w.peer = editor
	for _, r := range raise {
		w.want(t, 403, r.method, r.path, r.body)
	}
	for _, r := range []struct {
		status             int
		method, path, body string
	}{
		{201, "POST", "/1.0/auth/groups", `{"name": "small", "permissions": ` + own + `}`},
		{200, "PATCH", "/1.0/auth/identities/tls/" + trust.Fingerprint(boss), `{"groups": ["admins", "small"]}`},
		{200, "PUT", "/1.0/auth/groups/admins", `{"description": "d", "permissions": ` + admin + `}`},
		{201, "POST", "/1.0/auth/identities/bearer", `{"name": "low", "groups": ["small"], "type": "Client token bearer"}`},
	} {
		w.want(t, r.status, r.method, r.path, r.body)
	}
	w.peer = manager
	for _, r := range raise[:len(raise)-1] {
		status := 200
		if r.method == "POST" {
			status = 201
		}
		if r.path == raise[4].path { // renaming what was renewed would meet another address
			continue
		}
		w.want(t, status, r.method, r.path, r.body)
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	w := newWorld(t)
	w.group(t, "some", [3]string{"project", "/1.0/projects/default", "can_view_events"})
	w.group(t, "secret")
	w.client(t, "hidden", "secret")
	w.want(t, 201, "POST", "/1.0/auth/identity-provider-groups", `{"name": "real"}`)
	w.peer = w.client(t, "clerk", "some")
	for _, kind := range []struct{ at, real string }{
		{"/1.0/auth/groups/", "secret"}, {"/1.0/auth/identities/tls/", "hidden"}, {"/1.0/auth/identity-provider-groups/", "real"},
	} {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			a, b := w.do(t, method, kind.at+kind.real, "{}"), w.do(t, method, kind.at+"nosuch", "{}")
			if a.HTTP != 404 || b.HTTP != 404 {
				t.Errorf("%s %s: %d %s, of what there is not %d %s", method, kind.at+kind.real, a.HTTP, a.Error, b.HTTP, b.Error)
			}
		}
	}
	for _, path := range []string{"/1.0/auth/groups", "/1.0/auth/identity-provider-groups"} {
		if a := w.want(t, 200, "GET", path, ""); string(a.Metadata) != "[]" {
			t.Error(path, string(a.Metadata))
		}
		w.want(t, 403, "POST", path, `{"name": "mine"}`)
	}
	if all := into[[]api.Identity](t, w.want(t, 200, "GET", "/1.0/auth/identities?recursion=1", "")); len(all) != 1 || all[0].Name != "clerk" || len(all[0].Groups) != 1 {
		t.Error(all)
	}
	w.want(t, 403, "GET", "/1.0/auth/permissions", "")
}

func TestHiddenGroupsLookLikeMissingOnes(t *testing.T) {
	w := newWorld(t)
	w.group(t, "secret", [3]string{"server", "/1.0", "admin"})
	w.group(t, "makers", [3]string{"server", "/1.0", "can_create_identities"})
	w.peer = w.client(t, "maker", "makers")
	make := func(group string) answer {
		return w.do(t, "POST", "/1.0/auth/identities/bearer", `{"name": "x", "groups": ["`+group+`"], "type": "Client token bearer"}`)
	}
	a, b := make("secret"), make("nosuch")
	if a.HTTP != 404 || b.HTTP != 404 || strings.Replace(a.Error, "secret", "nosuch", 1) != b.Error {
		t.Errorf("%d %s, of what there is not %d %s", a.HTTP, a.Error, b.HTTP, b.Error)
	}
}

func TestNamesAreJudgedByWhatTheyName(t *testing.T) {
	w := newWorld(t)
	seen := w.client(t, "seen")
	w.client(t, "unseen")
	w.group(t, "watchers", [3]string{"identity", "/1.0/auth/identities/tls/" + trust.Fingerprint(seen), "can_view"})
	w.peer = w.client(t, "watcher", "watchers")
	for _, path := range []string{"seen", trust.Fingerprint(seen), trust.Fingerprint(seen)[:16], "watcher"} {
		w.want(t, 200, "GET", "/1.0/auth/identities/tls/"+path, "")
	}
	w.want(t, 404, "GET", "/1.0/auth/identities/tls/unseen", "")
	w.want(t, 403, "DELETE", "/1.0/auth/identities/tls/seen", "")
	w.want(t, 403, "PATCH", "/1.0/auth/identities/tls/seen", `{"tls_certificate": "`+text(foreign(t))+`"}`)
	w.want(t, 404, "PATCH", "/1.0/auth/identities/tls/unseen", `{"groups": []}`)
	w.want(t, 200, "DELETE", "/1.0/auth/identities/tls/watcher", "") // itself
}

func TestPermissions(t *testing.T) {
	w := newWorld(t)
	w.group(t, "g", [3]string{"server", "/1.0", "can_view_permissions"})
	find := func(query string) map[api.Permission][]string {
		t.Helper()
		by := map[api.Permission][]string{}
		for _, p := range into[[]api.PermissionInfo](t, w.want(t, 200, "GET", "/1.0/auth/permissions"+query, "")) {
			by[p.Permission] = p.Groups
		}
		return by
	}
	all := find("?recursion=1")
	server := api.Permission{EntityType: "server", EntityReference: "/1.0", Entitlement: "can_view_permissions"}
	group := api.Permission{EntityType: "group", EntityReference: "/1.0/auth/groups/g", Entitlement: "can_edit"}
	if len(all[server]) != 1 || all[server][0] != "g" || all[group] == nil || len(all[group]) != 0 {
		t.Error(all[server], all[group])
	}
	if got := find("?entity-type=group"); len(got) != len(auth.Entitlements("group")) {
		t.Error(got)
	}
	if got := find("?project=default"); got[server] != nil || len(got) < len(auth.Entitlements("project")) {
		t.Error(got)
	} else if _, ok := got[server]; ok {
		t.Error("the server is in no project")
	}
	w.want(t, 400, "GET", "/1.0/auth/permissions?entity-type=spaceship", "")
	w.want(t, 404, "GET", "/1.0/auth/permissions?project=nosuch", "")
	w.peer = w.client(t, "clerk", "g")
	seen := find("?recursion=1")
	if _, ok := seen[group]; ok {
		t.Error("what may not be viewed is shown")
	}
	if groups, ok := seen[server]; !ok || len(groups) != 0 {
		t.Error("a group that may not be viewed is shown", groups)
	}
}

func TestPermissionsOfManyInstances(t *testing.T) {
	w := newWorld(t)
	type thing struct{ Key string }
	col := store.Collection[thing]{Name: "instance", Key: func(t thing) string { return t.Key }}
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		for i := range 10000 {
			if err := col.Insert(tx, thing{fmt.Sprintf("default/c%d", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	a := w.want(t, 200, "GET", "/1.0/auth/permissions?recursion=1", "")
	took := time.Since(start)
	var all []json.RawMessage
	if err := json.Unmarshal(a.Metadata, &all); err != nil || len(all) < 120000 {
		t.Error(len(all), err)
	}
	if took > 5*time.Second {
		t.Errorf("%d permissions took %s", len(all), took)
	}
	t.Logf("%d permissions, %d bytes: %s", len(all), len(a.Metadata), took)
}
