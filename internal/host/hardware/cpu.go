package hardware

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/api"
)

const cpus = "sys/devices/system/cpu"

// CPU reads the processors: sockets, their cores, and the threads of those.
func (h Host) CPU() (api.ResourcesCPU, error) {
	ids, err := h.numbered(cpus, "cpu")
	if err != nil {
		return api.ResourcesCPU{}, fmt.Errorf("processors: %w", err)
	}
	c := api.ResourcesCPU{Architecture: architecture(), Sockets: []api.ResourcesCPUSocket{}, Total: int64(len(ids))}
	for _, id := range ids {
		dir := fmt.Sprintf("%s/cpu%d", cpus, id)
		s := h.socketOf(&c, dir)
		h.addThread(s, dir, id)
	}
	for i := range c.Sockets {
		s := &c.Sockets[i]
		slices.SortFunc(s.Cores, func(a, b api.ResourcesCPUCore) int { return int(a.Core - b.Core) })
		s.Frequency = average(s.Cores)
	}
	slices.SortFunc(c.Sockets, func(a, b api.ResourcesCPUSocket) int { return int(a.Socket - b.Socket) })
	return c, nil
}

func architecture() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "" // it never fails
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// socketOf is the socket of the processor in dir; a new one is described first.
func (h Host) socketOf(c *api.ResourcesCPU, dir string) *api.ResourcesCPUSocket {
	id := h.number(dir+"/topology/physical_package_id", 0)
	for i := range c.Sockets {
		if c.Sockets[i].Socket == id {
			return &c.Sockets[i]
		}
	}
	info := h.cpuInfo()
	c.Sockets = append(c.Sockets, api.ResourcesCPUSocket{
		Socket: id, Name: info["model name"], Vendor: info["vendor_id"], Cache: h.caches(dir),
		FrequencyMinimum: h.number(dir+"/cpufreq/cpuinfo_min_freq", 0) / 1000, FrequencyTurbo: h.number(dir+"/cpufreq/cpuinfo_max_freq", 0) / 1000,
	})
	return &c.Sockets[len(c.Sockets)-1]
}

// addThread puts a thread to its core. A processor that is off has no topology and counts as a core of its own.
func (h Host) addThread(s *api.ResourcesCPUSocket, dir string, id int64) {
	core, die := h.number(dir+"/topology/core_id", id), max(h.number(dir+"/topology/die_id", 0), 0)
	i := slices.IndexFunc(s.Cores, func(c api.ResourcesCPUCore) bool { return c.Core == core && c.Die == die })
	if i < 0 {
		s.Cores = append(s.Cores, api.ResourcesCPUCore{Core: core, Die: die, Frequency: h.frequency(dir, id)})
		i = len(s.Cores) - 1
	}
	c := &s.Cores[i]
	c.Threads = append(c.Threads, api.ResourcesCPUThread{
		ID: id, Thread: int64(len(c.Threads)), NUMANode: h.node(dir), Isolated: contains(h.text(cpus+"/isolated"), id),
		Online: h.number(dir+"/online", 1) == 1,
	})
}

// frequency is the present one in MHz.
func (h Host) frequency(dir string, id int64) int64 {
	if n := h.number(dir+"/cpufreq/scaling_cur_freq", 0); n > 0 {
		return n / 1000
	}
	f, err := strconv.ParseFloat(h.cpuInfoOf(id)["cpu MHz"], 64)
	if err != nil {
		return 0
	}
	return int64(f)
}

// node is the NUMA node of a processor, to which its folder has a link.
func (h Host) node(dir string) int64 {
	nodes, err := h.numbered(dir, "node")
	if err != nil || len(nodes) == 0 {
		return 0
	}
	return nodes[0]
}

func (h Host) caches(dir string) (all []api.ResourcesCPUCache) {
	ids, err := h.numbered(dir+"/cache", "index")
	if err != nil {
		return nil // unknown on some machines
	}
	for _, id := range ids {
		at := fmt.Sprintf("%s/cache/index%d", dir, id)
		all = append(all, api.ResourcesCPUCache{Level: h.number(at+"/level", 0), Type: h.text(at + "/type"), Size: size(h.text(at + "/size"))})
	}
	return all
}

// size reads sizes such as 32K.
func size(s string) int64 {
	unit := int64(1)
	for suffix, n := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = t, n
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n * unit
}

func (h Host) cpuInfo() map[string]string { return h.cpuInfoOf(-1) }

// cpuInfoOf is the paragraph of /proc/cpuinfo about a processor, or the first one.
func (h Host) cpuInfoOf(id int64) map[string]string {
	b, err := os.ReadFile(h.path("proc/cpuinfo"))
	if err != nil {
		return nil
	}
	for part := range strings.SplitSeq(string(b), "\n\n") {
		info := map[string]string{}
		for line := range strings.Lines(part) {
			k, v, _ := strings.Cut(line, ":")
			info[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
		if id < 0 || info["processor"] == strconv.FormatInt(id, 10) {
			return info
		}
	}
	return nil
}

func average(cores []api.ResourcesCPUCore) int64 {
	var sum, n int64
	for _, c := range cores {
		if c.Frequency > 0 {
			sum, n = sum+c.Frequency, n+1
		}
	}
	return sum / max(n, 1)
}
