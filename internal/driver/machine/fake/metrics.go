package fake

import (
	"context"

	"lxd/internal/machine"
)

// Metrics makes numbers up from those of Usage.
func (g *guest) Metrics(ctx context.Context) (machine.Metrics, error) {
	u, err := g.Usage(ctx)
	if err != nil {
		return machine.Metrics{}, err
	}
	return machine.Metrics{
		CPUs: []machine.CPUTime{{CPU: "0", Mode: "user", Seconds: float64(u.CPUNanos) / 1e9}}, EffectiveCPUs: 1,
		Disks:       []machine.DiskIO{{Device: "vda", ReadBytes: 4096, ReadCount: 1}},
		Filesystems: []machine.Filesystem{{Device: "fake", Type: "fake", MountPoint: "/", Size: 1 << 30, Free: 1 << 29, Avail: 1 << 29}},
		Memory:      map[string]int64{"MemTotal": 1 << 30, "MemFree": 1<<30 - u.MemoryBytes, "RSS": u.MemoryBytes},
		Processes:   u.Processes, Networks: u.Networks,
	}, nil
}
