package fake_test

import (
	"errors"
	"net/netip"
	"testing"

	"lxd/internal/driver/network/fake"
	"lxd/internal/network"
	"lxd/internal/network/networktest"
)

func TestContract(t *testing.T) {
	networktest.Run(t, func(t *testing.T) networktest.Subject {
		return networktest.Subject{
			Driver: fake.New(), Name: "lxdbr0", Dir: t.TempDir(),
			Config: map[string]string{"ipv4.address": "auto"}, Change: map[string]string{"bridge.mtu": "1400"},
			Static: [2]netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")},
		}
	})
}

func TestFailNext(t *testing.T) {
	d, boom := fake.New(), errors.New("boom")
	n := network.Net{Name: "lxdbr0"}
	d.FailNext("Up", boom)
	if err := d.Up(t.Context(), n); !errors.Is(err, boom) || len(d.Nets()) > 0 {
		t.Fatal(err)
	}
	if err := d.Up(t.Context(), n); err != nil || len(d.Nets()) != 1 {
		t.Fatal(err)
	}
}
