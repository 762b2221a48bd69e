package config

import (
	"fmt"
	"strconv"

	"lxd/internal/machine"
)

// Limits reads the resource limits of a configuration that was validated; cpuset is what a CPU count was turned into.
func Limits(config map[string]string, totalMemory int64, cpuset string) (l machine.Limits, err error) {
	if v := config["limits.memory"]; v != "" {
		if l.MemoryBytes, err = parseMemory(v, totalMemory); err != nil {
			return l, fmt.Errorf("limits.memory: %w", err)
		}
	}
	l.Swap = Keys.Bool(config, "limits.memory.swap")
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
