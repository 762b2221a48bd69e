package arch

import (
	"fmt"
	"slices"
	"strings"
)

// ranks orders the rooms of the program. A package belongs to the longest prefix, and imports only lower ranks or its own room.
var ranks = map[string]int{
	"api": 0, "doc": 0, "internal/errs": 0, "internal/undo": 0, "internal/manual": 0,
	"client":          1,
	"internal/schema": 10, "internal/store": 10, "internal/host": 10, "internal/event": 11, "internal/op": 12, "internal/warning": 13, "internal/loki": 13, "internal/syslog": 13,
	"internal/cluster": 20, "internal/auth": 20, "internal/rest": 21,
	"internal/server":  29,
	"internal/project": 30, "internal/trust": 31, "internal/profile": 31, "internal/identity": 32, "internal/network": 32, "internal/storage": 33, "internal/image": 34,
	"internal/device": 35, "internal/machine": 36, "internal/instance": 37, "internal/metric": 38, "internal/devlxd": 38, "internal/backup": 38,
	"internal/migrate": 39, "internal/policy": 39,
	"internal/driver": 40, "internal/driver/all": 41,
	"internal/endpoint": 50,
	"internal/app":      60,
	"internal/admin":    60,
	"internal/cli":      60,
	"internal/arch":     60,
	"cmd":               70, "test": 70, "scripts": 70,
}

// narrow rooms may enter only the rooms listed, whatever their rank allows.
var narrow = map[string][]string{
	"api":            {},
	"internal/admin": {"api", "client", "internal/errs", "internal/undo", "internal/schema", "internal/manual"},
	"internal/cli":   {"api", "client", "internal/manual"},
	"internal/arch":  {"api"},
	"cmd":            {"internal/app", "internal/admin", "internal/cli", "api", "client"},
}

// foundation are the rooms below the domain, which every driver may use.
const foundation = 10

// Layers checks the imports of every package outside tests.
func Layers(t *Tree) []string {
	var out []string
	for _, f := range t.Go {
		if f.Test {
			continue
		}
		from := room(f.Dir())
		if from == "" {
			out = append(out, fmt.Sprintf("%s: folder %s has no rank; add it to the table in internal/arch or move the file", f.Path, f.Dir()))
			continue
		}
		for _, imp := range f.AST.Imports {
			to, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), Module+"/")
			if why := forbidden(f.Dir(), to); ours && why != "" {
				out = append(out, t.at(imp, "%s must not import %s: %s", f.Dir(), to, why))
			}
		}
	}
	return out
}

// room is the longest entry of ranks that dir lies in.
func room(dir string) string {
	best := ""
	for r := range ranks {
		if within(dir, r) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func within(dir, room string) bool {
	return dir == room || strings.HasPrefix(dir, room+"/")
}

// forbidden says why the package dir may not import the package to; it is empty if it may.
func forbidden(dir, to string) string {
	from, target := room(dir), room(to)
	if list, ok := narrow[from]; ok {
		if from == target || slices.Contains(list, target) {
			return ""
		}
		return fmt.Sprintf("%s may use only itself and %v", from, list)
	}
	if from == "internal/driver" {
		return driverForbidden(dir, to)
	}
	if from != target && ranks[target] >= ranks[from] {
		return fmt.Sprintf("rank %d is not below rank %d", ranks[target], ranks[from])
	}
	return ""
}

// driverForbidden holds a driver to its own contract: driver/storage/dir sees internal/storage, its own folder and the foundation.
func driverForbidden(dir, to string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(dir, "internal/driver/"), "/")
	contract := map[string]string{"firewall": "internal/network"}[kind]
	if contract == "" {
		contract = "internal/" + kind
	}
	if kind == "device" && (within(to, "internal/network") || to == "internal/storage") { // NICs, proxies and disks are made of ports, forwards and volumes
		return ""
	}
	own := strings.Join(strings.SplitN(dir, "/", 5)[:min(4, strings.Count(dir, "/")+1)], "/")
	shared := "internal/driver/" + kind + "/internal"
	if ranks[room(to)] <= foundation || within(to, contract) || within(to, own) || within(to, shared) {
		return ""
	}
	return "a driver uses its contract " + contract + ", its own folder and the foundation"
}
