package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"lxd/internal/app"
	"lxd/internal/rest"
	"lxd/internal/trust/trusttest"
)

// as asks as the client with a certificate; it returns the status and the body.
func (d *daemon) as(c *x509.Certificate, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if c != nil {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// furnish makes one of each object in a project, all of which are called "there".
func furnish(t *testing.T, d *daemon, project string) {
	t.Helper()
	q := "?project=" + project
	for _, step := range []struct {
		path string
		body any
	}{
		{"/1.0/profiles", object{"name": "there"}},
		{"/1.0/storage-pools/pool/volumes", object{"name": "there", "type": "custom"}},
		{"/1.0/storage-pools/pool/volumes/custom/there/snapshots", object{"name": "there"}},
		{"/1.0/storage-pools/pool/volumes/custom/there/backups", object{"name": "there"}},
		{"/1.0/instances", object{"name": "there", "source": object{"type": "none"}, "devices": object{"root": object{"type": "disk", "path": "/", "pool": "pool"}}}},
		{"/1.0/instances/there/snapshots", object{"name": "there"}},
		{"/1.0/instances/there/backups", object{"name": "there"}},
		{"/1.0/images", object{"source": object{"type": "instance", "name": "there"}, "properties": object{"project": project}, "aliases": []object{{"name": "there"}}}},
	} {
		d.must(t, "POST", step.path+q, step.body)
	}
}

// furnished is a daemon with objects in three projects, one of which is that of an operator.
func furnished(t *testing.T) (d *daemon, nobody, operator *x509.Certificate) {
	t.Helper()
	d, nobody, operator = startDaemon(t), trusttest.Certificate(t, time.Hour), trusttest.Certificate(t, time.Hour)
	d.must(t, "POST", "/1.0/storage-pools", object{"name": "pool", "driver": "dir"})
	for _, name := range []string{"there", "mine"} {
		d.must(t, "POST", "/1.0/projects", object{"name": name, "config": object{"features.profiles": "true"}})
	}
	d.must(t, "POST", "/1.0/networks", object{"name": "there", "type": "bridge"})
	d.must(t, "POST", "/1.0/network-acls", object{"name": "there"})
	furnish(t, d, "default")
	furnish(t, d, "there")
	d.must(t, "POST", "/1.0/auth/groups", object{"name": "there"})
	d.must(t, "POST", "/1.0/auth/groups", object{"name": "operators", "permissions": []object{
		{"entity_type": "project", "url": "/1.0/projects/mine", "entitlement": "operator"}}})
	d.must(t, "POST", "/1.0/auth/groups", object{"name": "makers"})
	d.must(t, "POST", "/1.0/auth/identity-provider-groups", object{"name": "there", "groups": []string{}})
	d.must(t, "POST", "/1.0/auth/identities/bearer", object{"name": "there", "type": "Client token bearer", "groups": []string{}})
	for name, c := range map[string]*x509.Certificate{"nobody": nobody, "operator": operator, "there": trusttest.Certificate(t, time.Hour)} {
		groups := []string{}
		if name == "operator" {
			groups = []string{"operators"}
		}
		d.must(t, "POST", "/1.0/auth/identities/tls", object{"name": name, "certificate": base64.StdEncoding.EncodeToString(c.Raw), "groups": groups})
	}
	d.must(t, "POST", "/1.0/certificates", object{"name": "there", "type": "client", "certificate": base64.StdEncoding.EncodeToString(trusttest.Certificate(t, time.Hour).Raw)})
	return d, nobody, operator
}

// found is the last part of the one address in a list that is there.
func (d *daemon) found(t *testing.T, list string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://unix"+list, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"/1\.0/[a-z/-]*/([0-9a-f]{64})"`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s: %s", list, b)
	}
	return string(m[1])
}

// hides are the parameters of paths that name what can be hidden; the others are of a pool or of something that everybody may call.
var hides = regexp.MustCompile(`\{(name|name\.\.\.|networkName|volumeName|fingerprint|snapshotName|snapshot|backupName|groupName|idpGroupName|nameOrIdentifier|listenAddress|peerName|file)\}`)

// paths fills in the names of a pattern: those of what exists, of what does not, and of parts that do not of what does.
func paths(pattern string, digits map[string]string) (there, missing string) {
	fill := func(name string) string {
		p := strings.NewReplacer("{poolName}", "pool", "{type}", "custom").Replace(pattern)
		return hides.ReplaceAllStringFunc(p, func(param string) string {
			switch {
			case param == "{listenAddress}":
				return "192.0.2.1"
			case param == "{fingerprint}" && name == "there":
				return digits[strings.Split(p, "/")[2]]
			case param == "{fingerprint}":
				return strings.Repeat("0", 64)
			}
			return name
		})
	}
	return fill("there"), fill("absent")
}

// told is what a client is answered, without the names that it sent itself.
func (d *daemon) told(c *x509.Certificate, method, path, body string, names []string) string {
	code, text := d.as(c, method, path, body)
	for _, n := range names {
		text = strings.ReplaceAll(text, n, "NAME")
	}
	return fmt.Sprint(code, " ", text)
}

// TestWhatIsHiddenLooksMissing asks for everything that has a name in its path, with each method, and in projects that exist and that
// do not: to those who may not see it, what exists and what does not look the same.
func TestWhatIsHiddenLooksMissing(t *testing.T) {
	d, nobody, operator := furnished(t)
	certificate := d.found(t, "/1.0/certificates")
	images := map[string]string{"default": d.found(t, "/1.0/images"), "there": d.found(t, "/1.0/images?project=there")}
	n := 0
	for who, cert := range map[string]*x509.Certificate{"nobody": nobody, "operator": operator} {
		for _, r := range allRoutes() {
			method, pattern, _ := strings.Cut(r.Pattern, " ")
			if !hides.MatchString(pattern) {
				continue
			}
			n++
			for project, image := range images {
				there, missing := paths(pattern, map[string]string{"certificates": certificate, "images": image})
				names := []string{"there", "absent", certificate, image, strings.Repeat("0", 64)}
				for _, body := range []string{"{}", `{"name":"x","action":"start","command":["true"]}`} {
					got := d.told(cert, method, there+"?project="+project, body, names)
					for _, where := range []string{project, strings.Replace(project, "there", "absent", 1)} {
						want := d.told(cert, method, missing+"?project="+where, body, names)
						if got != want || got[0] != '4' {
							t.Errorf("%s: %s %s in %s:\n there:  %s absent in %s: %s", who, method, pattern, project, got, where, want)
						}
					}
				}
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d routes were asked", n)
	}
}

// making is the right to make things in a project and to change its instances. Whoever may view all networks of a project, as its
// operators may, views those that the default project has for it, too; these rights do not tell of any.
func making(name string) (all []object) {
	for _, e := range []string{"can_create_instances", "can_view_instances", "can_edit_instances", "can_operate_instances", "can_create_images",
		"can_create_storage_volumes", "can_create_profiles", "can_view_operations"} {
		all = append(all, object{"entity_type": "project", "url": "/1.0/projects/" + name, "entitlement": e})
	}
	return all
}

// TestWhatIsHiddenCannotBeUsed names in bodies what one who makes things in another project may not see, and what does not exist.
func TestWhatIsHiddenCannotBeUsed(t *testing.T) {
	d, maker, _ := furnished(t)
	d.must(t, "PATCH", "/1.0/auth/identities/tls/nobody", object{"groups": []string{"makers"}})
	d.must(t, "PUT", "/1.0/auth/groups/makers", object{"permissions": making("mine")})
	root := `"root": {"type": "disk", "path": "/", "pool": "pool"}`
	for _, q := range []string{"own", "shared"} { // with and without profiles and images of its own
		if q == "shared" {
			d.must(t, "POST", "/1.0/projects", object{"name": "shared", "config": object{"features.profiles": "false", "features.images": "false", "features.storage.volumes": "false"}})
			d.must(t, "PUT", "/1.0/auth/groups/makers", object{"permissions": making("shared")})
		}
		in := map[string]string{"own": "?project=mine", "shared": "?project=shared"}[q]
		d.must(t, "POST", "/1.0/instances"+in, object{"name": "own", "profiles": []string{}, "source": object{"type": "none"}, "devices": object{"root": object{"type": "disk", "path": "/", "pool": "pool"}}})
		for _, c := range []struct{ method, path, body string }{
			{"POST", "/1.0/instances", `{"name": "x", "source": {"type": "copy", "source": "NAME", "project": "there"}}`},
			{"POST", "/1.0/instances", `{"name": "x", "source": {"type": "copy", "source": "NAME/there", "project": "default"}}`},
			{"POST", "/1.0/instances", `{"name": "x", "source": {"type": "copy", "source": "there", "project": "NAME"}}`},
			{"POST", "/1.0/instances", `{"name": "x", "source": {"type": "none"}, "devices": {` + root + `, "eth0": {"type": "nic", "network": "NAME"}}}`},
			{"POST", "/1.0/instances", `{"name": "x", "source": {"type": "none"}, "devices": {` + root + `, "eth0": {"type": "nic", "nictype": "bridged", "parent": "p", "security.acls": "NAME"}}}`},
			{"PATCH", "/1.0/instances/own", `{"devices": {"eth0": {"type": "nic", "network": "NAME"}}}`},
			{"PUT", "/1.0/instances/own", `{"profiles": [], "devices": {` + root + `, "eth0": {"type": "nic", "network": "NAME"}}}`},
			{"POST", "/1.0/instances/own", `{"migration": true, "name": "own", "project": "NAME"}`},
			{"POST", "/1.0/storage-pools/pool/volumes/custom", `{"name": "x", "type": "custom", "source": {"type": "copy", "name": "NAME", "pool": "pool", "project": "there"}}`},
			{"POST", "/1.0/storage-pools/pool/volumes/custom", `{"name": "x", "type": "custom", "source": {"type": "copy", "name": "there", "pool": "pool", "project": "NAME"}}`},
			{"POST", "/1.0/images", `{"source": {"type": "instance", "name": "NAME", "project": "there"}}`},
			{"POST", "/1.0/images", `{"source": {"type": "image", "fingerprint": "IMAGE", "project": "default"}}`},
			{"POST", "/1.0/images", `{"source": {"type": "instance", "name": "own"}, "profiles": ["NAME"]}`},
			{"POST", "/1.0/profiles", `{"name": "y", "devices": {"eth0": {"type": "nic", "network": "NAME"}}}`},
		} {
			d.same(t, maker, c.method, c.path+in, c.body)
		}
		if q == "shared" { // all of this is the default project's
			for _, body := range []string{
				`{"name": "x", "source": {"type": "none"}, "profiles": ["NAME"], "devices": {` + root + `}}`,
				`{"name": "x", "source": {"type": "none"}, "profiles": [], "devices": {` + root + `, "v": {"type": "disk", "path": "/v", "pool": "pool", "source": "NAME"}}}`,
				`{"name": "x", "source": {"type": "migration", "mode": "push"}, "profiles": ["NAME"]}`,
				`{"name": "x", "source": {"type": "image", "alias": "NAME"}}`,
				`{"name": "x", "source": {"type": "image", "fingerprint": "IMAGE"}}`,
			} {
				d.same(t, maker, "POST", "/1.0/instances"+in, body)
			}
		}
	}
}

// same asks with NAME being something that exists and something that does not, and compares the answers, which must be refusals.
func (d *daemon) same(t *testing.T, c *x509.Certificate, method, path, body string) {
	t.Helper()
	image, none := d.found(t, "/1.0/images"), strings.Repeat("0", 64)
	names := []string{"there", "absent", image, none}
	there := strings.NewReplacer("NAME", "there", "IMAGE", image).Replace(body)
	absent := strings.NewReplacer("NAME", "absent", "IMAGE", none).Replace(body)
	got, want := d.told(c, method, path, there, names), d.told(c, method, path, absent, names)
	if got != want || got[0] != '4' {
		t.Errorf("%s %s %s:\n there:  %s absent: %s", method, path, body, got, want)
	}
}

func allRoutes() (all []rest.Route) {
	for _, table := range app.Routes() {
		all = append(all, table...)
	}
	return all
}
