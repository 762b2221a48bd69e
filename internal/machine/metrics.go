package machine

import "context"

// Meter is a Machine with more counters than those of Usage.
type Meter interface {
	// Metrics reads them; it fails with Unavailable when the machine has ended. What the host does not count is missing.
	Metrics(ctx context.Context) (Metrics, error)
}

// Metrics are the counters of a running machine that monitoring systems ask for.
type Metrics struct {
	// CPUs is the time used since the start, by CPU and mode; EffectiveCPUs how many CPUs the machine may use.
	CPUs          []CPUTime
	EffectiveCPUs int64
	Disks         []DiskIO
	Filesystems   []Filesystem
	// Memory is bytes by the kernel's words for them, such as "Active_anon", "Cached" or "MemTotal".
	Memory    map[string]int64
	OOMKills  int64
	Processes int64
	Networks  []Interface
}

// CPUTime is what one CPU has worked in one mode, "user" or "system".
type CPUTime struct {
	CPU, Mode string
	Seconds   float64
}

// DiskIO is what has been read from and written to one block device.
type DiskIO struct {
	Device                                           string
	ReadBytes, WrittenBytes, ReadCount, WrittenCount int64
}

// Filesystem is one mounted file system. Sizes are bytes; Free counts what only root may use, Avail does not.
type Filesystem struct {
	Device, Type, MountPoint string
	Size, Free, Avail        int64
}
