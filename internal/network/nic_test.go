package network_test

import (
	"testing"

	"lxd/internal/network"
)

func TestPortOfNIC(t *testing.T) {
	n := network.NIC{
		Project: "web", Instance: "c1", Device: "eth0",
		Config:         map[string]string{"type": "nic", "network": "lxdbr0", "ipv4.address": "10.0.0.5", "ipv6.address": "none", "security.ipv6_filtering": "yes"},
		InstanceConfig: map[string]string{"volatile.eth0.hwaddr": "00:16:3e:00:00:01", "volatile.eth1.hwaddr": "00:16:3e:00:00:02"},
	}
	p := n.Port()
	if p.Project != "web" || p.Instance != "c1" || p.Device != "eth0" || p.Hwaddr != "00:16:3e:00:00:01" || p.IPv4.String() != "10.0.0.5" {
		t.Errorf("%+v", p)
	}
	if p.IPv6.IsValid() || p.FilterIPv4 || !p.FilterIPv6 || !p.FilterMAC {
		t.Errorf("%+v", p)
	}
	n.Config["queue.tx.length"], n.Config["ipv4.routes"], n.Config["ipv6.routes"] = "77", "10.1.0.1/24, 10.2.0.0/24", "fd42::/64"
	if p = n.Port(); p.TxQueue != 77 || len(p.Routes) != 3 || p.Routes[0].String() != "10.1.0.0/24" {
		t.Errorf("%+v", p)
	}
	n.Config["hwaddr"] = "00:16:3E:AA:BB:CC"
	if p = n.Port(); p.Hwaddr != "00:16:3e:aa:bb:cc" {
		t.Error("its own MAC address goes first:", p.Hwaddr)
	}
}

func TestNICIsOnNetwork(t *testing.T) {
	for _, c := range []struct {
		cfg  map[string]string
		want bool
	}{
		{map[string]string{"type": "nic", "network": "lxdbr0"}, true},
		{map[string]string{"type": "nic", "nictype": "bridged", "parent": "lxdbr0"}, true},
		{map[string]string{"type": "nic", "network": "other", "parent": "lxdbr0"}, false},
		{map[string]string{"type": "disk", "network": "lxdbr0"}, false},
		{map[string]string{"type": "nic"}, false},
		{map[string]string{"type": "nic", "nictype": "macvlan", "parent": "lxdbr0"}, false},
	} {
		if got := (network.NIC{Config: c.cfg}).On("lxdbr0"); got != c.want {
			t.Errorf("%v: %v", c.cfg, got)
		}
	}
}
