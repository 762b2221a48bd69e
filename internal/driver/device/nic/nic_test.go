package nic_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"lxd/internal/device"
	"lxd/internal/driver/device/nic"
	"lxd/internal/driver/device/nic/fake"
	"lxd/internal/errs"
	"lxd/internal/network"
)

// networks has one managed network, lxdbr0; it records the ports that are connected by the names of their host sides.
type networks struct {
	config  map[string]string
	ports   map[string]network.Port
	links   *fake.Links
	refused error
	calls   []string
}

func (n *networks) Net(_ context.Context, _, name string) (network.Net, error) {
	if name != "lxdbr0" {
		return network.Net{}, errs.Newf(errs.NotFound, "network %q not found", name)
	}
	return network.Net{Name: name, Config: n.config}, nil
}

func (n *networks) CheckPort(context.Context, string, string, network.Port) error { return n.refused }

func (n *networks) Connect(_ context.Context, project, name string, p network.Port) (network.Link, error) {
	n.calls = append(n.calls, "connect "+project+"/"+name)
	return n.plug(p)
}

func (n *networks) ConnectHost(_ context.Context, bridge string, p network.Port) (network.Link, error) {
	n.calls = append(n.calls, "connect host "+bridge)
	return n.plug(p)
}

func (n *networks) plug(p network.Port) (network.Link, error) {
	if _, taken := n.ports[p.HostName]; taken {
		return network.Link{}, errs.Newf(errs.Conflict, "%s exists", p.HostName)
	}
	n.ports[p.HostName] = p
	return network.Link{HostName: p.HostName, MTU: 1500}, nil
}

func (n *networks) Disconnect(_ context.Context, project, name string, _ network.Port, host string) error {
	n.calls = append(n.calls, "disconnect "+project+"/"+name)
	delete(n.ports, host)
	return nil
}

func (n *networks) DisconnectHost(_ context.Context, bridge string, _ network.Port, host string) error {
	n.calls = append(n.calls, "disconnect host "+bridge)
	delete(n.ports, host)
	return nil
}

func setup() (*networks, device.Kind) {
	n := &networks{ports: map[string]network.Port{}, config: map[string]string{}, links: &fake.Links{}}
	return n, nic.Bridged(n, n.links, nic.Naming{Salt: "/var/lib/lxd"})
}

func env(volatile ...string) device.Env {
	e := device.Env{Project: "default", Instance: "c1", Name: "eth0", InstanceConfig: device.Config{"volatile.eth0.hwaddr": "00:16:3e:00:00:01"}}
	for i := 0; i < len(volatile); i += 2 {
		e.InstanceConfig["volatile.eth0."+volatile[i]] = volatile[i+1]
	}
	return e
}

func cfg(pairs ...string) device.Config {
	c := device.Config{"type": "nic"}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

func make(t *testing.T, k device.Kind, e device.Env, c device.Config) device.Device {
	t.Helper()
	d, err := k.New(t.Context(), e, c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// attach attaches and connects d, as at a start.
func attach(t *testing.T, d device.Device) (device.Grant, error) {
	t.Helper()
	g, err := d.Attach(t.Context())
	if err != nil {
		return g, err
	}
	c, ok := d.(device.Connector)
	if !ok {
		t.Fatal("not a Connector")
	}
	return g, c.Connect(t.Context(), nil)
}

func TestAttachToNetwork(t *testing.T) {
	n, k := setup()
	before := cfg("network", "lxdbr0", "ipv4.address", "10.0.0.5", "security.ipv4_filtering", "true", "security.port_isolation", "true")
	c := maps.Clone(before)
	d := make(t, k, env(), c)
	if len(n.calls) > 0 || !maps.Equal(c, before) {
		t.Fatal("New has effects", n.calls, c)
	}
	if _, err := d.Attach(t.Context()); err != nil || len(n.calls) > 0 {
		t.Fatal("Attach has effects", n.calls, err)
	}
	g, err := attach(t, d)
	if err != nil || len(g.NICs) != 1 {
		t.Fatal(g, err)
	}
	got := g.NICs[0]
	if got.Name != "eth0" || got.Hwaddr != "00:16:3e:00:00:01" || got.HostName == "" || got.HostName != g.Volatile["host_name"] {
		t.Errorf("%+v", g)
	}
	if _, has := g.Volatile["hwaddr"]; has {
		t.Error("a known MAC address is not volatile anew")
	}
	p := n.ports[got.HostName]
	if !p.FilterMAC || !p.FilterIPv4 || p.FilterIPv6 || !p.Isolate || p.IPv4.String() != "10.0.0.5" || p.Instance != "c1" || p.Device != "eth0" {
		t.Errorf("%+v", p)
	}
	for range 2 {
		if err := d.Detach(t.Context()); err != nil || len(n.ports) > 0 {
			t.Fatal(err, n.ports)
		}
	}
}

func TestHostNameIsFoundAgainAfterACrash(t *testing.T) {
	n, k := setup()
	first := make(t, k, env(), cfg("network", "lxdbr0"))
	if _, err := attach(t, first); err != nil {
		t.Fatal(err)
	}
	// The daemon dies before it writes down any volatile key, and tries again.
	if _, err := attach(t, make(t, k, env(), cfg("network", "lxdbr0"))); err != nil || len(n.ports) != 1 {
		t.Fatal(err, n.ports)
	}
	if err := make(t, k, env(), cfg("network", "lxdbr0")).Detach(t.Context()); err != nil || len(n.ports) > 0 {
		t.Fatal(err, n.ports)
	}
	other := nic.Bridged(n, n.links, nic.Naming{Salt: "/srv/lxd"}) // another daemon with the same instance
	for _, kind := range []device.Kind{k, other} {
		if _, err := attach(t, make(t, kind, env(), cfg("network", "lxdbr0"))); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.ports) != 2 {
		t.Error("two daemons use one name:", n.ports)
	}
}

func TestNamesOfOthersAreNotTaken(t *testing.T) {
	n, k := setup()
	n.ports["vethmine"] = network.Port{Instance: "other"}
	_, err := attach(t, make(t, k, env(), cfg("network", "lxdbr0", "host_name", "vethmine")))
	if !errs.Is(err, errs.Conflict) || n.ports["vethmine"].Instance != "other" {
		t.Fatal(err, n.ports)
	}
}

func TestDetachFollowsTheVolatileName(t *testing.T) {
	n, k := setup()
	n.ports["old0"] = network.Port{}
	d := make(t, k, env("host_name", "old0"), cfg("network", "lxdbr0", "host_name", "new0"))
	if err := d.Detach(t.Context()); err != nil || len(n.ports) > 0 {
		t.Fatal(err, n.ports)
	}
}

// The machine's end is made in its namespace, up at a start and down when it is plugged in.
func TestInside(t *testing.T) {
	n, k := setup()
	netns, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	for _, running := range []bool{false, true} {
		e := env()
		e.Running = running
		d := make(t, k, e, cfg("network", "lxdbr0", "name", "wan0"))
		c, ok := d.(device.Connector)
		if !ok {
			t.Fatal("not a Connector")
		}
		if err := c.Connect(t.Context(), netns); err != nil {
			t.Fatal(err)
		}
		for _, p := range n.ports {
			if (p.Inside != network.Inside{Netns: netns, Name: "wan0", Up: !running}) {
				t.Errorf("%+v", p.Inside)
			}
		}
		if err := d.Detach(t.Context()); err != nil || len(n.ports) > 0 {
			t.Fatal(err, n.ports)
		}
	}
}

func TestParent(t *testing.T) {
	n, k := setup()
	d := make(t, k, env(), cfg("nictype", "bridged", "parent", "br0", "mtu", "1400", "name", "wan0"))
	g, err := attach(t, d)
	if err != nil || g.NICs[0].Name != "wan0" || n.ports[g.NICs[0].HostName].MTU != 1400 {
		t.Fatal(g, err)
	}
	if err := d.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	managed := make(t, k, env(), cfg("nictype", "bridged", "parent", "lxdbr0"))
	if _, err := attach(t, managed); err != nil {
		t.Fatal(err)
	}
	want := []string{"connect host br0", "disconnect host br0", "connect default/lxdbr0"}
	if !slices.Equal(n.calls, want) {
		t.Error(n.calls)
	}
}

func TestMadeUpHwaddrIsRemembered(t *testing.T) {
	_, k := setup()
	e := env()
	delete(e.InstanceConfig, "volatile.eth0.hwaddr")
	g, err := attach(t, make(t, k, e, cfg("network", "lxdbr0")))
	if err != nil || !strings.HasPrefix(g.Volatile["hwaddr"], "00:16:3e:") || g.NICs[0].Hwaddr != g.Volatile["hwaddr"] {
		t.Fatal(g, err)
	}
}

func TestName(t *testing.T) {
	_, k := setup()
	for want, c := range map[string]struct {
		e device.Env
		c device.Config
	}{
		"eth0": {env(), cfg("network", "lxdbr0")},
		"wan":  {env("name", "eth7"), cfg("network", "lxdbr0", "name", "wan")},
		"eth7": {env("name", "eth7"), cfg("network", "lxdbr0")},
		"":     {device.Env{Name: "a-name-too-long-for-the-kernel"}, cfg("network", "lxdbr0")},
	} {
		g, err := attach(t, make(t, k, c.e, c.c))
		if err != nil || g.NICs[0].Name != want {
			t.Errorf("%q: %+v %v", want, g, err)
		}
	}
}

func TestRefused(t *testing.T) {
	n, k := setup()
	for want, c := range map[string]device.Config{
		`"nictype" cannot be set`:      cfg("network", "lxdbr0", "nictype", "bridged"),
		`"parent" cannot be set`:       cfg("network", "lxdbr0", "parent", "br0"),
		`"mtu" cannot be set`:          cfg("network", "lxdbr0", "mtu", "1400"),
		`needs "network"`:              cfg(),
		`"parent" needs "nictype"`:     cfg("parent", "br0"),
		"must be one of bridged":       cfg("nictype", "macvlan", "parent", "br0"),
		"not support":                  cfg("network", "lxdbr0", "limits.priority", "1"),
		"bits per second":              cfg("network", "lxdbr0", "limits.ingress", "1MB"),
		"together with limits":         cfg("network", "lxdbr0", "limits.ingress", "1Mbit", "limits.max", "1Mbit"),
		"networks of that family":      cfg("network", "lxdbr0", "ipv4.routes", "fd42::/64"),
		`"vlan"`:                       cfg("network", "lxdbr0", "vlan", "5"),
		`unknown nic device`:           cfg("network", "lxdbr0", "bogus", "1"),
		"MAC address":                  cfg("network", "lxdbr0", "hwaddr", "00:16:3e:00:00:01\n"),
		"of that family":               cfg("network", "lxdbr0", "ipv4.address", "fd42::1"),
		"or none":                      cfg("network", "lxdbr0", "ipv6.address", "fe80::1%eth0"),
		"interface name":               cfg("network", "lxdbr0", "host_name", "a/b"),
		"at most 15":                   cfg("network", "lxdbr0", "name", "a234567890123456"),
		"security.ipv4_filtering need": cfg("network", "lxdbr0", "security.ipv4_filtering", "true"),
		"security.ipv6_filtering need": cfg("nictype", "bridged", "parent", "br0", "security.ipv6_filtering", "true"),
		"NIC eth0":                     cfg("nictype", "bridged", "parent", "br0", "mtu", "1"),
	} {
		if _, err := k.New(t.Context(), env(), c); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", c, err, want)
		}
	}
	if _, err := k.New(t.Context(), env(), cfg("network", "lxdbr0", "security.ipv6_filtering", "true")); err != nil {
		t.Error("the address that a machine chooses is known:", err)
	}
	n.config["ipv6.dhcp.stateful"] = "true"
	if _, err := k.New(t.Context(), env(), cfg("network", "lxdbr0", "security.ipv6_filtering", "true")); err == nil {
		t.Error("the address is not known")
	}
	n.refused = errs.Newf(errs.Invalid, "not in the subnet")
	if _, err := k.New(t.Context(), env(), cfg("network", "lxdbr0")); err == nil || !strings.Contains(err.Error(), "not in the subnet") {
		t.Error(err)
	}
	if len(n.calls) > 0 {
		t.Error(fmt.Sprint("effects: ", n.calls))
	}
}
