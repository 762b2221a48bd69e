package network_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/driver/network/fake"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/host/netlink"
	"lxd/internal/host/netns"
	"lxd/internal/network"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/warning"
)

func TestMain(m *testing.M) { netns.Main(m) }

// instance uses a network.
type instance struct {
	Name, Network string
	IPv4          string
}

var instances = store.Collection[instance]{
	Name: "instance", Key: func(i instance) string { return "default/" + i.Name },
	Refs: func(i instance) []store.Ref { return []store.Ref{{Collection: "network", Key: "default/" + i.Network}} },
}

type users struct{}

func (users) NetworkPorts(tx store.Tx, proj, name string) (all []network.Port, err error) {
	for i, err := range instances.All(tx, "") {
		if err != nil {
			return nil, err
		}
		if proj == "default" && i.Network == name {
			a, _ := netip.ParseAddr(i.IPv4)
			all = append(all, network.Port{Project: "default", Instance: i.Name, Device: "eth0", Hwaddr: "00:16:3e:00:00:01", IPv4: a})
		}
	}
	return all, nil
}

type world struct {
	store  store.Store
	driver *fake.Driver
	dir    string
	events *[]string
	// warnings are what the service warned of.
	warnings *[]string
	*network.Service
}

func setup(t *testing.T) world {
	t.Helper()
	netns.Skip(t)
	events := &[]string{}
	w := world{driver: fake.New(), dir: t.TempDir(), events: events, warnings: &[]string{}}
	w.store = store.NewMem(store.Options{OnAnnounce: func(ev any) {
		if c, ok := ev.(event.Change); ok {
			*events = append(*events, c.Action+" "+c.Source)
		}
	}})
	t.Cleanup(func() { _ = w.store.Close() })
	w.Service = w.daemon()
	must(t, project.New(project.Deps{Store: w.store}).Start(t.Context()))
	return w
}

// daemon is a service on the same state, as after a restart.
func (w world) daemon() *network.Service {
	return network.New(network.Deps{
		Store: w.store, Drivers: []network.Driver{w.driver}, Dir: w.dir, Instances: users{},
		Warnings: told{w.warnings},
	})
}

// told notes the warnings, and "-" where one was resolved.
type told struct{ list *[]string }

func (w told) Raise(_ context.Context, t api.WarningType, e warning.Entity, message string) error {
	if t != api.WarningNetworkUnavailable {
		message = t.String() + ": " + message
	}
	*w.list = append(*w.list, strings.TrimPrefix(e.URL, "/1.0/networks/")+": "+message)
	return nil
}

func (w told) Resolve(_ context.Context, t api.WarningType, e warning.Entity) error {
	if t != api.WarningNetworkUnavailable {
		return nil
	}
	if n := len(*w.list); n > 0 && strings.HasPrefix((*w.list)[n-1], strings.TrimPrefix(e.URL, "/1.0/networks/")+":") {
		*w.list = append(*w.list, "-")
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w world) create(t *testing.T, name string, config map[string]string) {
	t.Helper()
	must(t, w.Create(t.Context(), "default", post(name, config)))
}

func post(name string, config map[string]string) api.NetworksPost {
	return api.NetworksPost{Name: name, NetworkPut: api.NetworkPut{Config: config}}
}

func (w world) get(t *testing.T, name string) api.Network {
	t.Helper()
	n, _, err := w.Get(t.Context(), "default", name)
	must(t, err)
	return n
}

func (w world) use(t *testing.T, i instance) {
	t.Helper()
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return instances.Put(tx, i) }))
}

// records are the stored networks, with their stage.
func (w world) records(t *testing.T) (all []string) {
	t.Helper()
	must(t, w.store.View(t.Context(), func(tx store.Tx) error {
		for r, err := range network.Collection.All(tx, "") {
			if err != nil {
				return err
			}
			all = append(all, strings.TrimSpace(r.Name+" "+string(r.Stage)))
		}
		return nil
	}))
	return all
}

func TestCreateShowDelete(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	n := w.get(t, "lxdbr0")
	if n.Type != "bridge" || !n.Managed || n.Status != "Created" || n.Config["ipv4.address"] != "10.0.0.1/24" ||
		n.Project != "default" || !slices.Equal(n.Locations, []string{"none"}) || n.UsedBy == nil {
		t.Errorf("%+v", n)
	}
	if _, up := w.driver.Nets()["lxdbr0"]; !up {
		t.Error("not up")
	}
	w.use(t, instance{Name: "c1", Network: "lxdbr0"})
	if got := w.get(t, "lxdbr0").UsedBy; !slices.Equal(got, []string{"/1.0/instances/c1"}) {
		t.Error(got)
	}
	if err := w.Delete(t.Context(), "default", "lxdbr0"); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "/1.0/instances/c1") {
		t.Error(err)
	}
	if len(w.driver.Nets()) != 1 {
		t.Error("a refused delete took it down")
	}
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return instances.Delete(tx, "default/c1") }))
	must(t, w.Delete(t.Context(), "default", "lxdbr0"))
	left, _ := os.ReadDir(w.dir)
	if len(w.driver.Nets()) > 0 || len(w.records(t)) > 0 || len(left) > 0 {
		t.Error("left:", w.driver.Nets(), w.records(t), left)
	}
	if want := []string{"network-created /1.0/networks/lxdbr0", "network-deleted /1.0/networks/lxdbr0"}; !slices.Equal(*w.events, want) {
		t.Error(*w.events)
	}
}

func TestCreateRefused(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	must(t, netlink.AddBridge("hostbr", "", 0))
	defer func() { must(t, netlink.Delete("hostbr")) }()
	for want, p := range map[string]api.NetworksPost{
		"name is missing":     {},
		"2 to 15":             post("a234567890123456", nil),
		"reserved":            post("default", nil),
		"use letters":         post("a/b", nil),
		"hyphen":              post("-a", nil),
		"already exists":      post("lxdbr0", nil),
		"interface of that":   post("hostbr", nil),
		`"bogus"`:             post("br1", map[string]string{"bogus": "1"}),
		"overlaps with":       post("br1", map[string]string{"ipv4.address": "10.0.0.9/16"}),
		"is not supported by": {Name: "br1", Type: "ovn"},
	} {
		if err := w.Create(t.Context(), "default", p); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if got := w.records(t); !slices.Equal(got, []string{"lxdbr0"}) {
		t.Error("left:", got)
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	w := setup(t)
	boom := errors.New("boom")
	w.driver.FailNext("Up", boom)
	if err := w.Create(t.Context(), "default", post("lxdbr0", nil)); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(w.dir)
	if len(w.records(t)) > 0 || len(left) > 0 || len(*w.events) > 0 {
		t.Error("left:", w.records(t), left, *w.events)
	}
	w.create(t, "lxdbr0", nil)
}

func TestUpdate(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	hwaddr := w.get(t, "lxdbr0").Config["volatile.bridge.hwaddr"]
	put := api.NetworkPut{Description: "d", Config: map[string]string{"ipv4.address": "10.5.0.1/24", "user.x": "y"}}
	must(t, w.Update(t.Context(), "default", "lxdbr0", put))
	n := w.get(t, "lxdbr0")
	if n.Description != "d" || n.Config["user.x"] != "y" || n.Config["volatile.bridge.hwaddr"] != hwaddr || hwaddr == "" {
		t.Errorf("%+v", n)
	}
	if up := w.driver.Nets()["lxdbr0"].Config; !maps.Equal(up, n.Config) {
		t.Error("not applied:", up)
	}
	boom := errors.New("boom")
	w.driver.FailNext("Up", boom)
	put.Config["ipv4.address"] = "10.6.0.1/24"
	if err := w.Update(t.Context(), "default", "lxdbr0", put); !errors.Is(err, boom) {
		t.Error(err)
	}
	if got := w.get(t, "lxdbr0").Config; !maps.Equal(got, n.Config) || !maps.Equal(w.driver.Nets()["lxdbr0"].Config, n.Config) {
		t.Error("a failed update stays:", got, w.driver.Nets())
	}
	if err := w.Update(t.Context(), "default", "none0", put); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestRename(t *testing.T) {
	w := setup(t)
	w.create(t, "br0", nil)
	w.create(t, "br1", map[string]string{"ipv4.address": "10.9.0.1/24"})
	if err := w.Rename(t.Context(), "default", "br0", "br1"); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	if err := w.Rename(t.Context(), "default", "br0", "a b"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	must(t, w.Rename(t.Context(), "default", "br0", "br2"))
	if up := slices.Sorted(maps.Keys(w.driver.Nets())); !slices.Equal(up, []string{"br1", "br2"}) || !slices.Equal(w.records(t), up) {
		t.Error(up, w.records(t))
	}
	w.use(t, instance{Name: "c1", Network: "br2"})
	if err := w.Rename(t.Context(), "default", "br2", "br3"); !errs.Is(err, errs.Invalid) {
		t.Error("renamed in use:", err)
	}
	boom := errors.New("boom")
	w.driver.FailNext("Up", boom)
	if err := w.Rename(t.Context(), "default", "br1", "br4"); !errors.Is(err, boom) {
		t.Error(err)
	}
	if up := slices.Sorted(maps.Keys(w.driver.Nets())); !slices.Equal(up, []string{"br1", "br2"}) {
		t.Error("a failed rename left", up)
	}
}

func TestRestartFinishesWhatACrashCutShort(t *testing.T) {
	w := setup(t)
	w.create(t, "good", nil)
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error {
		making := network.Record{Project: "default", Name: "making", Type: "bridge", Stage: network.Making}
		removing := network.Record{Project: "default", Name: "removing", Type: "bridge", Stage: network.Removing}
		return errors.Join(network.Collection.Insert(tx, making), network.Collection.Insert(tx, removing))
	}))
	for _, name := range []string{"making", "removing"} {
		must(t, w.driver.Up(t.Context(), network.Net{Name: name}))
	}
	must(t, os.Mkdir(filepath.Join(w.dir, "orphan"), 0o711))
	must(t, w.driver.Down(t.Context(), network.Net{Name: "good"})) // the host was restarted

	must(t, w.daemon().StartAll(t.Context()))
	if up := slices.Sorted(maps.Keys(w.driver.Nets())); !slices.Equal(up, []string{"good"}) || !slices.Equal(w.records(t), up) {
		t.Error(up, w.records(t))
	}
	if entries, _ := os.ReadDir(w.dir); len(entries) != 1 {
		t.Error(entries)
	}
	must(t, w.StopAll(t.Context()))
	if len(w.driver.Nets()) > 0 || len(w.records(t)) != 1 {
		t.Error(w.driver.Nets(), w.records(t))
	}
}

func TestConnectRepairsANetworkThatDidNotComeUp(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	must(t, w.StopAll(t.Context()))
	w.driver.FailNext("Up", errors.New("boom"))
	must(t, w.StartAll(t.Context()))
	if len(*w.warnings) != 1 || !strings.Contains((*w.warnings)[0], "lxdbr0: boom") {
		t.Error(*w.warnings)
	}
	if n := w.get(t, "lxdbr0"); n.Status != "Unavailable" {
		t.Error(n.Status)
	}
	l, err := w.Connect(t.Context(), "default", "lxdbr0", network.Port{Instance: "c1", Device: "eth0"})
	must(t, err)
	if n := w.get(t, "lxdbr0"); n.Status != "Created" {
		t.Error(n.Status)
	}
	must(t, w.Disconnect(t.Context(), "default", "lxdbr0", network.Port{}, l.HostName))
	must(t, w.Disconnect(t.Context(), "default", "gone", network.Port{}, l.HostName))
	if _, err := w.Connect(t.Context(), "default", "gone", network.Port{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

func TestListHasHostInterfaces(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	must(t, netlink.AddBridge("hostbr", "", 0))
	must(t, netlink.AddVeth(netlink.Veth{Host: "vethx", Peer: "other0"}))
	defer func() { must(t, errors.Join(netlink.Delete("hostbr"), netlink.Delete("vethx"))) }()
	all, err := w.List(t.Context(), "default", false)
	must(t, err)
	var got []string
	for _, n := range all {
		got = append(got, n.Name+" "+n.Type+" "+map[bool]string{true: "managed", false: ""}[n.Managed])
	}
	for _, want := range []string{"lxdbr0 bridge managed", "hostbr bridge ", "lo loopback ", "other0 unknown "} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if slices.Contains(got, "vethx unknown ") || !slices.IsSorted(got) {
		t.Error(got)
	}
	n := w.get(t, "hostbr")
	if n.Managed || n.Status != "" || n.Config == nil {
		t.Errorf("%+v", n)
	}
	st, err := w.State(t.Context(), "default", "hostbr")
	if err != nil || st.Bridge == nil || !strings.HasPrefix(st.Bridge.ID, "8000.") || st.State != "down" || st.Type != "broadcast" {
		t.Errorf("%+v %v", st, err)
	}
	if lo, err := w.State(t.Context(), "default", "lo"); err != nil || lo.Type != "loopback" || lo.Mtu != 65536 {
		t.Errorf("%+v %v", lo, err)
	}
	for _, name := range []string{"vethx", "none0"} {
		if _, _, err := w.Get(t.Context(), "default", name); !errs.Is(err, errs.NotFound) {
			t.Error(name, err)
		}
	}
}

func TestLeasesByProject(t *testing.T) {
	w := setup(t)
	must(t, project.New(project.Deps{Store: w.store}).Create(t.Context(), api.ProjectsPost{Name: "web"}))
	w.create(t, "lxdbr0", nil)
	w.use(t, instance{Name: "c1", Network: "lxdbr0", IPv4: "10.0.0.5"})
	list, err := w.Leases(t.Context(), "default", "lxdbr0")
	must(t, err)
	want := api.NetworkLease{Hostname: "c1", Hwaddr: "00:16:3e:00:00:01", Address: "10.0.0.5", Type: "static", Location: "none", Project: "default"}
	if len(list) != 2 || list[0].Type != "gateway" || list[1] != want {
		t.Errorf("%+v", list)
	}
	if list, err = w.Leases(t.Context(), "web", "lxdbr0"); err != nil || len(list) != 1 {
		t.Errorf("another project sees %+v, %v", list, err)
	}
	n, _, err := w.Get(t.Context(), "web", "lxdbr0")
	if err != nil || n.Project != "web" {
		t.Errorf("%+v %v", n, err)
	}
}

func TestCheckPort(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	w.use(t, instance{Name: "c1", Network: "lxdbr0", IPv4: "10.0.0.5"})
	port := func(name, v4, v6 string) network.Port {
		p := network.Port{Project: "default", Instance: name, Device: "eth0"}
		p.IPv4, _ = netip.ParseAddr(v4)
		p.IPv6, _ = netip.ParseAddr(v6)
		return p
	}
	for _, p := range []network.Port{port("c1", "10.0.0.5", ""), port("c2", "10.0.0.6", ""), port("c2", "", "")} {
		if err := w.CheckPort(t.Context(), "default", "lxdbr0", p); err != nil {
			t.Error(p, err)
		}
	}
	for want, p := range map[string]network.Port{
		"already":                   port("c2", "10.0.0.5", ""),
		"not within":                port("c2", "10.1.0.5", ""),
		"network \"lxdbr0\" itself": port("c2", "10.0.0.1", ""),
		"no ipv6":                   port("c2", "", "fd42::5"),
	} {
		if err := w.CheckPort(t.Context(), "default", "lxdbr0", p); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Error(p, err)
		}
	}
	if err := w.CheckPort(t.Context(), "default", "none0", port("c2", "", "")); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestRefreshTellsOfPorts(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	w.use(t, instance{Name: "c1", Network: "lxdbr0", IPv4: "10.0.0.5"})
	must(t, w.Refresh(t.Context(), "default", "lxdbr0"))
	if p := w.driver.Nets()["lxdbr0"].Ports; len(p) != 1 || p[0].Instance != "c1" {
		t.Error(p)
	}
	must(t, w.Refresh(t.Context(), "default", "none0"))
}

func TestUseDuringDeleteWins(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	slow := &meddler{Driver: w.driver, down: func() { w.use(t, instance{Name: "c1", Network: "lxdbr0"}) }}
	svc := network.New(network.Deps{Store: w.store, Drivers: []network.Driver{slow}, Dir: w.dir, Instances: users{}})
	if err := svc.Delete(t.Context(), "default", "lxdbr0"); !errs.Is(err, errs.Invalid) {
		t.Fatal(err)
	}
	if len(w.driver.Nets()) != 1 || !slices.Equal(w.records(t), []string{"lxdbr0"}) {
		t.Error("not brought back:", w.driver.Nets(), w.records(t))
	}
}

// meddler does something while a network goes down.
type meddler struct {
	*fake.Driver
	down func()
}

func (m *meddler) Down(ctx context.Context, n network.Net) error {
	m.down()
	return m.Driver.Down(ctx, n)
}

func TestReleaseOfWhatIsGone(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	w.use(t, instance{Name: "stopped", Network: "lxdbr0"}) // has the MAC address that ends in 01
	ports := map[string]network.Port{}
	for _, end := range []string{"01", "02", "03"} {
		p := network.Port{Project: "default", Instance: "c" + end, Device: "eth0", Hwaddr: "00:16:3e:00:00:" + end}
		l, err := w.Connect(t.Context(), "default", "lxdbr0", p)
		must(t, err)
		must(t, w.Disconnect(t.Context(), "default", "lxdbr0", p, l.HostName))
		ports[end] = p
	}
	if _, err := w.Connect(t.Context(), "default", "lxdbr0", ports["03"]); err != nil { // started again
		t.Fatal(err)
	}
	boom := errors.New("boom")
	w.driver.FailNext("Release", boom)
	if err := w.Release(t.Context(), "default", "lxdbr0"); !errors.Is(err, boom) {
		t.Error(err)
	}
	for range 2 {
		must(t, w.Release(t.Context(), "default", "lxdbr0"))
	}
	if got := w.driver.Released(); !slices.Equal(got, []string{"00:16:3e:00:00:02"}) {
		t.Error(got)
	}
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return instances.Delete(tx, "default/stopped") }))
	must(t, w.Release(t.Context(), "default", "lxdbr0"))
	if got := w.driver.Released(); !slices.Equal(got, []string{"00:16:3e:00:00:02", "00:16:3e:00:00:01"}) {
		t.Error(got)
	}
}

func TestReleaseComesByItself(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	p := network.Port{Project: "default", Instance: "c1", Device: "eth0", Hwaddr: "00:16:3e:00:00:07"}
	l, err := w.Connect(t.Context(), "default", "lxdbr0", p)
	must(t, err)
	must(t, w.Disconnect(t.Context(), "default", "lxdbr0", p, l.HostName))
	// one whose machine stopped in an earlier life of the daemon
	must(t, w.Gone(t.Context(), "default", network.NIC{Device: "eth0", Config: map[string]string{"type": "nic", "network": "lxdbr0"},
		InstanceConfig: map[string]string{"volatile.eth0.hwaddr": "00:16:3e:00:00:08"}}))
	must(t, w.Gone(t.Context(), "default", network.NIC{Device: "eth0", Config: map[string]string{"type": "nic", "parent": "br-of-the-host"}}))
	for range 100 {
		if slices.Equal(w.driver.Released(), []string{p.Hwaddr, "00:16:3e:00:00:08"}) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("not released:", w.driver.Released())
}

func TestUseByTheBridgesName(t *testing.T) {
	w := setup(t)
	w.create(t, "lxdbr0", nil)
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error {
		return profile.Collection.Insert(tx, profile.Record{
			Project: "default", Name: "p", NetworkProject: "default",
			Devices: profile.Devices{"eth0": {"type": "nic", "nictype": "bridged", "parent": "lxdbr0"}},
		})
	}))
	if got := w.get(t, "lxdbr0").UsedBy; !slices.Equal(got, []string{"/1.0/profiles/p"}) {
		t.Error(got)
	}
	for what, err := range map[string]error{
		"delete": w.Delete(t.Context(), "default", "lxdbr0"), "rename": w.Rename(t.Context(), "default", "lxdbr0", "br1"),
	} {
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "/1.0/profiles/p") {
			t.Error(what, err)
		}
	}
	must(t, w.store.Update(t.Context(), func(tx store.Tx) error { return profile.Collection.Delete(tx, "default/p") }))
	must(t, w.Delete(t.Context(), "default", "lxdbr0"))
}

func TestManyAtOnce(t *testing.T) {
	w := setup(t)
	var wg sync.WaitGroup
	answers := make(chan error, 1000)
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				name := []string{"br0", "br1"}[i%2]
				answers <- w.Create(t.Context(), "default", post(name, map[string]string{"ipv4.address": "none"}))
				_, err := w.Connect(t.Context(), "default", name, network.Port{Instance: "c", Device: "eth0"})
				answers <- err
				answers <- w.Update(t.Context(), "default", name, api.NetworkPut{Config: map[string]string{"user.x": "y"}})
				answers <- w.Delete(t.Context(), "default", name)
			}
		})
	}
	wg.Wait()
	close(answers)
	good := 0
	for err := range answers {
		switch errs.KindOf(err) {
		case errs.Invalid, errs.NotFound, errs.Unavailable, errs.Conflict:
		default:
			if err != nil {
				t.Error(err)
			}
			good++
		}
	}
	for _, name := range []string{"br0", "br1"} {
		if err := w.Delete(t.Context(), "default", name); err != nil && !errs.Is(err, errs.NotFound) {
			t.Error(err)
		}
	}
	left, _ := os.ReadDir(w.dir)
	if good == 0 || len(w.driver.Nets()) > 0 || len(w.records(t)) > 0 || len(left) > 0 {
		t.Error(good, "good; left:", w.driver.Nets(), w.records(t), left)
	}
}
