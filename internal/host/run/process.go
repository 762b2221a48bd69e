// Package run starts helper programs that outlive the daemon, finds them again after a restart, and ends them. A process is held
// by a file descriptor of the kernel's, never by its number alone: a number may belong to another program tomorrow.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long a program has to end by itself after SIGTERM.
const grace = 2 * time.Second

// Program is what to start.
type Program struct {
	// Path is the program's file, Args what follows it.
	Path string
	Args []string
	Env  []string
	Dir  string
	// Log takes its output; it is emptied first. "" means /dev/null.
	Log string
	// Files are open in the process from descriptor 3 on.
	Files []*os.File
	// Netns is the network namespace of the process; nil is that of the daemon.
	Netns *os.File
}

// Process is one process. Its methods may be called at the same time.
type Process struct {
	pid  int
	fd   *os.File
	done chan struct{}
}

// Look finds a program, also for a daemon whose PATH lacks the folders for administrators; ok is false when there is none.
func Look(name string) (path string, ok bool) {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if found, err := exec.LookPath(dir + name); err == nil {
			return found, true
		}
	}
	return "", false
}

// Start runs p in a session of its own, so that it stays when the daemon ends.
func Start(p Program) (*Process, error) {
	out, err := openLog(p.Log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = p.Env, p.Dir, out, out, p.Files
	fd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &fd}
	if err := In(p.Netns, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Path, err)
	}
	if fd < 0 { // a kernel that does not give one
		if fd, err = unix.PidfdOpen(cmd.Process.Pid, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("hold process %d: %w", cmd.Process.Pid, err), cmd.Process.Kill(), cmd.Wait())
		}
	}
	proc, err := hold(cmd.Process.Pid, fd)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	go func() { _ = cmd.Wait() }() // its exit code says nothing that Done does not
	return proc, nil
}

// Find holds the process whose number is in the file, if it runs and mine says that its program and arguments are the right ones.
func Find(pidFile string, mine func(args []string) bool) (p *Process, ok bool, err error) {
	b, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return nil, false, nil // cut short by a crash
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("hold process %d: %w", pid, err)
	}
	// Only now look at it: what is held cannot become another process.
	if args, err := arguments(pid); err != nil || !mine(args) {
		_ = unix.Close(fd)
		return nil, false, nil
	}
	if p, err = hold(pid, fd); err != nil {
		return nil, false, err
	}
	return p, true, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends s; a process that has ended is no error.
func (p *Process) Signal(s syscall.Signal) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	closed := raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	if closed != nil || errors.Is(failed, unix.ESRCH) { // the descriptor is closed when the process has ended
		return nil
	}
	return failed
}

// Stop asks the process to end, kills it if it does not, and returns when it is gone.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return fmt.Errorf("process %d does not end, not even when killed: see what it waits for in /proc/%d/stack", p.pid, p.pid)
	}
}

// hold takes over fd and watches it.
func hold(pid, fd int) (*Process, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	p := &Process{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, p.fd.Close())
	}
	go func() {
		defer close(p.done)
		defer p.fd.Close()
		_ = raw.Read(func(fd uintptr) bool { return ended(int(fd)) })
	}()
	return p, nil
}

// ended tells whether the process of a descriptor is gone, which is when the descriptor can be read.
func ended(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// arguments are the program's file and arguments; the file is the kernel's own record, not what the program says.
func arguments(pid int) ([]string, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return nil, err
	}
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return nil, err
	}
	args := []string{strings.TrimSuffix(exe, " (deleted)")} // upgraded while it ran
	for i, a := range bytes.Split(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		if i > 0 {
			args = append(args, string(a))
		}
	}
	return args, nil
}

func openLog(path string) (*os.File, error) {
	if path == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
}
