// Package device holds what an instance is given besides its root file system: NICs, disks, device nodes, proxies.
package device

import (
	"context"

	"lxd/internal/schema"
)

// Config is the configuration of one device or instance: key to value.
type Config map[string]string

// Kind is one type of device. New parses and validates against the merged object; it has no effects.
type Kind struct {
	// Type is the wire name, such as "nic" or "disk".
	Type string
	// Subtype is the "nictype" or the like; "" when there is none.
	Subtype string
	Keys    *schema.Schema
	// New fails with Invalid, naming the device, on a configuration that cannot work.
	New func(ctx context.Context, env Env, cfg Config) (Device, error)
}

// Env is what a device knows of its instance.
type Env struct {
	Project, Instance, Name string
	// InstanceConfig is the expanded configuration of the instance, volatile keys included.
	InstanceConfig Config
	// Running tells whether the device is for a start or hot-plug.
	Running bool
	// Leaving tells that the device is only to be detached: what could not work any more today is no error then.
	Leaving bool
}

// Device is one device of one instance.
type Device interface {
	// Attach makes the host side and returns what the machine must see. On failure nothing is left.
	Attach(ctx context.Context) (Grant, error)
	// Detach undoes Attach. It is idempotent, and works after a crash from cfg and the volatile keys alone.
	Detach(ctx context.Context) error
}

// Grant is what a machine must be given so that the device works in it, and what must be remembered.
type Grant struct {
	Mounts []Mount
	NICs   []NIC
	Nodes  []Node
	// Volatile keys, without the "volatile.<device>." prefix, to keep while the device is attached ("" removes).
	Volatile map[string]string
}

// Mount is one mount inside the machine.
type Mount struct {
	// Source is a host path or device.
	Source string
	// Target is relative to the machine's root.
	Target  string
	FSType  string // "none" for a bind
	Options []string
}

// NIC is a network interface that exists on the host and moves into the machine at start.
type NIC struct {
	// HostName is the host side that stays ("" when there is none).
	HostName string
	// PeerName is the interface to move in.
	PeerName string
	// Name is what it is called inside.
	Name   string
	Hwaddr string
	MTU    int
}

// Node is a device node inside the machine.
type Node struct {
	Path         string
	Block        bool
	Major, Minor uint32
	Mode         uint32
	UID, GID     uint32
}
