// Package all is the only list of backends.
package all

import (
	"os"
	"path/filepath"

	"lxd/internal/driver/device/nic"
	"lxd/internal/driver/device/proxy"
	"lxd/internal/driver/firewall/nft"
	"lxd/internal/driver/machine/lxc"
	"lxd/internal/driver/network/bridge"
	"lxd/internal/host/cgroup"
	"lxd/internal/host/relay"
	"lxd/internal/machine"
	"lxd/internal/network"
	"lxd/internal/storage"
)

// Host is where the backends work.
type Host struct {
	// Dir is the daemon's state directory; what is shared with other daemons on the host is named after it.
	Dir string
	// Helper is the program that loads liblxc.
	Helper string
}

// Set is one instance of every backend.
type Set struct {
	Machine  machine.Driver
	Storage  []storage.Driver
	Networks []network.Driver
	// Links are the host's interfaces.
	Links nic.Links
	// Relays are the processes of proxy devices, and NAT what rewrites packets instead.
	Relays proxy.Relays
	NAT    proxy.NAT
	// Firewall names the program whose rules are used, for the server's description of itself.
	Firewall string
	// Lacks tells what instances could be given if the host had it; nil is nothing.
	Lacks func() ([]cgroup.Feature, error)
	// Close lets go of the host; what runs goes on running.
	Close func() error
}

// Described is the backends that have tables of keys, without a host to work on.
func Described() Set {
	return Set{Storage: Storage(), Networks: []network.Driver{bridge.New(bridge.Options{})}}
}

// Open makes the backends of a real host.
func Open(h Host) (Set, error) {
	containers, err := lxc.New(h.Helper)
	if err != nil {
		return Set{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return Set{}, err
	}
	firewall := nft.New(h.Dir)
	bridges := bridge.New(bridge.Options{Firewall: firewall})
	return Set{
		Machine:  containers,
		Storage:  usable(),
		Networks: []network.Driver{bridges},
		Links:    nic.Host{},
		Relays:   relay.Keeper{Program: self, Dir: filepath.Join(h.Dir, "relays")},
		NAT:      firewall,
		Firewall: "nftables",
		Lacks: func() ([]cgroup.Feature, error) {
			t, err := cgroup.Open("/sys/fs/cgroup")
			if err != nil {
				return nil, err
			}
			return t.Lacks(), nil
		},
		Close: func() error {
			bridges.Close()
			return containers.Close()
		},
	}, nil
}
