//go:build system

package lxc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/host/cgroup"
	"lxd/internal/machine"
)

// groupFile reads a file of a container's control group on the host; "" when this kernel has it not.
func groupFile(t *testing.T, m machine.Machine, file string) string {
	t.Helper()
	tree, err := cgroup.Open("/sys/fs/cgroup")
	must(t, err)
	controller, _, _ := strings.Cut(file, ".")
	lines, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", m.Handle().PID))
	must(t, err)
	for line := range strings.Lines(string(lines)) {
		if i := strings.Index(line, "/lxc.payload."); i >= 0 {
			group, _, _ := strings.Cut(strings.TrimSpace(line[i+1:]), "/")
			s, err := tree.Group(group).Get(controller, file)
			if err != nil {
				return ""
			}
			return s
		}
	}
	t.Fatalf("no control group of its own: %s", lines)
	return ""
}

// TestLimitsOfTheKernel starts and changes a machine with all limits, and asks the kernel.
func TestLimitsOfTheKernel(t *testing.T) {
	d := driver(t)
	p := plan(t)
	p.Limits = machine.Limits{MemoryBytes: 256 << 20, MemorySoft: true, Swap: true, Swappiness: 65, DiskWeight: 250,
		Hugepages: machine.Hugepages{MB2: 4 << 20}}
	p.Rlimits = map[string]string{"nofile": "1000:2000", "core": "0", "stack": "1000000:unlimited"}
	p.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536", "net.ipv4.conf.lo.forwarding": "1"}
	m := start(t, d, p)
	for script, want := range map[string]string{
		"cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding": "1\n65536\n1\n",
		"grep 'open files' /proc/1/limits | while read a b c soft hard rest; do echo $soft $hard; done":   "1000 2000\n",
	} {
		if out, _ := inside(t, m, 0, script); out != want {
			t.Errorf("%s: %q", script, out)
		}
	}
	// an exec has the limits that are asked for with it, as the rules of instances do
	if out, code := output(t, m, machine.Command{Args: []string{"/bin/sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hs"}, Rlimits: p.Rlimits}); out != "1000\n2000\nunlimited\n" || code != 0 {
		t.Error(out, code)
	}
	check := func(want map[string]string) {
		t.Helper()
		for file, value := range want {
			if got := groupFile(t, m, file); got != value && got != "" {
				t.Errorf("%s is %s, not %s", file, got, value)
			}
		}
	}
	check(map[string]string{"memory.soft_limit_in_bytes": "268435456", "memory.low": "268435456", "memory.swappiness": "65", "blkio.bfq.weight": "50",
		"blkio.weight": "250", "hugetlb.2MB.max": "4194304", "hugetlb.2MB.limit_in_bytes": "4194304"})
	must(t, m.(machine.Tuner).Tune(t.Context(), machine.Limits{MemoryBytes: 128 << 20, DiskWeight: 1000, Hugepages: machine.Hugepages{MB2: 2 << 20}}))
	check(map[string]string{"memory.limit_in_bytes": "134217728", "memory.max": "134217728", "memory.memsw.limit_in_bytes": "134217728",
		"blkio.bfq.weight": "200", "hugetlb.2MB.max": "2097152"})
	must(t, m.(machine.Tuner).Tune(t.Context(), machine.Limits{Swappiness: machine.NoSwap}))
	check(map[string]string{"memory.swappiness": "0", "memory.max": "max", "memory.swap.max": "0", "hugetlb.2MB.max": "max", "blkio.bfq.weight": "100"})
}

// compat is a program that makes a system call of the 32-bit architecture: getpid, and exits with 7 if that works.
const compat = `
.globl _start
_start:	mov $20, %eax
	int $0x80
	mov $1, %eax
	mov $7, %ebx
	int $0x80
`

// TestSyscalls has policies refuse system calls, of the first program and its children as of what exec runs.
func TestSyscalls(t *testing.T) {
	d := driver(t)
	for name, c := range map[string]struct {
		want   machine.Syscalls
		script string
		out    string
	}{
		"deny":       {machine.Syscalls{Deny: "mkdir errno 95\nmkdirat errno 95"}, "mkdir /tmp/x 2>&1", "mkdir: can't create directory '/tmp/x': Operation not supported\n"},
		"argument":   {machine.Syscalls{Deny: "kill errno 95 [1,0,SCMP_CMP_EQ]"}, "kill -0 1 2>&1; kill -CONT 1 && echo sent", "sh: can't kill pid 1: Operation not supported\nsent\n"},
		"no default": {machine.Syscalls{NoDefault: true}, "mkdir /tmp/x && echo made", "made\n"},
		"whole":      {machine.Syscalls{Policy: "2\ndenylist\n[all]\nmkdir errno 95\nmkdirat errno 95\n"}, "mkdir /tmp/x 2>/dev/null || echo refused", "refused\n"},
		"compat":     {machine.Syscalls{NoCompat: true}, "/bin/compat; echo $?", "Bad system call\n159\n"},
		"with it":    {machine.Syscalls{}, "/bin/compat; echo $?", "7\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t)
			if strings.Contains(c.script, "compat") {
				program(t, filepath.Join(p.Root, "bin/compat"))
			}
			p.Syscalls = c.want
			p.Init = []string{"/bin/sh", "/first"}
			must(t, os.WriteFile(filepath.Join(p.Root, "first"), []byte("sh -c '"+strings.ReplaceAll(c.script, "'", `'"'"'`)+"' >/tmp/out 2>&1\ntouch /tmp/done\nsleep 1000\n"), 0o644))
			m := start(t, d, p)
			await(t, filepath.Join(p.Root, "tmp/done"))
			out, err := os.ReadFile(filepath.Join(p.Root, "tmp/out"))
			if err != nil || string(out) != c.out {
				t.Errorf("the first program's child: %q %v", out, err)
			}
			inside(t, m, 0, "rm -rf /tmp/x")
			if out, _ := inside(t, m, 0, "exec 2>&1; "+c.script); out != c.out {
				t.Errorf("exec: %q", out)
			}
		})
	}
	p := plan(t)
	p.Syscalls.Policy = "2\ndenylist\n[all]\nmkdir sometimes\n"
	if _, err := d.Start(t.Context(), p); !errs.Is(err, errs.Invalid) {
		t.Error("a policy that nobody can read:", err)
	}
}

// program assembles the program that makes a 32-bit call.
func program(t *testing.T, to string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "compat.s")
	must(t, os.WriteFile(source, []byte(compat), 0o644))
	if out, err := exec.Command("gcc", "-nostdlib", "-static", "-o", to, source).CombinedOutput(); err != nil {
		t.Skipf("needs gcc for x86_64: %v: %s", err, out)
	}
	must(t, os.Chmod(to, 0o755))
}

func await(t *testing.T, path string) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(until) {
			t.Fatal("nothing at", path)
		}
	}
}
