package bridge_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/driver/firewall/nft"
	"lxd/internal/driver/network/bridge"
	"lxd/internal/host/netns"
	"lxd/internal/network"
	"lxd/internal/network/networktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { flag.Parse(); netns.Main(m) }

// stateDir is a folder that dnsmasq may read when it has become another user.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "bridge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func driver(t *testing.T, dir string) *bridge.Driver {
	t.Helper()
	d := bridge.New(bridge.Options{Firewall: nft.New(dir)})
	d.Report(func(tr network.Trouble) { t.Log(tr) })
	t.Cleanup(d.Close)
	return d
}

func netDir(t *testing.T, dir, name string) string {
	t.Helper()
	d := filepath.Join(dir, "networks", name)
	if err := os.MkdirAll(d, 0o711); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContract(t *testing.T) {
	netns.Skip(t)
	networktest.Run(t, func(t *testing.T) networktest.Subject {
		dir := stateDir(t)
		return networktest.Subject{
			Driver: driver(t, dir), Name: "lxdbr0", Dir: netDir(t, dir, "lxdbr0"),
			Config: map[string]string{"ipv4.address": "10.77.0.1/24"},
			Change: map[string]string{"bridge.mtu": "1400", "ipv4.address": "10.78.0.1/24", "dns.domain": "example.net"},
			Static: [2]netip.Addr{netip.MustParseAddr("10.77.0.5"), netip.MustParseAddr("10.77.0.6")},
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// net is a complete network of that configuration.
func netOf(t *testing.T, d *bridge.Driver, n network.Net) network.Net {
	t.Helper()
	cfg, err := d.Fill(t.Context(), n.Name, n.Config, true)
	must(t, err)
	n.Config = cfg
	return n
}
