// Package device holds what an instance is given besides its root file system: NICs, disks, device nodes, proxies.
package device

import (
	"context"
	"os"

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

// Connector is a Device with a network interface in the machine, which can only be made once the machine's network namespace exists.
type Connector interface {
	// Connect makes the interface that Attach has granted in that namespace, and its host side. It is called after Attach, before
	// the machine's first program runs, or while the machine runs when the device is plugged in. On failure nothing is left. Detach
	// undoes it as well.
	Connect(ctx context.Context, netns *os.File) error
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

// NIC is a network interface of the machine; the Connector that grants it makes it.
type NIC struct {
	// HostName is the side of it on the host ("" when there is none).
	HostName string
	// Name is what it is called inside.
	Name   string
	Hwaddr string
	// MTU is the largest packet size, 0 for that of the network.
	MTU int
}

// Node is a device node inside the machine.
type Node struct {
	Path         string
	Block        bool
	Major, Minor uint32
	Mode         uint32
	UID, GID     uint32
}
