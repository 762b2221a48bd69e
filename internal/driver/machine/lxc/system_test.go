//go:build system

package lxc_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/driver/machine/lxc"
	"lxd/internal/errs"
	"lxd/internal/machine"
	"lxd/internal/machine/machinetest"
)

// bootScript is the first program of the test's containers: it serves the signals that an init serves.
const bootScript = `#!/bin/sh
trap 'poweroff -f' PWR
trap 'reboot -f' HUP
echo booted >/dev/console
echo >/run/ready
while :; do sleep 1000 & wait $!; done
`

func driver(t *testing.T) *lxc.Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for containers")
	}
	helper, err := filepath.Abs("../../../../bin/lxd-lxc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(helper); err != nil {
		t.Skip("needs the container helper; run make build:", err)
	}
	d, err := lxc.New(helper)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// rootfs makes a small system whose owners are shifted to where the plan maps them.
func rootfs(t *testing.T, root string) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox-static:", err)
	}
	for _, dir := range []string{"bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "run", "usr/local/sbin"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	b, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755))
	for _, name := range strings.Fields("sh true sleep echo cat pwd env id tty ls stty poweroff reboot mount grep ps kill touch mkdir rm ip ifconfig") {
		must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	for name, text := range map[string]string{
		"sbin/init": bootScript, "usr/local/sbin/reboot": "#!/bin/sh\nkill -HUP 1\n", "usr/local/sbin/poweroff": "#!/bin/sh\nkill -PWR 1\n",
	} {
		if name == "sbin/init" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, "poweroff -f", "/bin/poweroff -f"), "reboot -f", "/bin/reboot -f")
		}
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o755))
	}
}

const shift = 1000000

func chown(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, shift, shift)
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// groups are the control groups of machines that ran in the folder; those of other tests, which run at the same time, bear other names.
func groups(dir string) (all []string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(filepath.Join(dir, "run")))
	for _, top := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(fmt.Sprintf("%slxc.*.t1-%016x", top, h.Sum64()))
		all = append(all, found...)
	}
	return all
}

// folder is one that the container's root, who is nobody here, may pass through.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "lxd-machine-")
	must(t, err)
	must(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join("/run/lxc/lock", dir)); err == nil {
			t.Error("locks are left over")
		}
		if left := groups(dir); len(left) > 0 {
			t.Errorf("control groups are left over: %v", left)
		}
	})
	return dir
}

func plan(t *testing.T) machine.Plan {
	t.Helper()
	dir := folder(t)
	p := machine.Plan{
		ID: "t1", Name: "c1", RunDir: dir + "/run", LogDir: dir + "/log", Root: dir + "/root", RootShifted: true,
		IDMap: []machine.IDRange{{Host: shift, Inside: 0, Size: 1000000000}},
	}
	for _, d := range []string{p.RunDir, p.LogDir} {
		must(t, os.Mkdir(d, 0o700))
	}
	rootfs(t, p.Root)
	chown(t, p.Root)
	return p
}

func TestContract(t *testing.T) {
	machinetest.Run(t, func(t *testing.T) machinetest.Subject {
		return machinetest.Subject{Driver: driver(t), Plan: plan, Again: func(t *testing.T) machine.Driver { return driver(t) }}
	})
}

func TestIDMapped(t *testing.T) {
	machinetest.Run(t, func(t *testing.T) machinetest.Subject {
		return machinetest.Subject{Driver: driver(t), Plan: func(t *testing.T) machine.Plan {
			p := plan(t)
			rootfsOwner(t, p.Root)
			p.RootShifted = false
			return p
		}, Again: func(t *testing.T) machine.Driver { return driver(t) }}
	})
}

func TestPrivileged(t *testing.T) {
	machinetest.Run(t, func(t *testing.T) machinetest.Subject {
		return machinetest.Subject{Driver: driver(t), Plan: func(t *testing.T) machine.Plan {
			p := plan(t)
			rootfsOwner(t, p.Root)
			p.IDMap, p.RootShifted = nil, false
			return p
		}, Again: func(t *testing.T) machine.Driver { return driver(t) }}
	})
}

func rootfsOwner(t *testing.T, root string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 0, 0)
	}))
}

func start(t *testing.T, d *lxc.Driver, p machine.Plan) machine.Machine {
	t.Helper()
	m, err := d.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Reap(context.Background(), p.ID, p.RunDir); err != nil {
			t.Error(err)
		}
	})
	return m
}

// inside runs a shell script and returns its output, both streams.
func inside(t *testing.T, m machine.Machine, uid uint32, script string) (string, int) {
	t.Helper()
	return output(t, m, machine.Command{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}, UID: uid, GID: uid})
}

// output runs a program and returns both its streams.
func output(t *testing.T, m machine.Machine, c machine.Command) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c.Stdout, c.Stderr = w, w
	p, err := m.Exec(t.Context(), c)
	w.Close()
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	code, err := p.Wait(t.Context())
	must(t, err)
	return string(out), code
}

func TestInside(t *testing.T) {
	p := plan(t)
	p.Env = map[string]string{"SPECIAL": `"quoted" 'value' `}
	p.Nodes = []machine.Node{{Path: "/dev/mine", Major: 1, Minor: 3, Mode: 0o660, GID: 5}}
	p.Mounts = []machine.Mount{{Source: p.LogDir, Target: "mnt/a b", ReadOnly: true}}
	p.Limits = machine.Limits{MemoryBytes: 64 << 20, Processes: 50, CPUSet: "0", CPUQuota: 50000, CPUPeriod: 100000}
	must(t, os.Chmod(p.LogDir, 0o755))
	d := driver(t)
	m := start(t, d, p)
	for _, c := range []struct {
		uid          uint32
		script, want string
		code         int
	}{
		{0, "id -u; id -g; id -G", "0\n0\n0\n", 0},
		{1000, "id -u; id -g; id -G", "1000\n1000\n1000\n", 0},
		{1000, "echo hello >/dev/stdout", "hello\n", 0},
		{0, "kill -9 $$", "", 137},
		{0, "cat /proc/sys/kernel/hostname", "c1\n", 0},
		{0, "cat /proc/self/cgroup | grep -v -e ':/$' -e '^0::/.lxc$'", "", 1},
		{0, "ls /proc/self/fd", "0\n1\n2\n3\n", 0},
		{0, "grep -E '^(NoNewPrivs|Seccomp|Groups):' /proc/self/status", "Groups:\t \nNoNewPrivs:\t0\nSeccomp:\t2\n", 0},
		{0, "cat /proc/1/environ | grep -c SPECIAL", "1\n", 0},
		{0, "echo x >/dev/mine && ls -ln /dev/mine | grep -c 'crw-rw.*0 *5 '", "1\n", 0},
		{0, "touch '/mnt/a b/x' 2>/dev/null; ls -d '/mnt/a b'", "/mnt/a b\n", 0},
		{0, "ls /sys/class/net", "lo\n", 0},
		{0, "umask", "0022\n", 0},
		{0, "test -c /dev/console -a -c /dev/null -a -c /dev/ptmx && echo yes", "yes\n", 0},
	} {
		out, code := inside(t, m, c.uid, c.script)
		if out != c.want || code != c.code {
			t.Errorf("%s (as %d): %q %d, want %q %d", c.script, c.uid, out, code, c.want, c.code)
		}
	}
	if len(groups(filepath.Dir(p.RunDir))) == 0 {
		t.Error("the control groups that must not be left over bear other names than the test thinks")
	}
	if same := join(t, m); same != "" {
		t.Errorf("a command is in %s", same)
	}
	// a first program that moves on, as systemd does, leaves commands where they are
	const moved = "mkdir -p /sys/fs/cgroup/pids/sub && echo 1 >/sys/fs/cgroup/pids/sub/cgroup.procs; grep -h :pids: /proc/1/cgroup /proc/self/cgroup | cut -d: -f3"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1
		for range 2 {
			if out, _ := inside(t, m, 0, moved); out != "/sub\n/\n" {
				t.Errorf("the first program and a command are in %q", out)
			}
		}
	}
}

// join compares the control groups and capabilities of a command with those of the first program.
func join(t *testing.T, m machine.Machine) string {
	t.Helper()
	p, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/sleep", "1000"}})
	must(t, err)
	defer func() { must(t, p.Signal(syscall.SIGKILL)) }()
	for _, file := range []string{"cgroup", "uid_map"} {
		a, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.Handle().PID, file))
		must(t, err)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), file))
		must(t, err)
		if string(a) != strings.Replace(string(b), "/.lxc\n", "\n", 1) { // a group of version 2 for commands alone
			return string(b)
		}
	}
	return ""
}

func TestTerminalIsTheContainers(t *testing.T) {
	m := start(t, driver(t), plan(t))
	p, err := m.Exec(t.Context(), machine.Command{
		Args: []string{"sh", "-c", "tty; stty size; ls -ln $(tty) | grep -c ' 1000 '; read x; stty size; trap 'echo got it; exit 5' USR1; echo ok; while :; do sleep 0.1; done"},
		Env:  []string{"PATH=/bin"}, UID: 1000, GID: 1000, Terminal: true, Width: 91, Height: 17,
	})
	must(t, err)
	tty := p.Terminal()
	defer tty.Close()
	must(t, tty.SetDeadline(time.Now().Add(10*time.Second)))
	got := ""
	read := func(want string) {
		t.Helper()
		for buf := make([]byte, 100); ; {
			if _, rest, ok := strings.Cut(got, want); ok {
				got = rest
				return
			}
			n, err := tty.Read(buf)
			got += string(buf[:n])
			if err != nil {
				t.Fatalf("%q: %v, want %q", got, err, want)
			}
		}
	}
	read("/dev/pts/")
	read("17 91\r\n1\r\n")
	must(t, p.Resize(55, 44))
	_, err = tty.WriteString("\n")
	must(t, err)
	read("44 55\r\nok")
	must(t, p.Signal(syscall.SIGUSR1))
	if code, err := p.Wait(t.Context()); code != 5 || err != nil {
		t.Fatal(code, err)
	}
	// hanging up ends what runs
	p, err = m.Exec(t.Context(), machine.Command{Args: []string{"/bin/sleep", "1000"}, Terminal: true})
	must(t, err)
	must(t, p.Terminal().Close())
	if code, err := p.Wait(t.Context()); code != 128+int(syscall.SIGHUP) || err != nil {
		t.Fatal(code, err)
	}
}

func TestConsole(t *testing.T) {
	m := start(t, driver(t), plan(t))
	c, ok := m.(machine.Console)
	if !ok {
		t.Fatal("no console")
	}
	var log []byte
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !strings.Contains(string(log), "booted"); time.Sleep(10 * time.Millisecond) {
		var err error
		log, err = c.ConsoleLog(t.Context())
		must(t, err)
	}
	if !strings.Contains(string(log), "booted") {
		t.Fatalf("log %q", log)
	}
	for range 2 { // the second opening ends the first
		con, err := c.Console(t.Context())
		must(t, err)
		inside(t, m, 0, "echo from inside >/dev/console")
		buf := make([]byte, 200)
		n, err := con.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "inside") {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
}

// TestDaemonDies starts a container from another process, which is killed at once.
func TestDaemonDies(t *testing.T) {
	const ask = "LXD_TEST_RUN"
	d := driver(t)
	if dir := os.Getenv(ask); dir != "" {
		p := machine.Plan{
			ID: "t1", Name: "c1", RunDir: dir + "/run", LogDir: dir + "/log", Root: dir + "/root", RootShifted: true,
			IDMap: []machine.IDRange{{Host: shift, Size: 1000000000}},
		}
		m, err := d.Start(t.Context(), p)
		must(t, err)
		h := m.Handle()
		fmt.Printf("handle %d %d %d %d\n", h.PID, h.StartTime, h.MonitorPID, h.MonitorStartTime)
		time.Sleep(time.Hour)
	}
	p := plan(t)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestDaemonDies$")
	cmd.Env = append(os.Environ(), ask+"="+filepath.Dir(p.RunDir))
	cmd.Dir = "."
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	h := machine.Handle{Driver: "lxc", ID: p.ID, RunDir: p.RunDir}
	_, err = fmt.Fscanf(out, "handle %d %d %d %d\n", &h.PID, &h.StartTime, &h.MonitorPID, &h.MonitorStartTime)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	must(t, err)
	t.Cleanup(func() { must(t, d.Reap(context.Background(), p.ID, p.RunDir)) })
	m, err := d.Reattach(t.Context(), h)
	must(t, err)
	if out, code := inside(t, m, 0, "echo alive"); out != "alive\n" || code != 0 {
		t.Fatal(out, code)
	}
	// it reboots while no daemon looks, as far as a further one knows
	inside(t, m, 0, "sleep 0.3; kill -HUP 1")
	<-m.Done()
	again, err := d.Reattach(t.Context(), h)
	must(t, err)
	if <-again.Done(); !again.Exit().Reboot {
		t.Fatal("the wish to restart is lost")
	}
}

// TestStartIsKilled kills a daemon in the middle of a start, at various moments, and reaps.
func TestStartIsKilled(t *testing.T) {
	const ask = "LXD_TEST_START"
	d := driver(t)
	if dir := os.Getenv(ask); dir != "" {
		p := machine.Plan{ID: "t1", Name: "c1", RunDir: dir + "/run", LogDir: dir + "/log", Root: dir + "/root", RootShifted: true, IDMap: []machine.IDRange{{Host: shift, Size: 1000000000}}}
		fmt.Println("go")
		_, _ = d.Start(t.Context(), p)
		time.Sleep(time.Hour)
	}
	p := plan(t)
	for ms := range 12 {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestStartIsKilled$")
		cmd.Env = append(os.Environ(), ask+"="+filepath.Dir(p.RunDir))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = out.Read(make([]byte, 3))
		time.Sleep(time.Duration(2*ms) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		must(t, err)
		must(t, d.Reap(t.Context(), p.ID, p.RunDir))
		if left := groups(filepath.Dir(p.RunDir)); len(left) > 0 {
			t.Fatalf("after %d ms: %v", 2*ms, left)
		}
	}
	list, err := os.ReadDir(p.RunDir)
	must(t, err)
	for _, e := range list {
		if e.Name() != "start.lock" {
			t.Errorf("left over: %s", e.Name())
		}
	}
}

func TestMonitorIsKilled(t *testing.T) {
	d, p := driver(t), plan(t)
	m := start(t, d, p)
	must(t, syscall.Kill(m.Handle().MonitorPID, syscall.SIGKILL))
	select {
	case <-m.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the container outlives its monitor")
	}
	_, err := d.Start(t.Context(), p)
	must(t, err)
}

// TestHostileRoot puts links to the host in place of what a start touches.
func TestHostileRoot(t *testing.T) {
	for _, name := range []string{"dev", "proc", "sys", "etc", "sbin/init", "mnt", "mnt/x", "run", "dev/console", "dev/pts", "dev/fuse", "dev/mqueue"} {
		t.Run(name, func(t *testing.T) {
			p := plan(t)
			p.Mounts = []machine.Mount{{Source: p.LogDir, Target: "mnt/x"}}
			victim := filepath.Join(filepath.Dir(p.RunDir), "victim")
			must(t, os.Mkdir(victim, 0o777))
			must(t, os.WriteFile(victim+"/file", []byte("untouched"), 0o666))
			must(t, os.Chmod(victim, 0o777))
			at := filepath.Join(p.Root, name)
			must(t, os.RemoveAll(at))
			must(t, os.MkdirAll(filepath.Dir(at), 0o755))
			must(t, os.Symlink(victim, at))
			d := driver(t)
			m, err := d.Start(t.Context(), p)
			if err == nil {
				inside(t, m, 0, "echo x >/dev/console")
				must(t, m.Kill(t.Context()))
			}
			must(t, d.Reap(t.Context(), p.ID, p.RunDir))
			list, err := os.ReadDir(victim)
			must(t, err)
			if b, err := os.ReadFile(victim + "/file"); len(list) != 1 || string(b) != "untouched" || err != nil {
				t.Fatalf("touched: %v %q %v", list, b, err)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			must(t, err)
			if strings.Contains(string(mounts), p.RunDir) || strings.Contains(string(mounts), victim) {
				t.Fatal("mounts are left on the host")
			}
		})
	}
}

// TestHostileTerminal puts something else in place of the container's terminals.
func TestHostileTerminal(t *testing.T) {
	m := start(t, driver(t), plan(t))
	inside(t, m, 0, "mkdir -p /run/x; mount -t tmpfs none /dev/pts; echo >/dev/pts/ptmx")
	_, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/true"}, Terminal: true})
	if err == nil || !strings.Contains(err.Error(), "not a terminal") {
		t.Fatal(err)
	}
}

// TestOwnProgram lets the container run what runs it: the copy must be out of reach for writing.
func TestOwnProgram(t *testing.T) {
	p := plan(t)
	p.IDMap, p.RootShifted = nil, false // the container's root is the host's
	m := start(t, driver(t), p)
	inside(t, m, 0, "echo '#!/proc/self/exe' >/tmp/x; chmod 755 /tmp/x; mkdir -p /lib64")
	proc, err := m.Exec(t.Context(), machine.Command{Args: []string{"/tmp/x"}})
	must(t, err)
	if code, err := proc.Wait(t.Context()); code == 0 || err != nil {
		t.Fatal(code, err)
	}
	exe := fmt.Sprintf("/proc/%d/exe", m.Handle().MonitorPID)
	if f, err := os.OpenFile(exe, os.O_WRONLY, 0); err == nil {
		if _, err := f.WriteString("x"); err == nil {
			t.Fatal("the program can be overwritten")
		}
		f.Close()
	}
}

func TestFailedStart(t *testing.T) {
	d, p := driver(t), plan(t)
	p.Init = []string{"/no/such/init"}
	_, err := d.Start(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "/no/such/init") {
		t.Fatalf("no reason: %v", err)
	}
	if errs.Is(err, errs.Invalid) {
		t.Fatal("the request was fine")
	}
	p.Init = nil
	must(t, os.Chmod(filepath.Dir(p.RunDir), 0o700))
	if _, err := d.Start(t.Context(), p); err == nil || !strings.Contains(err.Error(), "chmod o+x "+filepath.Dir(p.RunDir)) {
		t.Fatalf("a folder that is closed: %v", err)
	}
	must(t, os.Chmod(filepath.Dir(p.RunDir), 0o711))
	p.Init = []string{"/bin/true"}
	if m, err := d.Start(t.Context(), p); err == nil {
		<-m.Done() // it was seen running for a moment
	}
	p.Init = nil
	_ = start(t, d, p)
}

// TestClosedRoot has the root file system in a folder that is closed to all but root.
func TestClosedRoot(t *testing.T) {
	p := plan(t)
	closed := filepath.Join(filepath.Dir(p.RunDir), "closed")
	must(t, os.Mkdir(closed, 0o700))
	must(t, os.Rename(p.Root, closed+"/root"))
	p.Root = closed + "/root"
	d := driver(t)
	if _, err := d.Start(t.Context(), p); err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed) {
		t.Fatalf("a shifted root must be within reach: %v", err)
	}
	rootfsOwner(t, p.Root)
	p.RootShifted = false
	if out, code := inside(t, start(t, d, p), 0, "echo up"); out != "up\n" || code != 0 {
		t.Error(out, code)
	}
}

// TestSeccomp runs the filter that commands get against a program that is denied.
func TestSeccompIsTheContainers(t *testing.T) {
	m := start(t, driver(t), plan(t))
	status := func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		_, rest, _ := strings.Cut(string(b), "Seccomp:")
		return strings.Fields(rest)[0]
	}
	p, err := m.Exec(t.Context(), machine.Command{Args: []string{"/bin/sleep", "1000"}})
	must(t, err)
	defer func() { must(t, p.Signal(syscall.SIGKILL)) }()
	if a, b := status(m.Handle().PID), status(p.PID()); a != "2" || b != "2" {
		t.Fatal(a, b)
	}
	b, err := os.ReadFile(filepath.Join(m.Handle().RunDir, "seccomp.bpf"))
	must(t, err)
	if len(b)%8 != 0 || len(b) < 80 || binary.NativeEndian.Uint16(b) != 0x20 { // starts by loading the architecture
		t.Fatalf("%d bytes", len(b))
	}
}
