package cgroup_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"lxd/internal/host/cgroup"
)

func TestLacks(t *testing.T) {
	probe := fmt.Sprintf("lxd.probe.%d/", os.Getpid())
	for what, c := range map[string]struct {
		files map[string]string
		want  []cgroup.Feature
	}{
		"all of version 2": {map[string]string{
			"cgroup.controllers": "cpuset cpu io memory hugetlb pids\n", probe + "io.weight": "", probe + "memory.swap.max": "",
		}, []cgroup.Feature{cgroup.NetPrio}},
		"little of version 2": {map[string]string{"cgroup.controllers": "cpu memory\n"}, []cgroup.Feature{
			cgroup.Blkio, cgroup.BlkioWeight, cgroup.CPUSet, cgroup.HugeTLB, cgroup.NetPrio, cgroup.Pids, cgroup.Swap,
		}},
		"version 1": {map[string]string{
			"blkio/tasks": "", "memory/tasks": "", "blkio/" + probe + "blkio.bfq.weight": "", "cpu,cpuacct/tasks": "", "cpuset/tasks": "", "devices/tasks": "", "freezer/tasks": "", "hugetlb/tasks": "",
			"memory/" + probe + "memory.memsw.limit_in_bytes": "", "net_cls,net_prio/tasks": "", "pids/tasks": "",
		}, nil},
		"both": {map[string]string{"memory/tasks": "", "unified/cgroup.controllers": "pids\n"}, []cgroup.Feature{
			cgroup.Blkio, cgroup.BlkioWeight, cgroup.CPU, cgroup.CPUSet, cgroup.CPUAcct, cgroup.Devices, cgroup.Freezer, cgroup.HugeTLB, cgroup.NetPrio, cgroup.Swap,
		}},
	} {
		_, tr := tree(t, c.files)
		if got := tr.Lacks(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
