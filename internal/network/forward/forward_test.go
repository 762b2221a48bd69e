package forward_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/forward"
)

var subnets = []netip.Prefix{netip.MustParsePrefix("10.1.2.1/24"), netip.MustParsePrefix("fd42::1/64")}

func record(listen string, config map[string]string, ports ...api.NetworkForwardPort) forward.Record {
	return forward.Record{Project: "default", Network: "br0", Listen: listen, Config: config, Ports: ports}
}

func port(protocol, listen, address, to string) api.NetworkForwardPort {
	return api.NetworkForwardPort{Protocol: protocol, ListenPort: listen, TargetAddress: address, TargetPort: to}
}

func TestRule(t *testing.T) {
	r, err := record("192.0.2.1", map[string]string{"target_address": "10.1.2.9", "user.x": "y"},
		port("tcp", "80, 90-92", "10.1.2.3", ""), port("udp", "80", "10.1.2.3", "8080"), port("tcp", "100-101", "10.1.2.4", "200,300")).Rule(subnets...)
	if err != nil {
		t.Fatal(err)
	}
	if r.Target.String() != "10.1.2.9" || r.Listen.String() != "192.0.2.1" || len(r.Ports) != 3 {
		t.Fatalf("%+v", r)
	}
	if p := r.Ports[0]; !slices.Equal(p.Listen, []forward.Range{{First: 80, Last: 80}, {First: 90, Last: 92}}) || p.To != nil || forward.Count(p.Listen) != 4 {
		t.Errorf("%+v", p)
	}
	if got := slices.Collect(forward.Each(r.Ports[2].To)); !slices.Equal(got, []uint16{200, 300}) {
		t.Error(got)
	}
	if _, err := record("2001:db8::1", map[string]string{"target_address": "fd42::5"}).Rule(subnets...); err != nil {
		t.Error(err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	good := "10.1.2.3"
	for why, r := range map[string]forward.Record{
		"missing":                         record("", nil),
		"not an IP address":               record("host", nil),
		"cannot be forwarded":             record("127.0.0.1", nil),
		"no.such":                         record("192.0.2.1", map[string]string{"no.such": "1"}),
		"not within":                      record("192.0.2.1", map[string]string{"target_address": "10.9.9.9"}),
		"another family":                  record("192.0.2.1", map[string]string{"target_address": "fd42::5"}),
		"must be tcp or udp":              record("192.0.2.1", nil, port("icmp", "80", good, "")),
		"listen_port is missing":          record("192.0.2.1", nil, port("tcp", "", good, "")),
		"port from 1 to 65535":            record("192.0.2.1", nil, port("tcp", "0", good, "")),
		"range FIRST-LAST":                record("192.0.2.1", nil, port("tcp", "9-8", good, "")),
		"port 85 is listed twice":         record("192.0.2.1", nil, port("tcp", "80-85", good, ""), port("udp", "80", good, ""), port("tcp", "85-90", good, "")),
		"port 81 is listed twice":         record("192.0.2.1", nil, port("tcp", "80-85,81", good, "")),
		"has 2 ports and listen_port 3":   record("192.0.2.1", nil, port("tcp", "80-82", good, "1-2")),
		"target_address: \"\" is not":     record("192.0.2.1", nil, port("tcp", "80", "", "")),
		"target_address: 10.1.2.0 is not": record("192.0.2.1", nil, port("tcp", "80", "10.1.2.0", "")),
	} {
		if _, err := r.Rule(subnets...); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, got %v", why, err)
		}
	}
	_, err := record("192.0.2.1", nil, port("tcp", "x", good, ""), port("tcp", "80", "1.2.3.4", "")).Rule(subnets...)
	if err == nil || !strings.Contains(err.Error(), "number 1") || !strings.Contains(err.Error(), "number 2") {
		t.Error("not all that is wrong is named:", err)
	}
}

func TestShow(t *testing.T) {
	r := record("192.0.2.1", map[string]string{"user.a": "1"}).With(api.NetworkForwardPut{Description: "d", Config: map[string]string{"user.b": "2", "user.a": ""}})
	f := r.Show("none")
	if f.ListenAddress != "192.0.2.1" || f.Description != "d" || len(f.Config) != 1 || f.Ports == nil || f.Location != "none" {
		t.Errorf("%+v", f)
	}
	if c := r.Change(api.LifecycleNetworkForwardCreated); c.Source != "/1.0/networks/br0/forwards/192.0.2.1" || c.Project != "default" {
		t.Errorf("%+v", c)
	}
}
