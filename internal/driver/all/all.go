// Package all is the only list of backends.
package all

import (
	"lxd/internal/driver/firewall/nft"
	"lxd/internal/driver/machine/lxc"
	"lxd/internal/driver/network/bridge"
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
	// Firewall names the program whose rules are used, for the server's description of itself.
	Firewall string
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
	bridges := bridge.New(bridge.Options{Firewall: nft.New(h.Dir)})
	return Set{
		Machine:  containers,
		Storage:  usable(),
		Networks: []network.Driver{bridges},
		Firewall: "nftables",
		Close: func() error {
			bridges.Close()
			return containers.Close()
		},
	}, nil
}
