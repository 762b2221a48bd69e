// Package machine is the contract between the rules of instances and what runs them: system containers, virtual machines.
package machine

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"lxd/internal/device"
)

// Plan is all that a driver needs to start a machine: complete, immutable, with nothing left to look up.
type Plan struct {
	// ID names the machine on this host: unique among the machines of this daemon, letters, digits, . _ -, such as
	// "default_c1".
	ID string
	// Name is the host name inside.
	Name string
	// RunDir is a folder of root's for the driver's sockets and generated files; it may be empty or hold leftovers. Others must be
	// able to pass through the folders on the way to it (0711), since a container's root is nobody on the host; those on the way to
	// Root as well.
	RunDir string
	// LogDir takes the driver's logs: lxc.log, console.log.
	LogDir string
	// Root is the mounted root file system.
	Root string
	// RootShifted says that the files' owners on disk are already the host ids of IDMap; otherwise the driver mounts Root
	// id-mapped.
	RootShifted bool
	// IDMap is the user namespace; empty means privileged.
	IDMap []IDRange
	// Init is the first program and its arguments; nil means /sbin/init.
	Init   []string
	Env    map[string]string
	Limits Limits
	// Rlimits are limits of each process, as "SOFT:HARD" or one value for both, by the names of prlimit(2) in lower case without
	// "RLIMIT_"; "unlimited" is one of the values.
	Rlimits map[string]string `json:",omitempty"`
	// Sysctls are kernel parameters of the machine's own namespaces, by their dotted names.
	Sysctls map[string]string `json:",omitempty"`
	// Syscalls says which system calls are refused; the zero Syscalls refuses those that endanger the host.
	Syscalls Syscalls `json:",omitzero"`
	Nesting  bool
	Mounts   []Mount
	// NICs are the network interfaces that Connect makes.
	NICs  []NIC
	Nodes []Node
	// Socket is the folder to show at /dev/lxd; "" is none.
	Socket string `json:",omitempty"`
	// Raw is "raw.lxc": lines appended after validation.
	Raw string
	// Connect makes the NICs; nil when there are none. The driver calls it once, when the machine's network namespace exists and
	// before the machine's first program runs. Its error is that of Start. What it has made goes with the namespace.
	Connect Connect `json:"-"`
}

// Connect makes network interfaces in a network namespace; the driver closes netns afterwards.
type Connect func(ctx context.Context, netns *os.File) error

// What devices ask for, in the words of this contract, so that drivers need no other.
type (
	// Mount is one mount inside the machine.
	Mount = device.Mount
	// NIC is a network interface of the machine.
	NIC = device.NIC
	// Node is a device node inside the machine.
	Node = device.Node
	// Throttle limits reading and writing.
	Throttle = device.Throttle
	// IDRange maps user and group ids.
	IDRange = device.IDRange
)

// Syscalls says which system calls a machine's programs may make, in the language of liblxc's policies of version 2.
type Syscalls struct {
	// Policy is a whole policy, in place of all else.
	Policy string `json:",omitempty"`
	// Allow are the rules of those that are allowed, all others being refused.
	Allow string `json:",omitempty"`
	// Deny are rules beyond the usual ones, which NoDefault leaves out; NoCompat refuses those of other architectures of the CPU.
	Deny      string `json:",omitempty"`
	NoDefault bool   `json:",omitempty"`
	NoCompat  bool   `json:",omitempty"`
}

// NoSwap is the Limits.Swappiness of machines that are never swapped out.
const NoSwap = -1

// Limits are resource limits; zero values mean none.
type Limits struct {
	// MemoryBytes is the hard limit; with MemorySoft it holds only when memory is short. Swap allows using swap beyond it.
	MemoryBytes int64
	MemorySoft  bool `json:",omitempty"`
	Swap        bool
	// Swappiness is how readily memory is swapped out, from 1 to 100, or NoSwap; 0 is the kernel's usual 60.
	Swappiness int64 `json:",omitempty"`
	// CPUSet is a kernel CPU list, such as "0-1,4".
	CPUSet string
	// CPUQuota and CPUPeriod are microseconds of the CFS scheduler.
	CPUQuota, CPUPeriod int64
	CPUShares           int64
	Processes           int64
	// DiskWeight is the share of disk access, from 10 to 1000, of which 500 are usual.
	DiskWeight int64 `json:",omitempty"`
	// Hugepages are bytes of huge pages of each size.
	Hugepages Hugepages `json:",omitzero"`
}

// Hugepages are limits in bytes by the size of the pages; zero values mean none.
type Hugepages struct{ KB64, MB1, MB2, GB1 int64 }

// Handle is what is stored of a running machine so that a restarted daemon finds it again.
type Handle struct {
	Driver string `json:"driver"`
	ID     string `json:"id"`
	RunDir string `json:"run_dir"`
	// PID is the machine's first process on the host, StartTime its kernel start time, against reuse of the number.
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"`
	// MonitorPID and MonitorStartTime are those of the process that watches over it.
	MonitorPID       int    `json:"monitor_pid"`
	MonitorStartTime uint64 `json:"monitor_start_time"`
}

// Driver runs machines of one kind.
type Driver interface {
	// Name is the wire name, such as "lxc" or "qemu".
	Name() string
	// Probe says what the driver can do here, or fails with the reason why it cannot run and what to do.
	Probe(ctx context.Context) (Info, error)
	// Start runs p and returns once its first process is up. On failure nothing is left running or mounted.
	Start(ctx context.Context, p Plan) (Machine, error)
	// Reattach finds a machine again after a restart of the daemon; it fails with NotFound when it no longer runs. One that has
	// ended and wants to be started again is returned all the same: it is Done, and its Exit says so.
	Reattach(ctx context.Context, h Handle) (Machine, error)
	// Reap ends and cleans up whatever a crash left of the machine of that ID and RunDir. A clean host is no error.
	Reap(ctx context.Context, id, runDir string) error
}

// Info describes a driver.
type Info struct {
	Version  string
	Features map[string]bool
}

// Status is what a machine does.
type Status uint8

// Statuses.
const (
	Running Status = iota
	Frozen
	Stopped
)

// Machine is one running machine. All methods may be called at the same time.
type Machine interface {
	// Handle is what to store; it does not change.
	Handle() Handle
	// Status is a look at the kernel, not a memory.
	Status(ctx context.Context) (Status, error)
	// Stop asks the machine to shut down and waits; after grace (0 = at once) it fails with Unavailable and leaves the machine
	// running. Kill ends it.
	Stop(ctx context.Context, grace time.Duration) error
	// Kill ends the machine at once and returns when all its processes are gone. One that has ended is no error.
	Kill(ctx context.Context) error
	// Done is closed when the machine has ended, by whatever cause; Exit then says how.
	Done() <-chan struct{}
	// Exit says how the machine ended; it may only be called after Done.
	Exit() Exit
	// Exec starts c inside; the returned process runs on when ctx ends.
	Exec(ctx context.Context, c Command) (Process, error)
	// Usage reads the counters of the machine.
	Usage(ctx context.Context) (Usage, error)
}

// Exit is how a machine ended.
type Exit struct {
	// Reboot says that the machine wants to be started again.
	Reboot bool
}

// Command is a program to run inside.
type Command struct {
	Args []string
	// Env is the whole environment, "KEY=value".
	Env      []string
	UID, GID uint32
	// Dir is the working folder inside; "" means the root's home or "/".
	Dir string
	// Rlimits are limits of the process, as in a Plan.
	Rlimits map[string]string
	// Terminal gives the program a new terminal of Width by Height instead of Stdin, Stdout and Stderr.
	Terminal      bool
	Width, Height int
	// Stdin, Stdout and Stderr are handed to the program as they are; nil means /dev/null.
	Stdin, Stdout, Stderr *os.File
}

// Process is one program started by Exec.
type Process interface {
	// PID is its number on the host.
	PID() int
	// Wait returns the exit code: 128+n when a signal n ended it, 127 when there was no such program, 126 when it could not be run.
	Wait(ctx context.Context) (int, error)
	// Signal sends s to the program (to its session's foreground group, when it has a terminal).
	Signal(s syscall.Signal) error
	// Terminal is the controlling side of the terminal, nil without one. The caller closes it.
	Terminal() *os.File
	// Resize sets the terminal's size in characters.
	Resize(width, height int) error
}

// Usage are counters of a running machine. A value of -1 means unknown here.
type Usage struct {
	PID         int
	Processes   int64
	CPUNanos    int64
	MemoryBytes int64
	MemoryPeak  int64
	SwapBytes   int64
	SwapPeak    int64
	Networks    []Interface
}

// Interface is one network interface inside the machine.
type Interface struct {
	Name, HostName, Hwaddr, Type, State  string
	MTU                                  int
	Addresses                            []Address
	BytesIn, BytesOut, PktsIn, PktsOut   int64
	ErrorsIn, ErrorsOut, DropIn, DropOut int64
}

// Address is one address of an Interface. Scope is "global", "link" or "local"; Family "inet" or "inet6".
type Address struct {
	Family, Address, Scope string
	Netmask                int
}

// Freezer is a Machine that can be paused.
type Freezer interface {
	Freeze(ctx context.Context) error
	Thaw(ctx context.Context) error
}

// Tuner is a Machine whose limits can change while it runs.
type Tuner interface {
	Tune(ctx context.Context, l Limits) error
}

// Plugger is a Machine that network interfaces can be added to while it runs. One whose host side is removed goes by itself.
type Plugger interface {
	// Plug calls connect with the network namespace of the machine, and returns its error. It fails with NotFound when the machine
	// has ended.
	Plug(ctx context.Context, connect Connect) error
}

// Namespacer is a Machine whose namespaces can be entered.
type Namespacer interface {
	// Namespace opens a namespace of the first process, named as in /proc/PID/ns. It fails with NotFound when the machine has ended.
	Namespace(kind string) (*os.File, error)
}

// Mounter is a Machine that can be given mounts and device nodes, and lose them, while it runs. What its guest does meanwhile to the
// places where they go leads nowhere else than into the machine's own file systems, and to nothing that the guest could not reach.
type Mounter interface {
	// Mount adds a mount. On failure nothing is left. It fails with NotFound when the machine has ended.
	Mount(ctx context.Context, m Mount) error
	// Unmount takes away what Mount, or the start, has added. One that is not there any more, since the guest took it away or the machine
	// has ended, is no error.
	Unmount(ctx context.Context, m Mount) error
	// AddNode makes a device node and allows its use; it replaces an earlier one at the same path. On failure nothing is left.
	AddNode(ctx context.Context, n Node) error
	// RemoveNode undoes AddNode, or what the start has made. One that is not there is no error.
	RemoveNode(ctx context.Context, n Node) error
}

// Throttler is a Machine whose reading and writing can be limited while it runs.
type Throttler interface {
	// Throttle replaces all limits that there are by these. Of several for one device the lowest counts. A path on a file system that is on
	// no device has no effect.
	Throttle(ctx context.Context, all []Throttle) error
}

// Console is a Machine with a text console.
type Console interface {
	// Console opens the console; a second opening ends the first.
	Console(ctx context.Context) (io.ReadWriteCloser, error)
	// ConsoleLog reads what the console has shown.
	ConsoleLog(ctx context.Context) ([]byte, error)
}

// Rooter is a Machine whose files can be reached as they are seen inside, with what is mounted there.
type Rooter interface {
	// Root opens the root folder, as a place to start from only (O_PATH). It fails with Unavailable when the machine has ended. The
	// mounts below it are the machine's own and may be anything.
	Root() (*os.File, error)
}
