package nic_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/driver/device/nic"
	"lxd/internal/driver/device/nic/fake"
	"lxd/internal/errs"
	"lxd/internal/host/netlink"
)

// plugged attaches and connects a NIC of a kind.
func plugged(t *testing.T, k device.Kind, e device.Env, c device.Config) (device.Device, device.Grant, error) {
	t.Helper()
	d := make(t, k, e, c)
	g, err := d.Attach(t.Context())
	if err != nil {
		return d, g, err
	}
	for key, v := range g.Volatile {
		e.InstanceConfig["volatile.eth0."+key] = v
	}
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.Close() })
	return d, g, d.(device.Connector).Connect(t.Context(), netns)
}

// Limits and routes go by the host's side, or by the bridge; they change while the NIC is attached, and go with it.
func TestTraffic(t *testing.T) {
	n, bridged := setup()
	c := cfg("nictype", "bridged", "parent", "br0", "host_name", "h0", "limits.ingress", "10Mbit", "limits.egress", "2Kibit", "ipv4.routes", "10.1.0.0/24", "ipv6.routes", "fd42::/64")
	for via, k := range map[string]device.Kind{"br0": bridged, "h0": nic.PointToPoint(n.links, nic.Naming{Salt: "x"})} {
		c["nictype"] = k.Subtype
		if delete(c, "parent"); via == "br0" {
			c["parent"] = via
		}
		d, _, err := plugged(t, k, env(), c)
		want := []string{"route 10.1.0.0/24 by " + via, "route fd42::/64 by " + via, "shape h0 10000000 2048"}
		if via == "h0" {
			want = append([]string{"pair h0 eth0"}, want...)
		}
		if err != nil || !slices.Equal(n.links.State(), want) {
			t.Fatalf("%v %v", n.links.State(), err)
		}
		next := device.Config{"limits.max": "3bit", "ipv4.routes": "10.2.0.0/24"}
		for _, key := range []string{"type", "nictype", "parent", "host_name"} {
			if c[key] != "" {
				next[key] = c[key]
			}
		}
		after := make(t, k, env("host_name", "h0"), next)
		n.links.Fail = map[string]error{"route": errors.New("boom")}
		if _, err := after.(device.Changer).Change(t.Context(), c); err == nil || !slices.Contains(n.links.State(), "shape h0 10000000 2048") {
			t.Errorf("a failed change is not taken back: %v %v", n.links.State(), err)
		}
		n.links.Fail = nil
		if _, err := after.(device.Changer).Change(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want = slices.DeleteFunc(want, func(s string) bool { return !strings.HasPrefix(s, "pair") })
		if want = append(want, "route 10.2.0.0/24 by "+via, "shape h0 3 3"); !slices.Equal(n.links.State(), want) {
			t.Errorf("%v", n.links.State())
		}
		for range 2 {
			if err := errors.Join(after.Detach(t.Context()), d.Detach(t.Context())); err != nil || len(n.links.State()) > 0 {
				t.Errorf("left over: %v %v", n.links.State(), err)
			}
		}
		n.links.Fail = map[string]error{"route": errors.New("boom")}
		_, _, err = plugged(t, k, env(), c)
		n.links.Fail = nil
		if err == nil || slices.ContainsFunc(n.links.State(), func(s string) bool { return !strings.HasPrefix(s, "route") }) || len(n.ports) > 0 {
			t.Errorf("left of a failure: %v %v %v", n.links.State(), n.ports, err)
		}
	}
}

func TestPointToPoint(t *testing.T) {
	l := &fake.Links{}
	k := nic.PointToPoint(l, nic.Naming{Salt: "salt"})
	for range 2 { // the second finds what a crash has left
		_, g, err := plugged(t, k, env(), cfg("nictype", "p2p", "name", "wan"))
		if err != nil || g.NICs[0].Name != "wan" || !slices.Equal(l.State(), []string{"pair " + g.NICs[0].HostName + " wan"}) {
			t.Fatal(g, err, l.State())
		}
	}
	if _, _, err := plugged(t, k, env(), cfg("nictype", "p2p", "host_name", "mine0")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := plugged(t, k, env(), cfg("nictype", "p2p", "host_name", "mine0")); !errs.Is(err, errs.Conflict) {
		t.Error("a name that was asked for is taken from another:", err)
	}
	if err := errors.Join(l.Pair(netlink.Veth{Host: "other0", Peer: "x", Owner: "somebody"}), l.Shape("other0", netlink.Shape{Sent: 1, Received: 1})); err != nil {
		t.Fatal(err)
	}
	before := l.State()
	d, _, err := plugged(t, k, env(), cfg("nictype", "p2p", "host_name", "other0", "limits.max", "1Mbit", "ipv4.routes", "10.1.0.0/24"))
	if !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	if err := d.Detach(t.Context()); err != nil || !slices.Equal(l.State(), before) {
		t.Errorf("what has the name that was asked for was taken from somebody else: %v, %v", l.State(), err)
	}
}

func TestMacvlan(t *testing.T) {
	l := &fake.Links{}
	k := nic.Macvlan(l)
	d, g, err := plugged(t, k, env(), cfg("nictype", "macvlan", "parent", "host0"))
	if err != nil || g.NICs[0].Hwaddr != "00:16:3e:00:00:01" || !slices.Equal(l.State(), []string{"macvlan eth0 on host0"}) {
		t.Fatal(g, err, l.State())
	}
	if err := errors.Join(d.(device.Disconnector).Disconnect(t.Context(), nil), d.Detach(t.Context())); err != nil || len(l.State()) > 0 {
		t.Error(err, l.State())
	}
	if _, _, err := plugged(t, k, env(), cfg("nictype", "macvlan", "parent", "none0")); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "none0") {
		t.Error(err)
	}
	if _, err := k.New(t.Context(), env(), cfg("nictype", "macvlan")); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "parent") {
		t.Error(err)
	}
}

func TestPhysical(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to keep a namespace")
	}
	l := &fake.Links{}
	dir := t.TempDir()
	k := nic.Physical(l, dir)
	c := cfg("nictype", "physical", "parent", "host0", "name", "wan")
	d, g, err := plugged(t, k, env(), c)
	if err != nil || g.Volatile["last_state.hwaddr"] != "00:16:3e:00:00:99" || g.Volatile["last_state.mtu"] != "1500" || !slices.Equal(l.State(), []string{"lent host0 as wan"}) {
		t.Fatal(g, err, l.State())
	}
	if _, _, err := plugged(t, k, env(), c); !errs.Is(err, errs.Invalid) {
		t.Error("lent twice:", err)
	}
	leaving := env()
	leaving.Leaving = true
	again := make(t, nic.Physical(l, dir), leaving, c) // of another daemon
	for range 2 {
		if err := again.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil || len(l.State()) > 0 {
		t.Error("left over:", left, l.State(), err)
	}
	l.Fail = map[string]error{"lend": errors.New("boom")}
	if _, _, err = plugged(t, k, env(), c); err == nil {
		t.Error("connected all the same")
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Error("left of a failure:", left, err)
	}
	_ = d
}

// busy has the MAC address of a NIC in use for its first calls, as a host has whose last machine is not wholly gone.
type busy struct {
	*fake.Links
	calls int
}

func (b *busy) Macvlan(parent string, g netlink.Guest) error {
	err := b.Links.Macvlan(parent, g)
	if b.calls++; b.calls < 3 {
		return errors.Join(err, unix.EADDRINUSE)
	}
	return err
}

func TestMacvlanWaitsForItsAddress(t *testing.T) {
	b := &busy{Links: &fake.Links{}}
	if _, _, err := plugged(t, nic.Macvlan(b), env(), cfg("nictype", "macvlan", "parent", "host0")); err != nil || b.calls != 3 {
		t.Error(err, b.calls)
	}
}

// TestNamesByMAC: the host's side can be named by the MAC address; one that is attached is found whatever the setting says by then.
func TestNamesByMAC(t *testing.T) {
	byMAC := true
	n, _ := setup()
	names := nic.Naming{Salt: "s", ByMAC: func() bool { return byMAC }}
	for via, k := range map[string]device.Kind{"bridged": nic.Bridged(n, n.links, names), "p2p": nic.PointToPoint(n.links, names)} {
		c := cfg("nictype", via, "parent", "br0")
		if via == "p2p" {
			delete(c, "parent")
		}
		byMAC = true
		g, err := attach(t, make(t, k, env(), c))
		if err != nil || g.Volatile["host_name"] != "lxd163e000001" {
			t.Fatal(via, g.Volatile, err)
		}
		byMAC = false
		if err := make(t, k, env("host_name", g.Volatile["host_name"]), c).Detach(t.Context()); err != nil {
			t.Error(via, err)
		}
		if left := n.links.State(); len(left) > 0 || len(n.ports) > 0 {
			t.Error(via, left, n.ports)
		}
		if g, err := make(t, k, env(), c).Attach(t.Context()); err != nil || !strings.HasPrefix(g.Volatile["host_name"], "veth") {
			t.Error(via, g.Volatile, err)
		}
	}
}
