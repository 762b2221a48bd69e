package lxc

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"lxd/internal/errs"
	"lxd/internal/host/cgroup"
	"lxd/internal/machine"
)

// Host is what of the host goes into a configuration.
type Host struct {
	Cgroups *cgroup.Tree
	// LXCFS is the folder where lxcfs is mounted; "" when it does not run.
	LXCFS string
	// Files are those files of control groups that not every kernel has, and this one has.
	Files map[string]bool
}

// Files are the names of what the driver keeps in a machine's run folder.
const (
	configFile  = "lxc.conf"
	policyFile  = "seccomp.policy"
	filterFile  = "seccomp.bpf"
	mountFolder = "root"
	nodeFolder  = "nodes"
	logLink     = "log"
	lockFile    = "start.lock"
	exitFile    = "exit"
)

// connectHook is what the helper recognises as its own among the programs that liblxc runs.
const connectHook = "lxd-lxc-connect"

// hostConsole is what the host boots with.
const hostConsole = "c 5:1 rwm"

// devices are the nodes that every container may use, after the kernel's documentation of device numbers.
var devices = []string{
	"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", hostConsole, "c 5:2 rwm",
	"c 10:200 rwm", "c 10:229 rwm", "c 136:* rwm",
}

// Render writes the liblxc configuration of p. It has no effects, and fails with Invalid on what cannot be written.
func Render(p machine.Plan, h Host) (string, error) {
	var c config
	c.base(p)
	c.root(p)
	c.mounts(p, h)
	c.cgroups(p, h)
	c.network(p)
	c.init(p)
	c.kernel(p)
	c.raw(p.Raw)
	return c.String(), c.err
}

func (c *config) base(p machine.Plan) {
	c.set("lxc.uts.name", p.Name)
	c.set("lxc.log.level", "error")
	c.set("lxc.log.file", filepath.Join(p.LogDir, "lxc.log"))
	c.set("lxc.console.logfile", filepath.Join(p.LogDir, "console.log"))
	c.set("lxc.console.size", "auto") // the file never grows beyond 128 KiB
	c.set("lxc.tty.max", "0")
	c.set("lxc.pty.max", "1024")
	c.set("lxc.autodev", "1")
	c.set("lxc.seccomp.profile", filepath.Join(p.RunDir, policyFile))
	if len(p.IDMap) == 0 {
		c.set("lxc.cap.drop", "mac_admin mac_override sys_time sys_module sys_rawio")
	}
	for _, r := range p.IDMap {
		for _, kind := range []string{"u", "g"} {
			c.set("lxc.idmap", fmt.Sprintf("%s %d %d %d", kind, r.Inside, r.Host, r.Size))
		}
	}
}

func (c *config) root(p machine.Plan) {
	c.set("lxc.rootfs.path", "dir:"+p.Root)
	c.set("lxc.rootfs.mount", filepath.Join(p.RunDir, mountFolder))
	if len(p.IDMap) > 0 && !p.RootShifted {
		c.set("lxc.rootfs.options", "idmap=container")
	}
}

func (c *config) mounts(p machine.Plan, h Host) {
	auto := "proc:rw sys:rw cgroup:rw:force"
	if len(p.IDMap) == 0 {
		auto = "proc:mixed sys:mixed cgroup:mixed:force"
	}
	c.set("lxc.mount.auto", auto)
	c.mount(machine.Mount{Source: "/dev/fuse", Target: "dev/fuse", Options: []string{"bind", "create=file", "optional"}})
	c.mount(machine.Mount{Source: "/dev/net/tun", Target: "dev/net/tun", Options: []string{"bind", "create=file", "optional"}})
	c.mount(machine.Mount{Source: "mqueue", Target: "dev/mqueue", FSType: "mqueue", Options: []string{"rw", "relatime", "create=dir", "optional"}})
	shared := []string{"sys/fs/fuse/connections", "sys/kernel/debug"}
	if len(p.IDMap) == 0 {
		shared = shared[:1] // its root would be let into the kernel's debugging files
	}
	for _, dir := range shared {
		c.mount(machine.Mount{Source: "/" + dir, Target: dir, Options: []string{"rbind", "optional"}})
	}
	if p.Nesting {
		c.mount(machine.Mount{Source: "proc", Target: "dev/.lxc/proc", FSType: "proc", Options: []string{"create=dir", "optional"}})
		c.mount(machine.Mount{Source: "sys", Target: "dev/.lxc/sys", FSType: "sysfs", Options: []string{"create=dir", "optional"}})
	}
	if h.LXCFS != "" {
		for _, name := range []string{"cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"} {
			c.mount(machine.Mount{Source: filepath.Join(h.LXCFS, "proc", name), Target: "proc/" + name, Options: []string{"bind", "optional"}})
		}
		c.mount(machine.Mount{
			Source: filepath.Join(h.LXCFS, "sys/devices/system/cpu"), Target: "sys/devices/system/cpu", Options: []string{"rbind", "optional"},
		})
	}
	if p.Socket != "" {
		c.mount(machine.Mount{Source: p.Socket, Target: "dev/lxd", Options: []string{"bind", "ro", "create=dir"}})
	}
}

func (c *config) mount(m machine.Mount) {
	fstype := m.FSType
	if fstype == "" {
		fstype = "none"
	}
	if !filepath.IsLocal(m.Target) {
		c.fail("the mount target %q is not a path below the root", m.Target)
	}
	if slices.ContainsFunc(m.Options, func(o string) bool { return strings.Contains(o, ",") }) {
		c.fail("a mount option of %q has a comma", m.Target)
	}
	options := strings.Join(m.Options, ",")
	if options == "" {
		options = "defaults"
	}
	c.fields("lxc.mount.entry", m.Source, m.Target, fstype, options, "0", "0")
}

func (c *config) cgroups(p machine.Plan, h Host) {
	tree := h.Cgroups
	c.set("lxc.cgroup.dir.container", payloadGroup(p.ID, p.RunDir))
	c.set("lxc.cgroup.dir.monitor", monitorGroup(p.ID, p.RunDir))
	c.set("lxc.cgroup.dir.monitor.pivot", pivotGroup(p.ID, p.RunDir))
	c.devices(p, tree)
	for _, s := range limited(settings(h, p.Limits)) {
		c.set(prefix(tree.Version(s.controller))+s.file, s.value)
	}
}

func (c *config) devices(p machine.Plan, tree *cgroup.Tree) {
	key := "lxc.cgroup2.devices."
	switch {
	case tree.Version("devices") == 1:
		key = "lxc.cgroup.devices."
	case tree.Version("memory") != 2: // the device rules of version 2 are programs of the hierarchy that has the controllers
		return
	}
	c.set(key+"deny", "a")
	for _, d := range devices {
		if d == hostConsole && len(p.IDMap) == 0 {
			continue // it could make a node for it: its own console is a terminal of another number
		}
		c.set(key+"allow", d)
	}
	for _, n := range p.Nodes {
		c.set(key+"allow", deviceRule(n))
	}
}

// network leaves the interfaces to the plan's Connect, for which the helper waits in place of the hook, as it does for mounts and nodes:
// liblxc would follow links in the container's file systems on the way to where they go.
func (c *config) network(p machine.Plan) {
	c.set("lxc.net.0.type", "empty")
	if p.Connect != nil {
		c.set("lxc.net.0.flags", "up") // the loopback interface, for lack of another
	}
	if furnished(p) {
		c.set("lxc.hook.start-host", connectHook)
	}
}

func (c *config) init(p machine.Plan) {
	args := p.Init
	if len(args) == 0 {
		args = []string{"/sbin/init"}
	}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\"'\\") {
			c.fail("the argument %q of the first program has blanks or quotes, which cannot be passed on", a)
		}
	}
	c.set("lxc.init.cmd", strings.Join(args, " "))
	names := make([]string, 0, len(p.Env))
	for name := range p.Env {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, "= ") {
			c.fail("%q is not a name of an environment variable", name)
		}
		c.set("lxc.environment", name+"="+p.Env[name])
	}
}

// kernel sets limits of processes, and parameters of the machine's namespaces.
func (c *config) kernel(p machine.Plan) {
	for _, name := range slices.Sorted(maps.Keys(p.Rlimits)) {
		c.set("lxc.prlimit."+name, p.Rlimits[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sysctls)) {
		c.set("lxc.sysctl."+name, p.Sysctls[name])
	}
}

// check refuses plans that could reach beyond their own folders or name what is not theirs.
func check(p machine.Plan) error {
	if p.ID == "" || p.ID[0] == '.' || p.ID[0] == '-' || strings.ContainsFunc(p.ID, func(r rune) bool { return notKey(unicode.ToLower(r)) || r > 0x7f }) {
		return errs.Newf(errs.Invalid, "%q cannot be a machine's id: it takes letters, digits, . _ and -", p.ID)
	}
	for _, dir := range []string{p.RunDir, p.LogDir, p.Root} {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
			return errs.Newf(errs.Invalid, "the folder %q of machine %s is not a clean absolute path", dir, p.ID)
		}
	}
	return nil
}

func prefix(version int) string {
	if version == 2 {
		return "lxc.cgroup2."
	}
	return "lxc.cgroup."
}
