// Package harness runs the built binaries for tests: daemons in state directories and network namespaces of their own.
package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bin is the folder of the built binaries; the test is skipped, with the reason, where they or root are missing.
func Bin(t testing.TB) string {
	t.Helper()
	bin := os.Getenv("LXD_TEST_BIN")
	if bin == "" {
		t.Skip("LXD_TEST_BIN does not name the folder of the built binaries: run \"make test\"")
	}
	if os.Geteuid() != 0 {
		t.Skip("real containers need root")
	}
	return bin
}

// Daemon is one daemon that a test started.
type Daemon struct {
	Dir, Socket, Netns string

	t   testing.TB
	bin string
	cmd *exec.Cmd
	// Log is the file that the daemon logs to.
	Log string
}

// New prepares a daemon in a state directory below the scratch root, with a network namespace; Start starts it. At the end of
// the test everything of it is removed.
func New(t testing.TB) *Daemon {
	t.Helper()
	netns := fmt.Sprintf("lxdt-%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))
	run(t, "ip", "netns", "add", netns)
	t.Cleanup(func() { run(t, "ip", "netns", "del", netns) })
	run(t, "ip", "-n", netns, "link", "set", "lo", "up")
	return NewIn(t, netns)
}

// NewIn is New in a network namespace that there is already.
func NewIn(t testing.TB, netns string) *Daemon {
	t.Helper()
	bin := Bin(t)
	root, err := os.MkdirTemp(Scratch(t), "d")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, bin: bin, Dir: filepath.Join(root, "lxd"), Netns: netns, Log: filepath.Join(root, "log")}
	d.Socket = filepath.Join(d.Dir, "unix.socket")
	if err := os.Chmod(root, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Shutdown()
		if t.Failed() {
			b, _ := os.ReadFile(d.Log)
			t.Logf("daemon log:\n%s", tail(b, 8000))
		}
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("left over: %v", err)
		}
	})
	return d
}

// Scratch is the folder that tests keep state directories in: on a real file system, reachable for shifted ids.
func Scratch(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("LXD_TEST_SCRATCH")
	if dir == "" {
		dir = "/var/tmp/lxd-test"
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Use makes failures those of a subtest until the returned function is called.
func (d *Daemon) Use(t testing.TB) func() {
	old := d.t
	d.t = t
	return func() { d.t = old }
}

// Start starts the daemon with extra environment and waits until it is ready, or until it has ended.
func (d *Daemon) Start(env ...string) {
	d.t.Helper()
	if err := d.TryStart(env...); err != nil {
		b, _ := os.ReadFile(d.Log)
		d.t.Fatalf("the daemon did not start: %v\n%s", err, tail(b, 4000))
	}
}

// TryStart is Start for a daemon that may fail.
func (d *Daemon) TryStart(env ...string) error {
	d.cmd = d.Command(filepath.Join(d.bin, "lxd"), "--debug", "--logfile", d.Log)
	d.cmd.Env = append(d.cmd.Env, env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out bytes.Buffer
	d.cmd.Stdout, d.cmd.Stderr = &out, &out
	if err := d.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func(c *exec.Cmd) { ended <- c.Wait() }(d.cmd)
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w: %s", err, out.String())
		default:
		}
		if code, _ := d.HTTP("GET", "/internal/ready", ""); code == http.StatusOK {
			return nil
		}
	}
	return errors.New("not ready after 60 s")
}

// Init sets the daemon up as "lxd init --auto" does.
func (d *Daemon) Init() {
	d.t.Helper()
	if out, err := d.Command(filepath.Join(d.bin, "lxd"), "init", "--auto").CombinedOutput(); err != nil {
		d.t.Fatalf("lxd init: %v: %s", err, out)
	}
}

// Command is a program in the daemon's network namespace and environment.
func (d *Daemon) Command(argv ...string) *exec.Cmd {
	c := exec.Command("nsenter", append([]string{"--net=/run/netns/" + d.Netns}, argv...)...)
	c.Env = append(os.Environ(), "LXD_DIR="+d.Dir, "LXD_CONF="+filepath.Dir(d.Dir)+"/conf", "HOME="+filepath.Dir(d.Dir))
	return c
}

// LXC runs our client and fails the test when it fails.
func (d *Daemon) LXC(args ...string) string {
	d.t.Helper()
	out, err := d.TryLXC(args...)
	if err != nil {
		d.t.Fatalf("lxc %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryLXC runs our client and returns what it printed.
func (d *Daemon) TryLXC(args ...string) (string, error) {
	out, err := d.Command(append([]string{filepath.Join(d.bin, "lxc")}, args...)...).CombinedOutput()
	return string(out), err
}

// Client is an HTTP client of the daemon's socket.
func (d *Daemon) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
	}}}
}

// HTTP sends one request and returns status and body; status 0 means that nobody answered.
func (d *Daemon) HTTP(method, path, body string) (int, string) {
	req, err := http.NewRequest(method, "http://lxd"+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.Client().Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

// Kill ends the daemon as a crash does.
func (d *Daemon) Kill() {
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Kill()
	}
	d.WaitEnded()
}

// Terminate ends the daemon and leaves instances running.
func (d *Daemon) Terminate() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	d.WaitEnded()
}

// WaitEnded waits until nobody serves the socket.
func (d *Daemon) WaitEnded() {
	d.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := d.cmd.Process.Signal(syscall.Signal(0)); err != nil {
			return
		}
	}
	d.t.Error("the daemon did not end in 60 s")
}

// Alive reports whether the daemon's process runs.
func (d *Daemon) Alive() bool { return d.cmd != nil && d.cmd.Process.Signal(syscall.Signal(0)) == nil }

// Shutdown deletes all instances and stops the daemon, starting it first if it is down.
func (d *Daemon) Shutdown() {
	if d.cmd == nil {
		return
	}
	if code, _ := d.HTTP("GET", "/1.0", ""); code == 0 {
		d.WaitEnded() // the test has shut it down, and it may not be through with that
	}
	if !d.Alive() {
		if err := d.TryStart(); err != nil {
			d.t.Errorf("start to clean up: %v", err)
			return
		}
	}
	names, _ := d.TryLXC("list", "-f", "csv", "-c", "n")
	for _, n := range strings.Fields(names) {
		if out, err := d.TryLXC("delete", "--force", n); err != nil {
			d.t.Errorf("clean up %s: %v: %s", n, err, out)
		}
	}
	if out, err := d.Command(filepath.Join(d.bin, "lxd"), "shutdown", "--timeout", "60").CombinedOutput(); err != nil {
		d.t.Errorf("lxd shutdown: %v: %s", err, out)
	}
	d.WaitEnded()
}

func run(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// PeakMemory is the most memory that the daemon has had, in bytes.
func (d *Daemon) PeakMemory() int64 {
	d.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	var kb int64
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		d.t.Fatal(err)
	}
	return kb << 10
}
