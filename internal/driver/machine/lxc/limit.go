package lxc

import (
	"slices"
	"strconv"

	"lxd/internal/host/cgroup"
	"lxd/internal/machine"
)

// setting is one file of a control group that holds a limit; set is false when its value means none.
type setting struct {
	controller, file, value string
	set                     bool
}

// settings are the files that hold limits, in the versions that the host has their controllers in.
func settings(tree *cgroup.Tree, l machine.Limits) []setting {
	_, err := tree.Group("").Get("memory", "memory.memsw.limit_in_bytes")
	noSwap := err != nil // the kernel does not account swap
	var out []setting
	for _, s := range legacy(l) {
		if tree.Version(s.controller) == 1 && !(noSwap && s.file == "memory.memsw.limit_in_bytes") {
			out = append(out, s)
		}
	}
	for _, s := range unified(l) {
		if tree.Version(s.controller) == 2 {
			out = append(out, s)
		}
	}
	return out
}

// limited leaves out what is no limit.
func limited(list []setting) []setting {
	return slices.DeleteFunc(list, func(s setting) bool { return !s.set })
}

func legacy(l machine.Limits) []setting {
	both := int64(0)
	if !l.Swap {
		both = l.MemoryBytes
	}
	return []setting{
		{"memory", "memory.limit_in_bytes", number(l.MemoryBytes, "-1"), l.MemoryBytes > 0},
		{"memory", "memory.memsw.limit_in_bytes", number(both, "-1"), both > 0},
		{"cpuset", "cpuset.cpus", l.CPUSet, l.CPUSet != ""},
		{"cpu", "cpu.cfs_period_us", number(l.CPUPeriod, "100000"), l.CPUPeriod > 0},
		{"cpu", "cpu.cfs_quota_us", number(l.CPUQuota, "-1"), l.CPUQuota > 0},
		{"cpu", "cpu.shares", number(l.CPUShares, "1024"), l.CPUShares > 0},
		{"pids", "pids.max", number(l.Processes, "max"), l.Processes > 0},
	}
}

func unified(l machine.Limits) []setting {
	swap := "max"
	if l.MemoryBytes > 0 && !l.Swap {
		swap = "0"
	}
	return []setting{
		{"memory", "memory.max", number(l.MemoryBytes, "max"), l.MemoryBytes > 0},
		{"memory", "memory.swap.max", swap, swap == "0"},
		{"cpuset", "cpuset.cpus", l.CPUSet, l.CPUSet != ""},
		{"cpu", "cpu.max", number(l.CPUQuota, "max") + " " + number(l.CPUPeriod, "100000"), l.CPUQuota > 0},
		{"cpu", "cpu.weight", weight(l.CPUShares), l.CPUShares > 0},
		{"pids", "pids.max", number(l.Processes, "max"), l.Processes > 0},
	}
}

func number(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

// weight translates shares, of which 1024 are usual, to the weights of version 2, of which 100 are.
func weight(shares int64) string {
	if shares == 0 {
		return "100"
	}
	return strconv.FormatInt(min(max(shares*100/1024, 1), 10000), 10)
}
