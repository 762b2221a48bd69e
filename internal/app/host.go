package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// onlineCPUs lists the CPUs of /sys/devices/system/cpu/online, such as "0-3,6".
func onlineCPUs() ([]int, error) {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	return parseCPUs(strings.TrimSpace(string(b)))
}

// numaNodes lists the CPUs of each node below /sys/devices/system/node. A kernel that knows none has one node with all.
func numaNodes(dir string, all []int) (map[int][]int, error) {
	found, err := filepath.Glob(filepath.Join(dir, "node[0-9]*"))
	if err != nil || len(found) == 0 {
		return map[int][]int{0: all}, err
	}
	nodes := map[int][]int{}
	for _, path := range found {
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "node"))
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(path, "cpulist"))
		if err != nil {
			return nil, err
		}
		if list := strings.TrimSpace(string(b)); list != "" { // a node may be memory alone
			if nodes[n], err = parseCPUs(list); err != nil {
				return nil, err
			}
		}
	}
	return nodes, nil
}

func parseCPUs(list string) (cpus []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		high, err := strconv.Atoi(last)
		if err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		for n := low; n <= high; n++ {
			cpus = append(cpus, n)
		}
	}
	return cpus, nil
}

// bridgeFilter tells whether the firewall sees packets between ports of a bridge.
func bridgeFilter(six bool) bool {
	name := "bridge-nf-call-iptables"
	if six {
		name = "bridge-nf-call-ip6tables"
	}
	b, err := os.ReadFile("/proc/sys/net/bridge/" + name)
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

func memoryBytes() (int64, error) {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0, err
	}
	return int64(info.Totalram) * int64(info.Unit), nil
}
