package app

import (
	"context"
	"path/filepath"

	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/driver/device/nic"
	"lxd/internal/driver/device/proxy"
	"lxd/internal/driver/device/unix"
	"lxd/internal/driver/device/unix/watch"
	"lxd/internal/endpoint"
	"lxd/internal/schema"
	"lxd/internal/server"
)

// kinds are the devices that instances may have.
func (a *App) kinds(d *domain) []device.Kind {
	nodes := &watch.Watcher{}
	a.onClose("watch over device nodes", func(context.Context) error { return nodes.Close() })
	return allKinds(d, a.dir.path, nodes)
}

// namesByMAC tells whether the host's sides of NICs are named by their MAC addresses.
func (d *domain) namesByMAC() bool {
	v, err := d.server.Get(context.Background(), server.HostNames)
	return err == nil && v == "mac"
}

// allKinds are the kinds; the names of what they make on the host differ between daemons by salt, which is the folder of this one.
func allKinds(d *domain, salt string, nodes *watch.Watcher) []device.Kind {
	links, names := d.backends.Links, nic.Naming{Salt: salt, ByMAC: d.namesByMAC}
	all := []device.Kind{
		disk.Kind(d.pools), nic.Bridged(d.networks, links, names), nic.PointToPoint(links, names), nic.Macvlan(links), nic.Physical(links, filepath.Join(salt, "devices")),
		proxy.Kind(d.backends.Relays, d.backends.NAT),
	}
	return append(all, unix.Kinds(nodes)...)
}

// deviceTables adds the keys of all devices to what the API tells of configuration.
func deviceTables(t endpoint.Tables) {
	for _, k := range allKinds(&domain{}, "", nil) {
		name := "device-" + k.Type
		if k.Subtype != "" {
			name += "-" + k.Subtype
		}
		t[name] = map[string][]schema.Key{"device-conf": k.Keys.Keys()}
	}
}
