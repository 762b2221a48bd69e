package bridge_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/driver/network/bridge"
	"lxd/internal/errs"
	"lxd/internal/network"
)

func TestGoldenConfig(t *testing.T) {
	for name, cfg := range map[string]map[string]string{
		"default": {"ipv4.address": "10.1.2.1/24", "ipv6.address": "fd42:1::1/64"},
		"full": {
			"ipv4.address": "10.1.2.1/22", "ipv4.dhcp.ranges": "10.1.2.10-10.1.2.20, 10.1.3.1-10.1.3.9", "ipv4.dhcp.expiry": "2d",
			"ipv4.dhcp.gateway": "10.1.2.254", "ipv6.address": "fd42:1::1/64", "ipv6.dhcp.stateful": "true",
			"ipv6.dhcp.ranges": "fd42:1::10-fd42:1::20", "bridge.mtu": "9000", "dns.domain": "example.net",
			"dns.search": "example.net, example.org", "dns.mode": "dynamic",
		},
		"no-routing": {"ipv4.address": "10.1.2.1/24", "ipv4.routing": "false", "ipv6.address": "fd42:1::1/64", "ipv6.routing": "false"},
		"no-dhcp":    {"ipv4.address": "10.1.2.1/24", "ipv4.dhcp": "false", "ipv6.address": "fd42:1::1/64", "ipv6.dhcp": "false", "dns.mode": "none"},
		"ipv6-only":  {"ipv4.address": "none", "ipv6.address": "fd42:1::1/64"},
	} {
		got := bridge.Config(network.Net{Name: "lxdbr0", Dir: "/state/networks/lxdbr0", Config: cfg})
		var kept []string // whom dnsmasq becomes depends on the machine
		for line := range strings.Lines(got) {
			if !strings.HasPrefix(line, "user=") && !strings.HasPrefix(line, "group=") {
				kept = append(kept, line)
			}
		}
		got = strings.Join(kept, "")
		file := filepath.Join("testdata", name+".conf")
		if *update {
			must(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s (%v):\n%s", file, err, got)
		}
	}
}

func TestFillRefuses(t *testing.T) {
	d := bridge.New(bridge.Options{})
	defer d.Close()
	for want, cfg := range map[string]map[string]string{
		"ipv4.address":           {"ipv4.address": "10.1.2.0/24"},
		"length must be":         {"ipv4.address": "10.1.2.1/31"},
		"such as fd42":           {"ipv6.address": "10.1.2.1/24"},
		"within the subnet":      {"ipv4.address": "10.1.2.1/24", "ipv4.dhcp.ranges": "10.1.3.2-10.1.3.9"},
		"FIRST-LAST":             {"ipv4.address": "10.1.2.1/24", "ipv4.dhcp.ranges": "10.1.2.9-10.1.2.2"},
		"of the other family":    {"ipv4.address": "10.1.2.1/24", "ipv4.nat.address": "fd42::1"},
		"room to choose":         {"ipv6.address": "fd42::1/80"},
		"makes none of VLANs":    {"bridge.external_interfaces": "eth1/eth0/5"},
		`supports "native"`:      {"bridge.driver": "openvswitch"},
		`supports "standard"`:    {"bridge.mode": "fan"},
		"control character":      {"dns.domain": "lxd\nuser=root"},
		"domain name":            {"dns.domain": "-x"},
		"1h":                     {"ipv4.dhcp.expiry": "1 h"},
		"from 1280":              {"bridge.mtu": "100"},
		`"tunnel.a.protocol"`:    {"tunnel.a.protocol": "vxlan"},
		`"ipv4.dhcp.ranges"`:     {"ipv4.address": "none", "ipv4.dhcp.ranges": "10.1.2.9-10.1.2.20"},
		`unknown network config`: {"bogus": "1"},
	} {
		if _, err := d.Fill(t.Context(), "lxdbr0", cfg, true); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", cfg, err)
		}
	}
}

func TestFillOfAnExistingNetworkAddsNoAddress(t *testing.T) {
	d := bridge.New(bridge.Options{})
	defer d.Close()
	cfg, err := d.Fill(t.Context(), "lxdbr0", map[string]string{"ipv4.address": ""}, false)
	if err != nil || cfg["ipv4.address"] != "" || cfg["ipv4.nat"] != "" || cfg["volatile.bridge.hwaddr"] == "" {
		t.Fatal(cfg, err)
	}
	cfg, err = d.Fill(t.Context(), "lxdbr0", map[string]string{"ipv4.address": "10.3.3.1/24", "ipv6.address": "none"}, true)
	if err != nil || cfg["ipv4.nat"] != "" {
		t.Fatal("NAT is on by itself only for an automatic subnet:", cfg, err)
	}
}

func TestHostLine(t *testing.T) {
	n := network.Net{Name: "lxdbr0", Config: map[string]string{}}
	none := network.Net{Name: "lxdbr0", Config: map[string]string{"dns.mode": "none"}}
	p := network.Port{Project: "default", Instance: "c1", Hwaddr: "00:16:3E:00:00:01"}
	other, long, static, bad := p, p, p, p
	other.Project, long.Project = "web.2", strings.Repeat("x", 63)
	static.IPv4, static.IPv6 = netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd42::3")
	bad.Hwaddr = "00:16:3e:00:00:01,10.0.0.1"
	for _, c := range []struct {
		n    network.Net
		p    network.Port
		want string
	}{
		{n, p, "00:16:3e:00:00:01,c1\n"},
		{n, other, "00:16:3e:00:00:01,c1-web-2\n"},
		{n, long, ""},
		{n, static, "00:16:3e:00:00:01,10.1.2.3,[fd42::3],c1\n"},
		{none, p, ""},
		{none, static, "00:16:3e:00:00:01,10.1.2.3,[fd42::3]\n"},
		{n, network.Port{Instance: "c1"}, ""},
	} {
		if got, err := bridge.HostLine(c.n, c.p); got != c.want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
	}
	for _, name := range []string{"c1\n00:16:3e:00:00:02,victim", "c1,10.0.0.1", "a.b"} {
		p.Instance = name
		if got, err := bridge.HostLine(n, p); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q gives %q, %v", name, got, err)
		}
	}
}

const leaseText = `duid 00:01:00:01:2c:1d:6c:5b:00:16:3e:aa:bb:cc
1763766000 00:16:3e:00:00:01 10.1.2.17 c1 ff:00:11
0 00:16:3e:00:00:02 10.1.2.18 * 01:00:16:3e:00:00:02
1763766000 12345 fd42::17 c1 00:03:00:01:00:16:3e:00:00:01
1763766000 12346 fd42::18 * 00:01:00:01:2c:1d:6c:5b:00:16:3e:00:00:02
1763766000 12347 fd42::19 x 00:02:00:00:ab:11:01:02
1763766000 12348 fd42::1
x y z w
`

func TestParseLeases(t *testing.T) {
	got, err := bridge.ParseLeases(leaseText)
	must(t, err)
	at := time.Unix(1763766000, 0)
	want := []network.Lease{
		{Hwaddr: "00:16:3e:00:00:01", Address: "10.1.2.17", Hostname: "c1", Type: "dynamic", Expires: at},
		{Hwaddr: "00:16:3e:00:00:02", Address: "10.1.2.18", Type: "dynamic"},
		{Hwaddr: "00:16:3e:00:00:01", Address: "fd42::17", Hostname: "c1", Type: "dynamic", Expires: at},
		{Hwaddr: "00:16:3e:00:00:02", Address: "fd42::18", Type: "dynamic", Expires: at},
		{Address: "fd42::19", Hostname: "x", Type: "dynamic", Expires: at},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

func FuzzParseLeases(f *testing.F) {
	f.Add(leaseText)
	f.Add("1 2 :: * 00:03")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := bridge.ParseLeases(text)
		for _, l := range list {
			if _, bad := netip.ParseAddr(l.Address); bad != nil {
				t.Fatal(l, err)
			}
		}
	})
}

func TestPortsHaveFilesOfTheirOwn(t *testing.T) {
	a := bridge.HostFile(network.Net{Dir: "/n"}, network.Port{Project: "x", Instance: "c1", Device: "eth0.d"})
	b := bridge.HostFile(network.Net{Dir: "/n"}, network.Port{Project: "x.c1", Instance: "eth0", Device: "d"})
	if a == b || filepath.Dir(a) != "/n/dnsmasq.hosts" || filepath.Dir(b) != "/n/dnsmasq.hosts" {
		t.Error(a, b)
	}
}
