package address_test

import (
	"net/netip"
	"testing"

	"lxd/internal/host/address"
)

func TestPublic(t *testing.T) {
	for _, a := range []string{"1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "2001:db8::1"} {
		if !address.Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	for _, a := range []string{
		"127.0.0.1", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1", "fe80::1%lo", "fd42::1", "224.0.0.1",
		"ff02::1", "100.64.0.1", "198.18.0.1", "192.0.0.8", "255.255.255.255", "0.1.2.3", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
		"2002:7f00:1::", "fec0::1",
	} {
		if address.Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is public", a)
		}
	}
	if address.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}
