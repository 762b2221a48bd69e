package nft_test

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/driver/firewall/nft"
	"lxd/internal/host/netns"
	"lxd/internal/network"
	"lxd/internal/network/acl"
	"lxd/internal/network/forward"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { flag.Parse(); netns.Main(m) }

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func guards() map[string]network.Guard {
	v4 := network.Family{Subnet: netip.MustParsePrefix("10.1.2.1/24"), Open: true, Routing: true, NAT: true}
	v6 := network.Family{Subnet: netip.MustParsePrefix("fd42:1:2:3::1/64"), Open: true, Routing: true, NAT: true}
	closed, kept, address := v4, v4, v4
	closed.Open = false
	kept.Routing, kept.NAT = false, false
	address.Subnet = netip.MustParsePrefix("10.1.2.1/22")
	address.NATAddress, address.NATAfter = netip.MustParseAddr("192.0.2.7"), true
	address6 := v6
	address6.NATAddress = netip.MustParseAddr("2001:db8::7")
	return map[string]network.Guard{
		"both":        {Network: "lxdbr0", IPv4: v4, IPv6: v6, DHCPv4: true, DHCPv6: true, DNS: true},
		"closed":      {Network: "lxdbr0", IPv4: closed, DNS: true},
		"no-routing":  {Network: "lxdbr0", IPv4: kept},
		"nat-address": {Network: "lxdbr0", IPv4: address, IPv6: address6, DHCPv4: true, DNS: true},
		"none":        {Network: "lxdbr0"},
		"forwards":    {Network: "lxdbr0", IPv4: v4, IPv6: v6, Forwards: forwards()},
		"policy":      {Network: "lxdbr0", IPv4: v4, IPv6: v6, DHCPv4: true, DNS: true, Policy: policy()},
		"policy-forwards": {Network: "lxdbr0", IPv4: v4, IPv6: v6, Forwards: forwards(), Policy: &acl.Policy{
			Ingress: acl.Side{Default: acl.Reject}, Egress: acl.Side{Default: acl.Allow},
		}},
		"policy-alone": {Network: "lxdbr0", IPv4: kept, Policy: &acl.Policy{
			Ingress: acl.Side{Default: acl.Allow}, Egress: acl.Side{Default: acl.Drop, Log: true},
		}},
	}
}

// ranges are of ports: pairs of their ends.
func ranges(ends ...uint16) (list []forward.Range) {
	for i := 0; i < len(ends); i += 2 {
		list = append(list, forward.Range{First: ends[i], Last: ends[i+1]})
	}
	return list
}

func forwards() []forward.Rule {
	a := netip.MustParseAddr
	return []forward.Rule{
		{Listen: a("192.0.2.1"), Target: a("10.1.2.9"), Ports: []forward.Port{
			{Protocol: "tcp", Listen: ranges(80, 80, 90, 95, 96, 96), Target: a("10.1.2.3")},
			{Protocol: "udp", Listen: ranges(53, 53), Target: a("10.1.2.3"), To: ranges(5353, 5353)},
			{Protocol: "tcp", Listen: ranges(100, 101), Target: a("10.1.2.4"), To: ranges(200, 200, 300, 300)},
		}},
		{Listen: a("2001:db8::1"), Target: a("fd42:1:2:3::9"), Ports: []forward.Port{
			{Protocol: "udp", Listen: ranges(1, 65535), Target: a("fd42:1:2:3::3")},
			{Protocol: "tcp", Listen: ranges(80, 80), Target: a("fd42:1:2:3::3"), To: ranges(8080, 8080)},
			{Protocol: "tcp", Listen: ranges(81, 82), Target: a("fd42:1:2:3::3"), To: ranges(1000, 1001)},
		}},
	}
}

// policy is one with every kind of rule.
func policy() *acl.Policy {
	p, err := acl.Compile([]acl.Record{{
		Name: "web",
		Ingress: []api.NetworkACLRule{
			{Action: "allow", State: "enabled", Protocol: "tcp", DestinationPort: "80,443,8000-8010"},
			{Action: "allow", State: "logged", Protocol: "icmp4", ICMPType: "8"},
			{Action: "allow", State: "enabled", Protocol: "icmp6", ICMPType: "128", ICMPCode: "7"},
			{Action: "reject", State: "enabled", Source: "10.9.0.0/16,10.10.0.1-10.10.0.9,10.10.0.5,2001:db8:1::/64", Protocol: "udp", SourcePort: "53"},
			{Action: "drop", State: "disabled"},
			{Action: "drop", State: "logged", Source: "192.0.2.0/24"},
		},
		Egress: []api.NetworkACLRule{
			{Action: "allow", State: "enabled", Destination: "198.51.100.7,198.51.100.9", Source: "10.1.2.3"},
			{Action: "drop", State: "enabled", Protocol: "icmp4"},
			{Action: "allow", State: "enabled", Protocol: "tcp"},
			{Action: "allow", State: "enabled", Protocol: "udp", SourcePort: "1000-2000", DestinationPort: "7"},
		},
	}})
	if err != nil {
		panic(err)
	}
	p.Ingress.Log = true
	return &p
}

func filters() map[string]network.Filter {
	mac := "00:16:3e:01:02:03"
	return map[string]network.Filter{
		"mac": {HostName: "veth0", Hwaddr: mac},
		"all": {
			HostName: "veth0", Hwaddr: mac, FilterIPv4: true, FilterIPv6: true,
			AllowedIPv4: prefixes("10.1.2.3/32", "10.5.0.0/16", "10.6.4.0/22"), AllowedIPv6: prefixes("fd42::3/128", "fd43::/64"),
		},
		"ipv4":    {HostName: "veth0", Hwaddr: mac, FilterIPv4: true, AllowedIPv4: prefixes("10.1.2.3/32")},
		"ipv6":    {HostName: "veth0", Hwaddr: mac, FilterIPv6: true, AllowedIPv6: prefixes("fd42::3/128")},
		"nothing": {HostName: "veth0", Hwaddr: mac, FilterIPv4: true, FilterIPv6: true},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".nft")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v):\n%s", file, err, got)
	}
}

func TestGoldenRules(t *testing.T) {
	for name, g := range guards() {
		golden(t, "guard-"+name, nft.RenderGuard("lxd", g))
	}
	for name, f := range filters() {
		text, err := nft.RenderFilter("lxd", f)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "filter-"+name, text)
	}
}

// tables runs the nft tool: what it reads back from the kernel must be what the golden files say.
func tables(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", append([]string{"-s", "list"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestKernelHasWhatTheTextSays(t *testing.T) {
	netns.Skip(t)
	fw := nft.New("/var/lib/lxd")
	for name, g := range guards() {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second replaces the first
				if err := fw.Guard(t.Context(), g); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := tables(t, "table", "inet", "lxd"), nft.RenderGuard("lxd", g); got != want {
				t.Errorf("kernel has:\n%s\nwanted:\n%s", got, want)
			}
		})
	}
	for range 2 {
		if err := fw.Unguard(t.Context(), "lxdbr0"); err != nil {
			t.Fatal(err)
		}
	}
	if rest := tables(t, "ruleset"); rest != "" {
		t.Error("left:", rest)
	}
}

func TestKernelHasTheFilters(t *testing.T) {
	netns.Skip(t)
	fw := nft.New("/var/lib/lxd")
	for name, f := range filters() {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if err := fw.Filter(t.Context(), f); err != nil {
					t.Fatal(err)
				}
			}
			text, err := nft.RenderFilter("lxd", f)
			if err != nil {
				t.Fatal(err)
			}
			got := tables(t, "table", "bridge", "lxd")
			_, text, _ = strings.Cut(text, "\n") // the chains, without the line that names the table
			if !strings.Contains(got, text) {
				t.Errorf("kernel has:\n%s\nwanted:\n%s", got, text)
			}
			if !strings.Contains(got, `elements = { "veth0" : jump port.veth0 }`) {
				t.Error("nothing leads to the chains:\n", got)
			}
		})
	}
	other := network.Filter{HostName: "veth1", Hwaddr: "00:16:3e:01:02:04"}
	if err := fw.Filter(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fw.Unfilter(t.Context(), "veth0"); err != nil {
			t.Fatal(err)
		}
	}
	if got := tables(t, "ruleset"); strings.Contains(got, "veth0") || !strings.Contains(got, "port.veth1") {
		t.Error(got)
	}
	if err := fw.Unfilter(t.Context(), "veth1"); err != nil {
		t.Fatal(err)
	}
	if rest := tables(t, "ruleset"); rest != "" {
		t.Error("left:", rest)
	}
}

func TestDaemonsSideBySide(t *testing.T) {
	netns.Skip(t)
	a, b := nft.New("/var/lib/lxd/"), nft.New("/srv/other")
	if a.Table() != "lxd" || b.Table() == a.Table() || b.Table() != nft.New("/srv/other").Table() {
		t.Fatal(a.Table(), b.Table())
	}
	g := guards()["both"]
	for _, fw := range []*nft.Firewall{a, b} {
		if err := fw.Guard(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Unguard(t.Context(), "lxdbr0"); err != nil {
		t.Fatal(err)
	}
	if got := tables(t, "ruleset"); got != nft.RenderGuard(b.Table(), g) {
		t.Error(got)
	}
	if err := b.Unguard(t.Context(), "lxdbr0"); err != nil {
		t.Fatal(err)
	}
}

func TestFilterNeedsHwaddr(t *testing.T) {
	if err := nft.New("/x").Filter(t.Context(), network.Filter{HostName: "veth0"}); err == nil {
		t.Fatal("a port without a MAC address cannot be filtered")
	}
}
