package endpoint_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/driver/firewall/nft"
	"lxd/internal/driver/network/bridge"
	"lxd/internal/endpoint/networking"
	"lxd/internal/host/netns"
	"lxd/internal/network"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/rest"
	"lxd/internal/store"
)

func TestMain(m *testing.M) { netns.Main(m) }

// networkWorld serves networks that are real, in a network namespace of the test's own.
func networkWorld(t *testing.T) *world {
	t.Helper()
	netns.Skip(t)
	dir, err := os.MkdirTemp("/var/tmp", "networks")
	if err == nil {
		err = os.Chmod(dir, 0o711) // dnsmasq gives up root and must still reach its files
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	st := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = st.Close() })
	projects := project.New(project.Deps{Store: st})
	if err := projects.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := projects.Create(t.Context(), api.ProjectsPost{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	d := bridge.New(bridge.Options{Firewall: nft.New(dir)})
	t.Cleanup(d.Close)
	svc := network.New(network.Deps{Store: st, Drivers: []network.Driver{d}, Dir: dir})
	w := &world{who: auth.Identity{Kind: auth.Unix, Name: "root", Address: "@", Admin: true}}
	srv := &rest.Server{
		Self: "none", Ops: op.NewManager(t.Context(), op.Options{Store: st}), Auth: func(*http.Request) (auth.Identity, error) { return w.who, nil },
	}
	srv.SetPhase(rest.Serving)
	w.Server = httptest.NewServer(srv.Handler(networking.Networks(svc), networking.Forwards(svc), networking.Absent(svc), networking.Allocations(svc)))
	t.Cleanup(w.Close)
	return w
}

func (w *world) network(t *testing.T, name string) (n api.Network, etag string) {
	t.Helper()
	a := w.do(t, "GET", "/1.0/networks/"+name, "")
	if a.HTTP != 200 {
		t.Fatal(a)
	}
	a.into(t, &n)
	return n, a.Get("ETag")
}

func TestNetworkLife(t *testing.T) {
	w := networkWorld(t)
	a := w.do(t, "POST", "/1.0/networks", `{"name":"lxdbr0","description":"d","config":{"ipv6.address":"none"}}`)
	if a.HTTP != 201 || a.Get("Location") != "/1.0/networks/lxdbr0" {
		t.Fatal(a)
	}
	n, etag := w.network(t, "lxdbr0")
	if n.Type != "bridge" || n.Status != "Created" || !n.Managed || n.Description != "d" || !strings.HasPrefix(n.Config["ipv4.address"], "10.") {
		t.Errorf("%+v", n)
	}
	if a := w.do(t, "POST", "/1.0/networks", `{"name":"lxdbr0"}`); a.HTTP != 400 || !strings.Contains(a.Error, "already exists") {
		t.Error(a)
	}
	var urls []string
	w.do(t, "GET", "/1.0/networks", "").into(t, &urls)
	if !slices.Equal(urls, []string{"/1.0/networks/lo", "/1.0/networks/lxdbr0"}) {
		t.Error(urls)
	}
	if a := w.do(t, "PATCH", "/1.0/networks/lxdbr0", `{"config":{"bridge.mtu":"1400"}}`, "If-Match", etag); a.HTTP != 200 {
		t.Error(a)
	}
	if a := w.do(t, "PATCH", "/1.0/networks/lxdbr0", `{"config":{"bridge.mtu":"1500"}}`, "If-Match", etag); a.HTTP != 412 {
		t.Error("a stale ETag gives", a)
	}
	changed, _ := w.network(t, "lxdbr0")
	if changed.Config["bridge.mtu"] != "1400" || changed.Config["ipv4.address"] != n.Config["ipv4.address"] || changed.Description != "d" {
		t.Errorf("%+v", changed)
	}
	var state api.NetworkState
	w.do(t, "GET", "/1.0/networks/lxdbr0/state", "").into(t, &state)
	if state.Mtu != 1400 || state.State != "up" || state.Bridge == nil || len(state.Addresses) == 0 || state.Hwaddr != n.Config["volatile.bridge.hwaddr"] {
		t.Errorf("%+v", state)
	}
	var leases []api.NetworkLease
	w.do(t, "GET", "/1.0/networks/lxdbr0/leases?project=web", "").into(t, &leases)
	if len(leases) != 1 || leases[0].Type != "gateway" || leases[0].Hostname != "lxdbr0.gw" {
		t.Errorf("%+v", leases)
	}
	if a := w.do(t, "POST", "/1.0/networks/lxdbr0", `{"name":"lxdbr1"}`); a.HTTP != 201 || a.Get("Location") != "/1.0/networks/lxdbr1" {
		t.Error(a)
	}
	for _, code := range []int{200, 404} {
		if a := w.do(t, "DELETE", "/1.0/networks/lxdbr1", ""); a.HTTP != code {
			t.Error(a)
		}
	}
	w.do(t, "GET", "/1.0/networks", "").into(t, &urls)
	if !slices.Equal(urls, []string{"/1.0/networks/lo"}) {
		t.Error("left:", urls)
	}
}

func TestNetworkRefusals(t *testing.T) {
	w := networkWorld(t)
	if a := w.do(t, "POST", "/1.0/networks", `{"name":"lxdbr0","config":{"ipv4.address":"10.99.0.1/24","ipv6.address":"none"}}`); a.HTTP != 201 {
		t.Fatal(a)
	}
	defer w.do(t, "DELETE", "/1.0/networks/lxdbr0", "")
	for _, c := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"POST", "", `{"name":"a234567890123456"}`, 400, "2 to 15"},
		{"POST", "", `{"name":"lo"}`, 400, "reserved"},
		{"POST", "", `{"name":"br1","type":"ovn"}`, 400, "not supported"},
		{"POST", "", `{"name":"br1","config":{"ipv4.address":"x","bogus":"1"}}`, 400, `"bogus"`},
		{"POST", "", `{"name":"br1","config":{"ipv4.address":"10.99.0.9/16"}}`, 400, "overlaps"},
		{"PUT", "/lxdbr0", `{"config":{"dns.domain":"a\nb"}}`, 400, "control character"},
		{"PUT", "/none0", `{"config":{}}`, 404, "not found"},
		{"PUT", "/lo", `{"config":{}}`, 404, "not found"},
		{"GET", "/none0/state", "", 404, "not found"},
		{"GET", "/lo/leases", "", 404, "not found"},
		{"POST", "/lxdbr0", `{"name":"lo"}`, 400, "reserved"},
	} {
		a := w.do(t, c.method, "/1.0/networks"+c.path, c.body)
		if a.HTTP != c.code || !strings.Contains(a.Error, c.text) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.HTTP, a.Error)
		}
	}
	n, _ := w.network(t, "lxdbr0")
	if n.Config["ipv4.address"] != "10.99.0.1/24" || n.Config["dns.domain"] != "" {
		t.Error("a refused change stays:", n.Config)
	}
}
