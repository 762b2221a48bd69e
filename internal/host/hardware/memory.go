package hardware

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"lxd/api"
)

const nodes = "sys/devices/system/node"

// Memory reads the host's memory, as a whole and by NUMA nodes.
func (h Host) Memory() (api.ResourcesMemory, error) {
	info, err := h.meminfo("proc/meminfo")
	if err != nil {
		return api.ResourcesMemory{}, fmt.Errorf("memory: %w", err)
	}
	m := api.ResourcesMemory{
		Total: info["MemTotal"], Used: info["MemTotal"] - info["MemAvailable"], HugepagesSize: info["Hugepagesize"],
		HugepagesTotal: info["HugePages_Total"] * info["Hugepagesize"],
		HugepagesUsed:  (info["HugePages_Total"] - info["HugePages_Free"]) * info["Hugepagesize"],
	}
	ids, err := h.numbered(nodes, "node")
	if err != nil {
		return m, nil // a kernel without NUMA
	}
	for _, id := range ids {
		n, err := h.meminfo(fmt.Sprintf("%s/node%d/meminfo", nodes, id))
		if err != nil {
			return m, fmt.Errorf("memory of node %d: %w", id, err)
		}
		m.Nodes = append(m.Nodes, api.ResourcesMemoryNode{
			NUMANode: id, Total: n["MemTotal"], Used: n["MemUsed"], HugepagesTotal: n["HugePages_Total"] * m.HugepagesSize,
			HugepagesUsed: (n["HugePages_Total"] - n["HugePages_Free"]) * m.HugepagesSize,
		})
	}
	return m, nil
}

// meminfo reads "NAME: VALUE kB" into bytes. The lines of a node begin with its name.
func (h Host) meminfo(name string) (map[string]int64, error) {
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		words := strings.Fields(v)
		if i := strings.LastIndexByte(k, ' '); i >= 0 {
			k = k[i+1:]
		}
		if len(words) == 0 {
			continue
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		if len(words) > 1 {
			n *= 1 << 10
		}
		all[k] = n
	}
	return all, nil
}
