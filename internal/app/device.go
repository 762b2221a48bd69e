package app

import (
	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/driver/device/nic"
	"lxd/internal/driver/device/proxy"
	"lxd/internal/endpoint"
	"lxd/internal/schema"
)

// kinds are the devices that instances may have. The names of what they make on the host differ between daemons by salt.
func (d *domain) kinds(salt string) []device.Kind {
	return []device.Kind{disk.Kind(d.pools), nic.Bridged(d.networks, salt), proxy.Kind(d.backends.Relays, d.backends.NAT)}
}

// deviceTables adds the keys of all devices to what the API tells of configuration.
func deviceTables(t endpoint.Tables) {
	for _, k := range []device.Kind{disk.Kind(nil), nic.Bridged(nil, ""), proxy.Kind(nil, nil)} {
		name := "device-" + k.Type
		if k.Subtype != "" {
			name += "-" + k.Subtype
		}
		t[name] = map[string][]schema.Key{"device-conf": k.Keys.Keys()}
	}
}
