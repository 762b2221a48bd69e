package lxc_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/errs"
	"lxd/internal/host/cgroup"
	"lxd/internal/machine"
)

var update = flag.Bool("update", false, "write the golden files anew")

// host looks like one with control groups of that version.
func host(t testing.TB, version int) lxc.Host {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"cgroup.controllers": "cpu cpuset io hugetlb memory pids\n"}
	if version == 1 {
		files = map[string]string{"memory/memory.memsw.limit_in_bytes": "", "unified/cgroup.controllers": "hugetlb\n"}
		for _, c := range []string{"blkio", "cpu", "cpuset", "memory", "pids", "devices", "freezer"} {
			files[c+"/tasks"] = ""
		}
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return lxc.Host{Cgroups: tree, Files: map[string]bool{"memory.memsw.limit_in_bytes": true, "memory.swappiness": true, "memory.swap.max": true,
		"blkio.bfq.weight": true, "io.weight": true, "hugetlb.2MB.limit_in_bytes": true, "hugetlb.2MB.max": true}}
}

func small() machine.Plan {
	return machine.Plan{
		ID: "default_c1", Name: "c1", RunDir: "/lxd/run/default_c1", LogDir: "/lxd/logs/c1", Root: "/lxd/root", RootShifted: true,
		IDMap: []machine.IDRange{{Host: 1000000, Size: 1000000000}},
	}
}

func full() machine.Plan {
	p := small()
	p.RootShifted = false
	p.Init = []string{"/bin/init", "--flag"}
	p.Env = map[string]string{"B": "two words", "A": `"quoted"`, "C": ""}
	p.Limits = machine.Limits{MemoryBytes: 1 << 30, CPUSet: "0-1,4", CPUQuota: 50000, CPUPeriod: 100000, CPUShares: 512, Processes: 500}
	p.Nesting = true
	p.Mounts = []machine.Mount{{Source: `/with blank\slash`, Target: "mnt/a b", ReadOnly: true}, {Source: "none", Target: "scratch", FSType: "tmpfs"}}
	p.NICs = []machine.NIC{{HostName: "vetha", Name: "eth0", MTU: 1400}, {HostName: "vethb", Name: "eth1"}}
	p.Connect = func(context.Context, *os.File) error { return nil }
	p.Nodes = []machine.Node{{Path: "/dev/kvm", Major: 10, Minor: 232}, {Path: "/dev/sda", Block: true, Major: 8}}
	p.Raw = "# a comment\n\nlxc.prlimit.nofile=1000\nlxc.execute.cmd = \"a b\"\n"
	return p
}

// configured is a plan with what the keys of an instance's configuration can ask for beyond full.
func configured() machine.Plan {
	p := small()
	p.Limits = machine.Limits{MemoryBytes: 1 << 30, MemorySoft: true, Swap: true, Swappiness: 65, DiskWeight: 250,
		Hugepages: machine.Hugepages{MB2: 4 << 20, GB1: 1 << 30}}
	p.Socket = "/lxd/run/default_c1/devlxd"
	p.Rlimits = map[string]string{"nofile": "1000:2000", "core": "unlimited"}
	p.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536"}
	return p
}

func TestGolden(t *testing.T) {
	privileged := small()
	privileged.IDMap = nil
	withLXCFS := host(t, 1)
	withLXCFS.LXCFS = "/var/lib/lxcfs"
	for _, c := range []struct {
		name string
		plan machine.Plan
		host lxc.Host
	}{
		{"small", small(), host(t, 1)},
		{"configured-v1", configured(), host(t, 1)},
		{"configured-v2", configured(), host(t, 2)},
		{"full-v1", full(), withLXCFS},
		{"full-v2", full(), host(t, 2)},
		{"privileged", privileged, host(t, 2)},
	} {
		got, err := lxc.Render(c.plan, c.host)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", c.name+".conf")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s is not as in %s (-update writes it anew): %v\n%s", c.name, file, err, got)
		}
	}
}

func TestRejected(t *testing.T) {
	h := host(t, 1)
	for what, spoil := range map[string]func(*machine.Plan){
		"name":             func(p *machine.Plan) { p.Name = "a\nlxc.include = /etc/x" },
		"root":             func(p *machine.Plan) { p.Root = "/a\rb" },
		"environment":      func(p *machine.Plan) { p.Env = map[string]string{"A": "b\nc"} },
		"environment name": func(p *machine.Plan) { p.Env = map[string]string{"A=B": "c"} },
		"no name":          func(p *machine.Plan) { p.Env = map[string]string{"": "c"} },
		"init":             func(p *machine.Plan) { p.Init = []string{"/bin/sh", "-c", "a b"} },
		"cpus":             func(p *machine.Plan) { p.Limits.CPUSet = "0\n" },
		"raw":              func(p *machine.Plan) { p.Raw = "hello" },
		"raw key":          func(p *machine.Plan) { p.Raw = "other.key = x" },
		"raw blank":        func(p *machine.Plan) { p.Raw = "lxc.a b = x" },
		"raw log":          func(p *machine.Plan) { p.Raw = "lxc.log.file = /etc/passwd" },
		"raw group":        func(p *machine.Plan) { p.Raw = "lxc.cgroup.dir.container=x" },
		"raw include":      func(p *machine.Plan) { p.Raw = "lxc.include = /etc/x" },
		"raw map":          func(p *machine.Plan) { p.Raw = "lxc.idmap = u 0 0 10" },
		"raw root":         func(p *machine.Plan) { p.Raw = "lxc.rootfs.path = /" },
		"rlimit":           func(p *machine.Plan) { p.Rlimits = map[string]string{"nofile": "1\nlxc.include = x"} },
		"sysctl":           func(p *machine.Plan) { p.Sysctls = map[string]string{"a.b": "1\nlxc.include = x"} },
		"raw return":       func(p *machine.Plan) { p.Raw = "lxc.arch = a\rb" },
	} {
		p := small()
		spoil(&p)
		if _, err := lxc.Render(p, h); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzRender looks for a value that makes a line of its own.
func FuzzRender(f *testing.F) {
	f.Add("c1", "value", "lxc.arch = x86_64")
	f.Add("c1\nlxc.hook.start = x", "\r\n", "#")
	f.Add("\u2028", "\"q\"", "lxc.log.file=x")
	h := host(f, 1)
	base := small()
	text, err := lxc.Render(base, h)
	if err != nil {
		f.Fatal(err)
	}
	usual := strings.Count(text, "\n")
	f.Fuzz(func(t *testing.T, name, env, raw string) {
		p := small()
		p.Name, p.Env, p.Raw = name, map[string]string{"A": env}, raw
		text, err := lxc.Render(p, h)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("of the wrong kind: %v", err)
			}
			return
		}
		if n := strings.Count(text, "\n"); n > usual+2+strings.Count(raw, "\n")+1 {
			t.Fatalf("%d lines of usually %d:\n%s", n, usual, text)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if !strings.HasPrefix(line, "lxc.") || strings.ContainsAny(line, "\r\x00\x0b\x0c\x7f\x1b") {
				t.Fatalf("the line %q", line)
			}
			if entry, ok := strings.CutPrefix(line, "lxc.mount.entry = "); ok && len(strings.Fields(entry)) != 6 {
				t.Fatalf("the entry %q", entry)
			}
			if strings.HasPrefix(line, "lxc.log.") && !strings.Contains(text[:400], line) {
				t.Fatalf("the line %q", line)
			}
		}
	})
}
