package instance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lxd/internal/device"
	"lxd/internal/machine"
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// noMap is how the id map of a privileged instance is kept in volatile keys.
const noMap = "[]"

// setting is where a machine is to run; all of it was found out before the plan is made.
type setting struct {
	root           storage.Mounted
	runDir, logDir string
	idmap          []machine.IDRange
	limits         machine.Limits
}

// plan says all that the driver must know to start the machine of v. It is pure.
func plan(v view, at setting, grants []device.Grant) machine.Plan {
	p := machine.Plan{
		ID: v.ID(), Name: v.Name, RunDir: at.runDir, LogDir: at.logDir,
		Root: at.root.Root, RootShifted: at.root.Shifted, IDMap: at.idmap,
		Env: environment(v.config), Limits: at.limits, Nesting: Keys.Bool(v.config, "security.nesting"),
	}
	for _, g := range grants {
		p.Mounts, p.NICs, p.Nodes = append(p.Mounts, g.Mounts...), append(p.NICs, g.NICs...), append(p.Nodes, g.Nodes...)
	}
	return p
}

// environment is what "environment.*" asks for.
func environment(config map[string]string) map[string]string {
	env := map[string]string{}
	for k, v := range config {
		if name, ok := strings.CutPrefix(k, "environment."); ok {
			env[name] = v
		}
	}
	return env
}

// limits reads the resource limits of a configuration that was validated; cpuset is what a CPU count was turned into.
func limits(config map[string]string, totalMemory int64, cpuset string) (l machine.Limits, err error) {
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

// idmapText is how an id map is shown in volatile keys: one entry for users and one for groups each.
func idmapText(m []machine.IDRange) string {
	type entry struct {
		Isuid, Isgid           bool
		Hostid, Nsid, Maprange int64
	}
	entries := []entry{}
	for _, r := range m {
		entries = append(entries, entry{true, false, r.Host, r.Inside, r.Size}, entry{false, true, r.Host, r.Inside, r.Size})
	}
	b, _ := json.Marshal(entries) // plain values always marshal
	return string(b)
}

// setText writes CPUs as a kernel list.
func setText(cpus []int) string {
	cpus = slices.Sorted(slices.Values(cpus))
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.Itoa(cpus[i])
		if j > i {
			part += "-" + strconv.Itoa(cpus[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ",")
}

// withVolatile is v with the volatile keys that the server made up since it was loaded.
func (v view) withVolatile(made map[string]string) view {
	v.config = maps.Clone(v.config)
	for k, val := range made {
		if val != "" {
			v.config[k] = val
		}
	}
	return v
}

// autostart tells whether the instance is to run after the server starts; ran says that it ran when the server stopped.
func autostart(config map[string]string, ran bool) bool {
	if v := config["boot.autostart"]; v != "" {
		return schema.IsTrue(v)
	}
	return ran
}
