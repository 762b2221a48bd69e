package trust_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/trust"
	"lxd/internal/trust/trusttest"
)

// world is a service on an empty store, with the projects default, own (which has everything of its own) and shared (nothing).
type world struct {
	*trust.Service
	store     store.Store
	ops       *op.Manager
	expiry    string
	addresses []string

	mu   sync.Mutex
	said []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{expiry: "15d", addresses: []string{"10.0.0.1:8443"}}
	w.store = store.NewMem(store.Options{OnAnnounce: func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		c := ev.(event.Change)
		w.said = append(w.said, c.Action+" "+c.Source)
	}})
	t.Cleanup(func() { _ = w.store.Close() })
	w.ops = op.NewManager(t.Context(), op.Options{Store: w.store, Location: "none"})
	w.Service = trust.New(trust.Deps{Store: w.store, Fingerprint: "f00", Limit: &limit.Limiter{}, Addresses: func() []string { return w.addresses },
		Expiry: func(context.Context) (string, error) { return w.expiry, nil }})
	p := project.New(project.Deps{Store: w.store})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	none := map[string]string{}
	for _, f := range []project.Feature{project.Images, project.Profiles, project.Volumes, project.Buckets, project.Networks, project.Zones} {
		all[string(f)], none[string(f)] = "true", "false"
	}
	for name, config := range map[string]map[string]string{"own": all, "shared": none} {
		if err := p.Create(t.Context(), api.ProjectsPost{Name: name, ProjectPut: api.ProjectPut{Config: config}}); err != nil {
			t.Fatal(err)
		}
	}
	w.said = nil
	return w
}

func text(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }

func (w *world) add(t *testing.T, c *x509.Certificate, restricted bool, projects ...string) {
	t.Helper()
	if _, err := w.Add(t.Context(), api.CertificatesPost{Type: "client", Restricted: restricted, Projects: projects, Certificate: text(c)}, nil); err != nil {
		t.Fatal(err)
	}
}

// who is the identity that a connection with that certificate has.
func (w *world) who(t *testing.T, c *x509.Certificate) auth.Identity {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	if c != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{c}
	}
	id, err := w.Identify(r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// vouched is the identity that a connection has by the word of the authority alone.
func (w *world) vouched(t *testing.T, c *x509.Certificate) auth.Identity {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	id, handled, err := w.Vouched(r)
	if err != nil || handled != id.Trusted() {
		t.Fatal(handled, err)
	}
	return id
}

func TestAddAndFind(t *testing.T) {
	w := newWorld(t)
	c := trusttest.Certificate(t, time.Hour)
	f := trust.Fingerprint(c)
	location, err := w.Add(t.Context(), api.CertificatesPost{Name: "laptop", Type: "client", Certificate: text(c)}, nil)
	if err != nil || location != "/1.0/certificates/"+f {
		t.Fatal(location, err)
	}
	for _, prefix := range []string{f, f[:12], strings.ToUpper(f[:20])} {
		if got, err := w.Get(t.Context(), prefix); err != nil || got.Fingerprint != f || got.Name != "laptop" || !strings.HasPrefix(got.Certificate, "-----BEGIN CERT") {
			t.Error(prefix, got, err)
		}
	}
	if _, err := w.Get(t.Context(), "zz"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := w.Add(t.Context(), api.CertificatesPost{Type: "client"}, c); !errs.Is(err, errs.Conflict) {
		t.Error("the same again", err)
	}
	for range 20 { // two certificates are sure to begin alike
		w.add(t, trusttest.Certificate(t, time.Hour), false)
	}
	if _, err := w.Get(t.Context(), ""); !errs.Is(err, errs.Invalid) {
		t.Error("no prefix", err)
	}
	if all, err := w.List(t.Context()); err != nil || len(all) != 21 {
		t.Error(len(all), err)
	}
	if err := w.Delete(t.Context(), f[:16]); err != nil {
		t.Fatal(err)
	}
	if w.said[0] != "certificate-created "+location || w.said[len(w.said)-1] != "certificate-deleted "+location {
		t.Error(w.said)
	}
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	good := text(trusttest.Certificate(t, time.Hour))
	for name, c := range map[string]struct {
		post api.CertificatesPost
		kind errs.Kind
	}{
		"nothing":            {api.CertificatesPost{Type: "client"}, errs.Invalid},
		"no certificate":     {api.CertificatesPost{Type: "client", Certificate: "AAAA"}, errs.Invalid},
		"no base64":          {api.CertificatesPost{Type: "client", Certificate: "!"}, errs.Invalid},
		"expired":            {api.CertificatesPost{Type: "client", Certificate: text(trusttest.Certificate(t, -time.Minute))}, errs.Forbidden},
		"type":               {api.CertificatesPost{Type: "server", Certificate: good}, errs.Invalid},
		"no such project":    {api.CertificatesPost{Type: "client", Restricted: true, Projects: []string{"nosuch"}, Certificate: good}, errs.NotFound},
		"projects for all":   {api.CertificatesPost{Type: "client", Projects: []string{"own"}, Certificate: good}, errs.Invalid},
		"a project twice":    {api.CertificatesPost{Type: "client", Restricted: true, Projects: []string{"own", "own"}, Certificate: good}, errs.Invalid},
		"newline in a name":  {api.CertificatesPost{Name: "a\nb", Type: "client", Certificate: good}, errs.Invalid},
		"a name without end": {api.CertificatesPost{Name: strings.Repeat("x", 256), Type: "client", Certificate: good}, errs.Invalid},
	} {
		if _, err := w.Add(t.Context(), c.post, nil); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, _ := w.List(t.Context()); len(all) != 0 || len(w.said) != 0 {
		t.Error("something was kept", all, w.said)
	}
}

func TestIdentify(t *testing.T) {
	w := newWorld(t)
	admin, old, meter, none := trusttest.Certificate(t, time.Hour), trusttest.Certificate(t, 2*time.Second), trusttest.Certificate(t, time.Hour), trusttest.Certificate(t, time.Hour)
	w.add(t, admin, false)
	w.add(t, old, false)
	if _, err := w.Add(t.Context(), api.CertificatesPost{Type: "metrics", Certificate: text(meter)}, nil); err != nil {
		t.Fatal(err)
	}
	if id := w.who(t, admin); id.Kind != auth.TLS || !id.Admin || id.Name != trust.Fingerprint(admin) {
		t.Errorf("%+v", id)
	}
	for name, c := range map[string]*x509.Certificate{"stranger": none, "no certificate": nil, "metrics": meter} {
		if id := w.who(t, c); id.Trusted() || id.Admin {
			t.Errorf("%s: %+v", name, id)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); w.who(t, old).Trusted(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an expired certificate is trusted")
		}
	}
	if err := w.Delete(t.Context(), trust.Fingerprint(admin)); err != nil {
		t.Fatal(err)
	}
	if w.who(t, admin).Trusted() {
		t.Error("a removed certificate is trusted")
	}
}

func TestRestrictedRights(t *testing.T) {
	w := newWorld(t)
	c := trusttest.Certificate(t, time.Hour)
	w.add(t, c, true, "own", "shared")
	id := w.who(t, c)
	if id.Admin || !id.Trusted() {
		t.Fatalf("%+v", id)
	}
	in := func(entity, project, url string) auth.Object {
		return auth.Object{Entity: entity, Project: project, URL: url}
	}
	for _, x := range []struct {
		o    auth.Object
		can  string
		want bool
	}{
		{in("instance", "own", "/1.0/instances/c1"), "can_exec", true},
		{in("instance", "shared", "/1.0/instances/c1"), "can_delete", true},
		{in("instance_snapshot", "own", "/1.0/instances/c1"), "can_edit", true},
		{in("instance", "default", "/1.0/instances/c1"), "can_view", false},
		{in("instance", "nosuch", "/1.0/instances/c1"), "can_view", false},
		{in("profile", "own", "/1.0/profiles/p"), "can_edit", true},
		{in("profile", "shared", "/1.0/profiles/p"), "can_view", true},
		{in("profile", "shared", "/1.0/profiles/p"), "can_edit", false},
		{in("network", "shared", "/1.0/networks/n"), "can_delete", false},
		{in("network_zone", "own", "/1.0/network-zones/n"), "can_edit", true},
		{in("image_alias", "shared", "/1.0/images/aliases/a"), "can_edit", false},
		{in("project", "", "/1.0/projects/own"), "can_view", true},
		{in("project", "", "/1.0/projects/own"), "can_edit", false},
		{in("project", "", "/1.0/projects/own"), "can_delete", false},
		{in("project", "", "/1.0/projects/default"), "can_view", false},
		{in("project", "", "/1.0/projects/own"), "can_create_instances", true},
		{in("project", "", "/1.0/projects/own"), "can_create_images", true},
		{in("project", "", "/1.0/projects/shared"), "can_create_images", false},
		{in("project", "", "/1.0/projects/shared"), "can_create_instances", true},
		{in("project", "", "/1.0/projects/own/.."), "can_view", false},
		{in("server", "", "/1.0"), "can_edit", false},
		{in("server", "", "/1.0"), "admin", false},
		{in("storage_pool", "", "/1.0/storage-pools/p"), "can_edit", false},
		{in("certificate", "", "/1.0/certificates/x"), "can_view", false},
	} {
		if got := id.May(x.o, x.can); got != x.want {
			t.Errorf("%s on %+v: %v", x.can, x.o, got)
		}
	}
	w.add2default(t, trust.Fingerprint(c))
	if !w.who(t, c).May(in("profile", "shared", "/1.0/profiles/p"), "can_edit") {
		t.Error("with the default project, what others share of it can be edited")
	}
}

// add2default gives a certificate the default project too.
func (w *world) add2default(t *testing.T, fingerprint string) {
	t.Helper()
	put := api.CertificatePut{Name: "n", Type: "client", Restricted: true, Projects: []string{"own", "shared", "default"}}
	if err := w.Update(t.Context(), fingerprint, put, true); err != nil {
		t.Fatal(err)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	c, other := trusttest.Certificate(t, time.Hour), trusttest.Certificate(t, time.Hour)
	w.add(t, c, true, "own")
	f := trust.Fingerprint(c)
	now, err := w.Get(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*api.CertificatePut){
		"type":       func(p *api.CertificatePut) { p.Type = "metrics" },
		"restricted": func(p *api.CertificatePut) { p.Restricted, p.Projects = false, nil },
		"projects":   func(p *api.CertificatePut) { p.Projects = []string{"own", "shared"} },
		"name":       func(p *api.CertificatePut) { p.Name = "root" },
		"both":       func(p *api.CertificatePut) { p.Certificate, p.Restricted, p.Projects = text(other), false, nil },
	} {
		put := now.Writable()
		change(&put)
		if err := w.Update(t.Context(), f, put, false); !errs.Is(err, errs.Forbidden) {
			t.Errorf("it changed its own %s: %v", name, err)
		}
	}
	if got, _ := w.Get(t.Context(), f); !slices.Equal(got.Projects, []string{"own"}) || got.Type != "client" || !got.Restricted {
		t.Errorf("%+v", got)
	}
	put := now.Writable()
	put.Certificate = text(other)
	if err := w.Update(t.Context(), f, put, false); err != nil {
		t.Fatal("renewal", err)
	}
	if w.who(t, c).Trusted() || !w.who(t, other).Trusted() || w.who(t, other).Admin {
		t.Error("renewal did not replace the certificate alone")
	}
	put.Projects = []string{"nosuch"}
	if err := w.Update(t.Context(), trust.Fingerprint(other), put, true); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestProjectsComeAndGo(t *testing.T) {
	w := newWorld(t)
	c := trusttest.Certificate(t, time.Hour)
	w.add(t, c, true, "own", "shared")
	err := w.store.Update(t.Context(), func(tx store.Tx) error {
		if err := w.ProjectRenamed(tx, "own", "mine"); err != nil {
			return err
		}
		return w.ProjectGone(tx, "shared")
	})
	got, e := w.Get(t.Context(), trust.Fingerprint(c))
	if err != nil || e != nil || !slices.Equal(got.Projects, []string{"mine"}) || !got.Restricted {
		t.Error(got, err, e)
	}
}

// token is what a client gets of a token operation.
func token(t *testing.T, o *op.Operation) string {
	t.Helper()
	m := o.API().Metadata
	b, err := json.Marshal(api.CertificateAddToken{ClientName: "x", Secret: m["secret"].(string), Fingerprint: m["fingerprint"].(string), Addresses: m["addresses"].([]string)})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (w *world) issue(t *testing.T, post api.CertificatesPost) *op.Operation {
	t.Helper()
	spec, err := w.Issue(t.Context(), post)
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.ops.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// settle waits until the token of an operation that goes on is valid.
func (w *world) settle(t *testing.T, o *op.Operation) string {
	t.Helper()
	text := token(t, o)
	deadline := time.Now().Add(5 * time.Second)
	for i := 0; ; i++ {
		time.Sleep(time.Millisecond)
		_, err := w.Redeem(t.Context(), text, fmt.Sprintf("192.0.%d.%d:1", i/256%256, i%256), trust.Showed{Text: "!"})
		if errs.Is(err, errs.Invalid) {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatal("the token never became valid", err)
		}
	}
}

func TestTokenLetsOneClientIn(t *testing.T) {
	w := newWorld(t)
	o := w.issue(t, api.CertificatesPost{Name: "web", Type: "client", Restricted: true, Projects: []string{"own"}})
	text := w.settle(t, o)
	var in atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		c := trusttest.Certificate(t, time.Hour)
		all.Go(func() {
			if _, err := w.Redeem(context.Background(), text, "10.0.0.9:1", trust.Showed{Certificate: c}); err == nil {
				in.Add(1)
			} else if !errs.Is(err, errs.Forbidden) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Fatalf("%d clients got in", in.Load())
	}
	if err := o.Wait(t.Context()); err != nil || o.API().StatusCode != api.StatusSuccess {
		t.Error(err)
	}
	if list, _ := w.List(t.Context()); len(list) != 1 || list[0].Name != "web" || !list[0].Restricted || !slices.Equal(list[0].Projects, []string{"own"}) {
		t.Error(list)
	}
}

func TestTokensEnd(t *testing.T) {
	w := newWorld(t)
	c := trusttest.Certificate(t, time.Hour)
	revoked := w.issue(t, api.CertificatesPost{Name: "a", Type: "client"})
	if err := revoked.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = revoked.Wait(t.Context())
	w.expiry = "0M"
	expired := w.issue(t, api.CertificatesPost{Name: "b", Type: "client"})
	if err := expired.Wait(t.Context()); !errs.Is(err, errs.Canceled) {
		t.Error(err)
	}
	for _, o := range []*op.Operation{revoked, expired} {
		if _, err := w.Redeem(t.Context(), token(t, o), "10.0.0.9:1", trust.Showed{Certificate: c}); !errs.Is(err, errs.Forbidden) {
			t.Error(err)
		}
	}
	w.expiry = "1d"
	kept := w.issue(t, api.CertificatesPost{Name: "c", Type: "client"})
	text := w.settle(t, kept)
	if _, err := w.Redeem(t.Context(), text, "10.0.0.9:1", trust.Showed{}); !errs.Is(err, errs.Invalid) {
		t.Error("without a certificate", err)
	}
	if _, err := w.Redeem(t.Context(), text, "10.0.0.9:1", trust.Showed{Certificate: c}); err != nil {
		t.Error("a token that could not be used is lost", err)
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		post api.CertificatesPost
		kind errs.Kind
	}{
		"no name":      {api.CertificatesPost{Type: "client"}, errs.Invalid},
		"metrics":      {api.CertificatesPost{Name: "x", Type: "metrics"}, errs.Invalid},
		"both":         {api.CertificatesPost{Name: "x", Type: "client", Certificate: "y"}, errs.Invalid},
		"project":      {api.CertificatesPost{Name: "x", Type: "client", Restricted: true, Projects: []string{"nosuch"}}, errs.NotFound},
		"all projects": {api.CertificatesPost{Name: "x", Type: "client", Projects: []string{"own"}}, errs.Invalid},
	} {
		if _, err := w.Issue(t.Context(), c.post); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.addresses = nil
	if _, err := w.Issue(t.Context(), api.CertificatesPost{Name: "x", Type: "client"}); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "core.https_address") {
		t.Error(err)
	}
}

func TestWrongTokensAreCounted(t *testing.T) {
	w := newWorld(t)
	good := w.settle(t, w.issue(t, api.CertificatesPost{Name: "x", Type: "client"}))
	bad := base64.StdEncoding.EncodeToString([]byte(`{"secret":"guess"}`))
	c := trust.Showed{Certificate: trusttest.Certificate(t, time.Hour)}
	for i, from := range []string{"10.0.0.9:1", "[fd00::1]:2"} {
		for range 10 {
			if _, err := w.Redeem(t.Context(), bad, from, c); !errs.Is(err, errs.Forbidden) {
				t.Fatal(i, err)
			}
		}
	}
	for _, from := range []string{"10.0.0.9:77", "[fd00::2]:3"} { // another port, another address of the same network
		if _, err := w.Redeem(t.Context(), good, from, c); !errs.Is(err, errs.TooMany) {
			t.Error(from, err)
		}
	}
	if _, err := w.Redeem(t.Context(), good, "10.0.0.10:1", c); err != nil {
		t.Error("another client is held up", err)
	}
	for text, want := range map[string]bool{good: true, "word": false, "": false, base64.StdEncoding.EncodeToString([]byte("{}")): false} {
		if trust.IsToken(text) != want {
			t.Error(text)
		}
	}
}
