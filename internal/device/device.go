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
	// IDMap is the user namespace of the instance; none means that it is privileged.
	IDMap []IDRange
	// Restricted says that the project may only use what it is allowed to: what guests write must not lead elsewhere.
	Restricted bool
}

// IDRange maps Size user and group ids from Inside to Host.
type IDRange struct{ Host, Inside, Size int64 }

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

// Disconnector is a Connector whose interface does not go with its host side, since it has none.
type Disconnector interface {
	// Disconnect removes the interface from the namespace of a machine that goes on running. It is called before Detach, and idempotent.
	Disconnect(ctx context.Context, netns *os.File) error
}

// Starter is a Device that does something while the machine runs, such as a proxy.
type Starter interface {
	// Start is called once the machine runs: at the end of its start, after Attach and Connect; when the device is plugged in; and again
	// by a restarted daemon that finds the machine running, since what a daemon does in its own process ends with it. It is
	// idempotent. On failure nothing is left. Detach undoes it as well; it may be called in a daemon that has not started anything.
	Start(ctx context.Context, m Machine) error
}

// Machine is what a device sees of the machine that it is in.
type Machine interface {
	// PID is the number of the machine's first process on the host. It may be another's once the machine has ended.
	PID() int
	// Namespace opens a namespace of the first process, named as in /proc/PID/ns: "net", "mnt", "user" and so on. It fails with NotFound
	// when the machine has ended, and never opens another's.
	Namespace(kind string) (*os.File, error)
}

// Noder is a Machine that devices can give nodes to and take them from while it runs, such as when hardware comes and goes. What is there
// when the device is detached is taken away with it.
type Noder interface {
	// AddNode makes a device node; it replaces an earlier one at the same path.
	AddNode(ctx context.Context, n Node) error
	// RemoveNode undoes AddNode. One that is not there is no error.
	RemoveNode(ctx context.Context, n Node) error
}

// Changer is a Device that can take on another configuration while it is attached. It is asked to only if all keys that differ are
// declared live in its kind's table.
type Changer interface {
	// Change makes the attached device, which was configured as before, like this one, and returns its limits and volatile keys as Attach
	// would. On failure it is as it was.
	Change(ctx context.Context, before Config) (Grant, error)
}

// Grant is what a machine must be given so that the device works in it, and what must be remembered.
type Grant struct {
	Mounts []Mount
	NICs   []NIC
	Nodes  []Node
	// Throttles limit what the machine reads and writes.
	Throttles []Throttle
	// Volatile keys, without the "volatile.<device>." prefix, to keep while the device is attached ("" removes).
	Volatile map[string]string
}

// Mount is one mount inside the machine. Where it goes is made if it is missing: a folder, or a file if Source is no folder.
type Mount struct {
	// Source is a file or folder of the host, or the device or other source of a file system.
	Source string
	// Target is a path inside the machine, from its root on.
	Target string
	// FSType is that of the file system to mount; "" or "none" shows Source itself, "auto" finds out what is on a device.
	FSType string
	// Options are those of the file system, such as "size=1M", and of the mount, such as "nosuid".
	Options  []string
	ReadOnly bool
	// NoLinks fails rather than following symbolic links on the way to Source.
	NoLinks bool
	// Recursive takes the mounts below Source along.
	Recursive bool
	// Shifted shows the owners of the files as those that have the same ids inside. It has no effect in a privileged machine.
	Shifted bool
	// Propagation is how mounts below it are shared with the host: "private" (also ""), "shared", "slave", "unbindable", or these with an
	// "r" before them, for the mounts below as well.
	Propagation string
}

// Throttle is the most that a machine may read and write in a second on the device that holds a file or folder; 0 is no limit.
type Throttle struct {
	// Path is on the host; "" is the root volume.
	Path                                               string
	ReadBytes, WriteBytes, ReadRequests, WriteRequests int64
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

// Node is a device node inside the machine, which may use the device. UID and GID are ids inside.
type Node struct {
	Path         string
	Block        bool
	Major, Minor uint32
	Mode         uint32
	UID, GID     uint32
}
