package config

import (
	"fmt"
	"strconv"

	"lxd/internal/machine"
	"lxd/internal/schema"
)

// Limits reads the resource limits of a configuration that was validated; cpuset is what a CPU count was turned into.
func Limits(config map[string]string, totalMemory int64, cpuset string) (l machine.Limits, err error) {
	if v := config["limits.memory"]; v != "" {
		if l.MemoryBytes, err = parseMemory(v, totalMemory); err != nil {
			return l, fmt.Errorf("limits.memory: %w", err)
		}
	}
	l.MemorySoft = config["limits.memory.enforce"] == "soft" && l.MemoryBytes > 0
	l.Swap = Keys.Bool(config, "limits.memory.swap")
	if l.Swappiness, err = swappiness(config); err != nil {
		return l, err
	}
	if v := config["limits.disk.priority"]; v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return l, fmt.Errorf("limits.disk.priority: %w", err)
		}
		l.DiskWeight = max(n*100, 10)
	}
	if l.Hugepages, err = hugepages(config); err != nil {
		return l, err
	}
	l.CPUSet = cpuset
	l.CPUShares = shares(config)
	if v := config["limits.cpu.allowance"]; v != "" {
		a, err := parseAllowance(v)
		if err != nil {
			return l, fmt.Errorf("limits.cpu.allowance: %w", err)
		}
		l.CPUQuota, l.CPUPeriod = a.quota, a.period
	}
	if v := config["limits.processes"]; v != "" {
		if l.Processes, err = strconv.ParseInt(v, 10, 64); err != nil {
			return l, fmt.Errorf("limits.processes: %w", err)
		}
	}
	return l, nil
}

// shares turns a soft allowance and a priority into CPU shares; 0 leaves the kernel's 1024.
func shares(config map[string]string) int64 {
	n, set := int64(1024), false
	if a, err := parseAllowance(config["limits.cpu.allowance"]); err == nil && a.percent > 0 && a.percent < 100 {
		n, set = 1024*a.percent/100, true
	}
	if p, err := strconv.ParseInt(config["limits.cpu.priority"], 10, 64); err == nil {
		n, set = n-(10-p), true
	}
	if !set {
		return 0
	}
	return max(n, 2)
}

// swappiness turns the rank among those that are swapped out into the kernel's measure: the highest is the kernel's usual one.
func swappiness(config map[string]string) (int64, error) {
	if !Keys.Bool(config, "limits.memory.swap") {
		return machine.NoSwap, nil
	}
	v := config["limits.memory.swap.priority"]
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("limits.memory.swap.priority: %w", err)
	}
	return 70 - n, nil
}

func hugepages(config map[string]string) (h machine.Hugepages, err error) {
	for size, to := range map[string]*int64{"64KB": &h.KB64, "1MB": &h.MB1, "2MB": &h.MB2, "1GB": &h.GB1} {
		key := "limits.hugepages." + size
		if v := config[key]; v != "" {
			if *to, err = schema.ParseSize(v); err != nil {
				return h, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return h, nil
}
