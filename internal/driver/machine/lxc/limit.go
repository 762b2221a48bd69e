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

// optional are the files that not every kernel has, by controller.
var optional = map[string][]string{
	"memory":  {"memory.memsw.limit_in_bytes", "memory.swappiness", "memory.swap.max"},
	"blkio":   {"blkio.weight", "blkio.bfq.weight"},
	"io":      {"io.weight", "io.bfq.weight"},
	"hugetlb": {},
}

// sizes are the sizes of huge pages as files call them, with the limit of each.
func sizes(h machine.Hugepages) map[string]int64 {
	return map[string]int64{"64KB": h.KB64, "1MB": h.MB1, "2MB": h.MB2, "1GB": h.GB1}
}

// offered finds out which of the optional files this kernel has.
func offered(tree *cgroup.Tree) map[string]bool {
	have := map[string]bool{}
	for controller, files := range optional {
		if controller == "hugetlb" {
			for size := range sizes(machine.Hugepages{}) {
				files = append(files, "hugetlb."+size+".limit_in_bytes", "hugetlb."+size+".max")
			}
		}
		for _, file := range tree.Offers(controller, files) {
			have[file] = true
		}
	}
	return have
}

// settings are the files that hold limits, in the versions that the host has their controllers in.
func settings(h Host, l machine.Limits) []setting {
	rare := map[string]bool{}
	for controller, files := range optional {
		for _, f := range files {
			rare[f] = true
		}
		rare[controller] = len(files) == 0
	}
	there := func(s setting, version int) bool {
		return h.Cgroups.Version(s.controller) == version && (h.Files[s.file] || !rare[s.file] && !rare[s.controller])
	}
	var out []setting
	for _, s := range legacy(l) {
		if there(s, 1) {
			out = append(out, s)
		}
	}
	for _, s := range unified(l) {
		if there(s, 2) {
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
	both, hard, soft := int64(0), l.MemoryBytes, int64(0)
	if l.MemorySoft {
		hard, soft = 0, l.MemoryBytes
	}
	if !l.Swap {
		both = hard
	}
	list := []setting{
		{"memory", "memory.limit_in_bytes", number(hard, "-1"), hard > 0},
		{"memory", "memory.soft_limit_in_bytes", number(soft, "-1"), soft > 0},
		{"memory", "memory.memsw.limit_in_bytes", number(both, "-1"), both > 0},
		{"memory", "memory.swappiness", swappiness(l), l.Swappiness != 0},
		{"cpuset", "cpuset.cpus", l.CPUSet, l.CPUSet != ""},
		{"cpu", "cpu.cfs_period_us", number(l.CPUPeriod, "100000"), l.CPUPeriod > 0},
		{"cpu", "cpu.cfs_quota_us", number(l.CPUQuota, "-1"), l.CPUQuota > 0},
		{"cpu", "cpu.shares", number(l.CPUShares, "1024"), l.CPUShares > 0},
		{"pids", "pids.max", number(l.Processes, "max"), l.Processes > 0},
		{"blkio", "blkio.weight", number(l.DiskWeight, "500"), l.DiskWeight > 0},
		{"blkio", "blkio.bfq.weight", number(l.DiskWeight/5, "100"), l.DiskWeight > 0},
	}
	return append(list, huge(l, ".limit_in_bytes", "-1")...)
}

func unified(l machine.Limits) []setting {
	swap, hard, soft := "max", l.MemoryBytes, int64(0)
	if l.MemorySoft {
		hard, soft = 0, l.MemoryBytes
	}
	if l.MemoryBytes > 0 && !l.Swap || l.Swappiness == machine.NoSwap {
		swap = "0"
	}
	list := []setting{
		{"memory", "memory.max", number(hard, "max"), hard > 0},
		// What is below is spared when memory is short, so that it is what is above that goes.
		{"memory", "memory.low", number(soft, "0"), soft > 0},
		{"memory", "memory.swap.max", swap, swap == "0"},
		{"cpuset", "cpuset.cpus", l.CPUSet, l.CPUSet != ""},
		{"cpu", "cpu.max", number(l.CPUQuota, "max") + " " + number(l.CPUPeriod, "100000"), l.CPUQuota > 0},
		{"cpu", "cpu.weight", weight(l.CPUShares, 1024), l.CPUShares > 0},
		{"pids", "pids.max", number(l.Processes, "max"), l.Processes > 0},
		{"io", "io.weight", "default " + weight(l.DiskWeight, 500), l.DiskWeight > 0},
		{"io", "io.bfq.weight", weight(l.DiskWeight, 500), l.DiskWeight > 0},
	}
	return append(list, huge(l, ".max", "max")...)
}

func huge(l machine.Limits, suffix, none string) (list []setting) {
	for _, size := range []string{"64KB", "1MB", "2MB", "1GB"} {
		n := sizes(l.Hugepages)[size]
		list = append(list, setting{"hugetlb", "hugetlb." + size + suffix, number(n, none), n > 0})
	}
	return list
}

func swappiness(l machine.Limits) string {
	if l.Swappiness == machine.NoSwap {
		return "0"
	}
	return number(l.Swappiness, "60")
}

func number(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

// weight translates shares, of which so many are usual, to the weights of version 2, of which 100 are.
func weight(shares, usual int64) string {
	if shares == 0 {
		return "100"
	}
	return strconv.FormatInt(min(max(shares*100/usual, 1), 10000), 10)
}
