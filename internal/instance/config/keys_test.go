package config_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/machine"
)

// Every key of the table of facts is known, with its default, and whether it may change while the instance runs.
func TestKeysAreComplete(t *testing.T) {
	b, err := os.ReadFile("../../../spec/config.tsv")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, k := range config.Keys.Keys() {
		known[k.Name] = true
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if f[0] != "instance" || f[1] == "instance-conf" {
			continue
		}
		n++
		name := strings.ReplaceAll(f[2], "KEYNAME", "*")
		if !known[name] {
			t.Errorf("key %s is missing", name)
			continue
		}
		k, _ := config.Keys.Lookup(strings.NewReplacer("<name>", "eth0", "*", "x").Replace(name))
		if want := strings.Split(f[4], " | ")[0]; want != "" && k.Default != want {
			t.Errorf("default of %s is %q, not %q", name, k.Default, want)
		}
	}
	if n < 125 {
		t.Error("only", n, "keys in the table")
	}
}

func TestValues(t *testing.T) {
	good := map[string][]string{
		"limits.cpu":                       {"1", "4", "0-3", "1,5", "0-1,4"},
		"limits.cpu.allowance":             {"50%", "100%", "25ms/100ms"},
		"limits.memory":                    {"512MiB", "1GB", "50%"},
		"limits.processes":                 {"1", "500"},
		"snapshots.expiry":                 {"1M 2H 3d", "4w"},
		"user.any":                         {"line\nline"},
		"cloud-init.user-data":             {"#cloud-config\na: b"},
		"security.devlxd":                  {"false"},
		"environment.A":                    {"b c"},
		"limits.cpu.nodes":                 {"0", "0-1,3"},
		"limits.kernel.nofile":             {"1000", "500:1000", "unlimited", "5:unlimited"},
		"limits.hugepages.2MB":             {"4MiB"},
		"linux.kernel_modules":             {"tun", "overlay, br_netfilter"},
		"linux.sysctl.net.ipv4.ip_forward": {"1"},
		"raw.lxc":                          {"lxc.cap.drop =", "# x\n\nlxc.mount.entry = /a b none bind 0 0"},
		"raw.seccomp":                      {"2\ndenylist\n[all]\nmknod errno 0\n", "2\nallowlist errno 1\n[x86_64]\nread\nsocket [0,16,SCMP_CMP_EQ]"},
		"security.syscalls.deny":           {"mount\numount2 errno 1", "# why\nioctl errno 1 [1,0x5412,SCMP_CMP_MASKED_EQ,0xffffffff]"},
		"security.syscalls.deny_default":   {"false"},
		"volatile.eth0.hwaddr":             {"00:16:3e:00:00:01"},
	}
	bad := map[string][]string{
		"limits.cpu":                {"0", "-1", "x", "3-1", "1,", "0-99999", "1-2-3"},
		"limits.cpu.allowance":      {"0%", "101%", "50", "25ms", "0ms/100ms", "5s/10s"},
		"limits.memory":             {"0", "-5", "200%", "many"},
		"limits.processes":          {"0", "x"},
		"snapshots.expiry":          {"1x", "d"},
		"environment.A":             {"a\nlxc.init.cmd = /bin/evil", "a\rb", "a\x00b"},
		"limits.cpu.nodes":          {"x", "2-1"},
		"limits.kernel.nofile":      {"many", "2:1", "1:2:3", "-1"},
		"limits.hugepages.2MB":      {"some"},
		"linux.kernel_modules":      {"../x", "a b", "-r"},
		"linux.kernel_modules.load": {"ondemand", "never"},
		"raw.lxc":                   {"lxc.log.file = /x", "hello", "lxc.include = /x", "lxc.arch = a\rb"},
		"raw.idmap":                 {"both 1 2 3", "both 1-2 5", "users 1 1", "uid x 1", "both 5-1 1-5"},
		"raw.seccomp":               {"denylist", "2\nsometimes", "2\ndenylist\nrm -rf /", "1\nread"},
		"security.syscalls.allow":   {"re ad", "mount notify", "[all]", "mount errno 99999"},
		"security.syscalls.deny":    {"mount; read"},
		"nvidia.runtime":            {"true"},
		"volatile.eth0.hwaddr":      {"00:16:3e"},
		"bogus":                     {"x"},
		"environment.":              {"x"},
	}
	for key, values := range good {
		for _, v := range values {
			if err := config.Keys.Validate(map[string]string{key: v}); err != nil {
				t.Error(err)
			}
		}
	}
	for key, values := range bad {
		for _, v := range values {
			if err := config.Keys.Validate(map[string]string{key: v}); err == nil {
				t.Errorf("%s = %q is accepted", key, v)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for key, ok := range map[string]bool{
		"environment.A": true, "environment.A=B": false, "environment.a b": false, "user.a\nb": false, "user.a b": true,
		"limits.kernel.nofile": true, "limits.kernel.nothing": false,
		"linux.sysctl.net.ipv4.conf.eth0/5.forwarding": true, "linux.sysctl.../../etc/passwd": false, "linux.sysctl./etc": false, "linux.sysctl.a..b": false,
	} {
		if err := config.CheckName(key); (err == nil) != ok {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		keys map[string]string
		want machine.Limits
	}{
		"none": {nil, machine.Limits{Swap: true}},
		"memory": {map[string]string{"limits.memory": "50%", "limits.memory.enforce": "soft", "limits.memory.swap.priority": "3"},
			machine.Limits{MemoryBytes: 500, MemorySoft: true, Swap: true, Swappiness: 67}},
		"no swap": {map[string]string{"limits.memory.swap": "false", "limits.memory.enforce": "soft"}, machine.Limits{Swappiness: machine.NoSwap}},
		"disk":    {map[string]string{"limits.disk.priority": "0"}, machine.Limits{Swap: true, DiskWeight: 10}},
		"pages": {map[string]string{"limits.hugepages.2MB": "4MiB", "limits.hugepages.1GB": "2GiB"},
			machine.Limits{Swap: true, Hugepages: machine.Hugepages{MB2: 4 << 20, GB1: 2 << 30}}},
	} {
		got, err := config.Limits(c.keys, 1000, "")
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestParseRawIDMap(t *testing.T) {
	got, err := config.ParseRawIDMap("both 1000 500\n\nuid 5-6 7-8\n gid 9 10")
	want := []config.Pick{
		{Users: true, Groups: true, Host: 1000, Inside: 500, Size: 1}, {Users: true, Host: 5, Inside: 7, Size: 2}, {Groups: true, Host: 9, Inside: 10, Size: 1},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

var hostIDs = []machine.IDRange{{Host: 1000000, Size: 1000000000}}

func TestIDMap(t *testing.T) {
	type m = map[string]string
	for name, c := range map[string]struct {
		keys m
		base int64
		want string
	}{
		"usual":          {nil, 0, "[{1000000 0 1000000000}]"},
		"privileged":     {m{"security.privileged": "true", "security.idmap.isolated": "true"}, 2000000, "[]"},
		"small":          {m{"security.idmap.size": "70000"}, 0, "[{1000000 0 70000}]"},
		"isolated":       {m{"security.idmap.isolated": "true"}, 1065536, "[{1065536 0 65536}]"},
		"not known yet":  {m{"security.idmap.isolated": "true"}, 0, "[{1000000 0 1000000000}]"},
		"isolated, size": {m{"security.idmap.isolated": "true", "security.idmap.size": "1000"}, 1065536, "[{1065536 0 1000}]"},
		"picks": {m{"raw.idmap": "both 1000 1000\nuid 5-6 0-1\ngid 5-6 0-1"}, 0,
			"[{5 0 2} {1000002 2 998} {1000 1000 1} {1001001 1001 999998999}]"},
		"beyond": {m{"security.idmap.isolated": "true", "raw.idmap": "both 7 70000"}, 1065536, "[{1065536 0 65536} {7 70000 1}]"},
		"apart":  {m{"raw.idmap": "uid 1000 1000"}, 0, "error"},
		"twice":  {m{"raw.idmap": "both 1000 1000\nboth 1000 1001"}, 0, "error"},
		"inside": {m{"raw.idmap": "both 1000 1000\nboth 1001 1000"}, 0, "error"},
		"taken":  {m{"raw.idmap": "both 1000007 1000"}, 0, "error"},
	} {
		got, err := config.IDMap(c.keys, hostIDs, c.base)
		if (err != nil) != (c.want == "error") || err == nil && fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestFreeBase(t *testing.T) {
	used := []machine.IDRange{{Host: 1065536, Size: 65536}, {Host: 1200000, Size: 1000}}
	for name, c := range map[string]struct{ wanted, size, want int64 }{
		"first gap": {0, 60000, 1131072}, "too small a gap": {0, 100000, 1201000}, "chosen": {5000000, 65536, 5000000}, "another's": {1200500, 10, -1},
		"not ours": {500, 10, -1}, "beyond": {1000999999, 10, -1}, "too many": {0, 1000000000, -1},
	} {
		got, err := config.FreeBase(hostIDs, used, c.wanted, c.size)
		if c.want < 0 && !errs.Is(err, errs.Invalid) || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestPermitted(t *testing.T) {
	reserved := []machine.IDRange{{Host: 1000, Size: 2}, {Host: 1000000, Size: 1000000000}}
	for text, ok := range map[string]bool{"": true, "both 1000-1001 0-1": true, "both 1001-1002 0-1": false, "both 0 0": false} {
		if err := config.Permitted(map[string]string{"raw.idmap": text}, reserved); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := config.Permitted(map[string]string{"raw.idmap": "both 0 0"}, nil); err != nil {
		t.Error(err)
	}
}
