package lxc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

var _ machine.Meter = (*container)(nil)

// Metrics reads the counters of the control groups, of the root file system and of the interfaces inside.
func (c *container) Metrics(context.Context) (machine.Metrics, error) {
	u, networks := c.counters(), c.traffic()
	if c.over() {
		return machine.Metrics{}, errs.Newf(errs.Unavailable, "machine %s does not run", c.handle.ID)
	}
	m := machine.Metrics{Processes: max(u.Processes, 0), Networks: networks, CPUs: c.cpuTimes(), EffectiveCPUs: c.effectiveCPUs(), Disks: c.disks(), OOMKills: c.oomKills()}
	m.Memory = c.memory(u)
	var err error
	m.Filesystems, err = c.filesystems()
	if err != nil && c.over() {
		return machine.Metrics{}, errs.Newf(errs.Unavailable, "machine %s has ended", c.handle.ID)
	}
	return m, err
}

// traffic is the counters of the interfaces inside, by one file instead of the sockets that everything else about them takes.
func (c *container) traffic() (out []machine.Interface) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", c.handle.PID))
	if err != nil {
		return nil // it has ended
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 12 {
			continue // the heading
		}
		n := func(i int) int64 {
			v, _ := strconv.ParseInt(f[i], 10, 64) // the kernel writes numbers
			return v
		}
		out = append(out, machine.Interface{
			Name: strings.TrimSpace(name), BytesIn: n(0), PktsIn: n(1), ErrorsIn: n(2), DropIn: n(3), BytesOut: n(8), PktsOut: n(9), ErrorsOut: n(10), DropOut: n(11),
		})
	}
	return out
}

// cpuTimes is by CPU where the kernel tells it, and else one total that is shown as CPU 0.
func (c *container) cpuTimes() (out []machine.CPUTime) {
	if c.driver.tree.Version("cpuacct") == 1 {
		for _, mode := range []struct{ name, file string }{{"system", "cpuacct.usage_percpu_sys"}, {"user", "cpuacct.usage_percpu_user"}} {
			text, _ := c.group.Get("cpuacct", mode.file) // a machine that has just ended has no numbers
			for i, field := range strings.Fields(text) {
				if n, err := strconv.ParseInt(field, 10, 64); err == nil {
					out = append(out, machine.CPUTime{CPU: strconv.Itoa(i), Mode: mode.name, Seconds: float64(n) / 1e9})
				}
			}
		}
		return out
	}
	for _, mode := range []struct{ name, key string }{{"system", "system_usec"}, {"user", "user_usec"}} {
		if n := c.group.Field("cpu", "cpu.stat", mode.key); n >= 0 {
			out = append(out, machine.CPUTime{CPU: "0", Mode: mode.name, Seconds: float64(n) / 1e6})
		}
	}
	return out
}

// effectiveCPUs counts the CPUs that the machine may run on.
func (c *container) effectiveCPUs() int64 {
	file := "cpuset.effective_cpus"
	if c.driver.tree.Version("cpuset") == 2 {
		file = "cpuset.cpus.effective"
	}
	list, err := c.group.Get("cpuset", file)
	if err != nil || list == "" {
		var set unix.CPUSet
		if unix.SchedGetaffinity(c.handle.PID, &set) != nil {
			return 0
		}
		return int64(set.Count())
	}
	return countCPUs(list)
}

// countCPUs counts a kernel CPU list, such as "0-1,4".
func countCPUs(list string) (n int64) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && b >= a {
			n += int64(b - a + 1)
		}
	}
	return n
}

// memoryFields is the kernel's names in memory.stat, of either version, for the words of the metrics.
var memoryFields = map[string][2]string{
	"Active_anon": {"total_active_anon", "active_anon"}, "Active_file": {"total_active_file", "active_file"},
	"Inactive_anon": {"total_inactive_anon", "inactive_anon"}, "Inactive_file": {"total_inactive_file", "inactive_file"},
	"Cached": {"total_cache", "file"}, "Dirty": {"total_dirty", "file_dirty"}, "Mapped": {"total_mapped_file", "file_mapped"},
	"RSS": {"total_rss", "anon"}, "Shmem": {"total_shmem", "shmem"}, "Unevictable": {"total_unevictable", "unevictable"},
	"Writeback": {"total_writeback", "file_writeback"},
}

// memory is what memory.stat tells, and what follows from the limit.
func (c *container) memory(u machine.Usage) map[string]int64 {
	version := c.driver.tree.Version("memory")
	if version == 0 {
		return nil
	}
	text, _ := c.group.Get("memory", "memory.stat")
	stat := fields(text)
	out := map[string]int64{"HugepagesTotal": 0, "HugepagesFree": 0, "Swap": max(u.SwapBytes, 0)}
	for word, names := range memoryFields {
		out[word] = stat[names[version-1]]
	}
	out["Active"], out["Inactive"] = out["Active_anon"]+out["Active_file"], out["Inactive_anon"]+out["Inactive_file"]
	total := hostMemory()
	limit := c.group.Number("memory", "memory.limit_in_bytes")
	if version == 2 {
		limit = c.group.Number("memory", "memory.max")
	}
	if limit > 0 && limit < total {
		total = limit
	}
	out["MemTotal"] = total
	out["MemFree"] = max(total-max(u.MemoryBytes, 0), 0)
	out["MemAvailable"] = min(out["MemFree"]+out["Active_file"]+out["Inactive_file"], total)
	return out
}

func hostMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// fields reads lines "key number".
func fields(text string) map[string]int64 {
	out := map[string]int64{}
	for line := range strings.SplitSeq(text, "\n") {
		key, value, _ := strings.Cut(line, " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			out[key] = n
		}
	}
	return out
}

func (c *container) oomKills() int64 {
	if c.driver.tree.Version("memory") == 1 {
		return max(c.group.Field("memory", "memory.oom_control", "oom_kill"), 0)
	}
	return max(c.group.Field("memory", "memory.events", "oom_kill"), 0)
}

// disks is what went through each block device.
func (c *container) disks() []machine.DiskIO {
	byDevice := map[string]*machine.DiskIO{}
	at := func(number string) *machine.DiskIO {
		if byDevice[number] == nil {
			byDevice[number] = &machine.DiskIO{}
		}
		return byDevice[number]
	}
	if c.driver.tree.Version("blkio") == 1 {
		c.legacyDisks(at)
	} else if text, err := c.group.Get("io", "io.stat"); err == nil {
		unifiedDisks(text, at)
	}
	var out []machine.DiskIO
	for number, d := range byDevice {
		if d.Device = blockName(number); d.Device != "" {
			out = append(out, *d)
		}
	}
	return out
}

func (c *container) legacyDisks(at func(string) *machine.DiskIO) {
	for _, file := range []string{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"} {
		text, _ := c.group.Get("blkio", file)
		for line := range strings.SplitSeq(text, "\n") { // "253:0 Read 4096"
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			n, err := strconv.ParseInt(f[2], 10, 64)
			if err != nil {
				continue
			}
			d, counts := at(f[0]), strings.Contains(file, "serviced")
			switch {
			case f[1] == "Read" && counts:
				d.ReadCount = n
			case f[1] == "Read":
				d.ReadBytes = n
			case f[1] == "Write" && counts:
				d.WrittenCount = n
			case f[1] == "Write":
				d.WrittenBytes = n
			}
		}
	}
}

// unifiedDisks reads lines such as "253:0 rbytes=4096 wbytes=0 rios=1 wios=0".
func unifiedDisks(text string, at func(string) *machine.DiskIO) {
	for line := range strings.SplitSeq(text, "\n") {
		number, rest, _ := strings.Cut(line, " ")
		for pair := range strings.FieldsSeq(rest) {
			key, value, _ := strings.Cut(pair, "=")
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				continue
			}
			switch d := at(number); key {
			case "rbytes":
				d.ReadBytes = n
			case "wbytes":
				d.WrittenBytes = n
			case "rios":
				d.ReadCount = n
			case "wios":
				d.WrittenCount = n
			}
		}
	}
}

// blockName is the name of the block device with that number, such as "sda"; "" when there is none.
func blockName(number string) string {
	target, err := os.Readlink(filepath.Join("/sys/dev/block", number))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// filesystems is the root file system as the container sees it. What it mounts itself is its own business, and looking at it could hang.
func (c *container) filesystems() ([]machine.Filesystem, error) {
	root, err := c.Root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &st); err != nil {
		return nil, fmt.Errorf("size of the root file system of machine %s: %w", c.handle.ID, err)
	}
	f := machine.Filesystem{MountPoint: "/", Size: int64(st.Blocks) * st.Bsize, Free: int64(st.Bfree) * st.Bsize, Avail: int64(st.Bavail) * st.Bsize}
	f.Device, f.Type, err = rootMount(c.handle.PID)
	return []machine.Filesystem{f}, err
}

// rootMount is the source and type of what a process has mounted on /.
func rootMount(pid int) (source, kind string, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		head, tail, _ := strings.Cut(lines.Text(), " - ")
		if at := strings.Fields(head); len(at) > 4 && at[4] == "/" {
			if what := strings.Fields(tail); len(what) > 1 {
				kind, source = what[0], what[1] // the last one is on top
			}
		}
	}
	return source, kind, nil
}
