package cgroup

import (
	"os"
	"path/filepath"
)

// Feature is something that limits of instances need of the control groups.
type Feature string

// The features, by the names of version 1.
const (
	Blkio       Feature = "blkio"
	BlkioWeight Feature = "blkio.weight"
	CPU         Feature = "cpu"
	CPUSet      Feature = "cpuset"
	CPUAcct     Feature = "cpuacct"
	Devices     Feature = "devices"
	Freezer     Feature = "freezer"
	HugeTLB     Feature = "hugetlb"
	Memory      Feature = "memory"
	NetPrio     Feature = "net_prio"
	Pids        Feature = "pids"
	Swap        Feature = "memory.swap"
)

// Lacks lists the features that this host does not have. In version 2 accounting of CPU time, the freezer and the control of devices are part
// of the kernel itself, and there are no priorities of networks.
func (t *Tree) Lacks() (out []Feature) {
	for _, f := range []Feature{Blkio, BlkioWeight, CPU, CPUSet, CPUAcct, Devices, Freezer, HugeTLB, Memory, NetPrio, Pids, Swap} {
		if !t.has(f) {
			out = append(out, f)
		}
	}
	return out
}

func (t *Tree) has(f Feature) bool {
	switch f {
	case Blkio:
		return t.Version("blkio") == 1 || t.Version("io") == 2
	case BlkioWeight:
		return t.offersOne("blkio", "blkio.weight", "blkio.bfq.weight") || t.offersOne("io", "io.weight", "io.bfq.weight")
	case CPUAcct, Devices, Freezer:
		return t.Version(string(f)) > 0 || t.pure()
	case Swap:
		return t.offersOne("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
	}
	return t.Version(string(f)) > 0
}

func (t *Tree) offersOne(controller string, files ...string) bool {
	return len(t.Offers(controller, files)) > 0
}

// pure tells whether everything is of version 2; where both are mounted, groups of version 2 hold none of the machines.
func (t *Tree) pure() bool {
	_, err := os.Stat(filepath.Join(t.unified, "cgroup.controllers"))
	return t.unified != "" && err == nil && len(t.legacy) == 0
}
