package instance

import (
	"encoding/json"
	"maps"

	"lxd/internal/device"
	"lxd/internal/instance/config"
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
	// socket is the folder of the socket to the server; "" if the instance is to have none.
	socket string
	limits machine.Limits
}

// plan says all that the driver must know to start the machine of v. It is pure.
func plan(v view, at setting, grants []device.Grant) machine.Plan {
	p := machine.Plan{
		ID: v.ID(), Name: v.Name, RunDir: at.runDir, LogDir: at.logDir,
		Socket: at.socket, Root: at.root.Root, RootShifted: at.root.Shifted, IDMap: at.idmap,
		Env: config.Environment(v.config), Limits: at.limits, Nesting: Keys.Bool(v.config, "security.nesting"),
		Rlimits: config.Rlimits(v.config), Sysctls: config.Sysctls(v.config), Syscalls: config.Syscalls(v.config), Raw: v.config["raw.lxc"],
	}
	for _, g := range grants {
		p.Mounts, p.NICs, p.Nodes = append(p.Mounts, g.Mounts...), append(p.NICs, g.NICs...), append(p.Nodes, g.Nodes...)
	}
	return p
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
