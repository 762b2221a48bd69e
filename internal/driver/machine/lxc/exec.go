package lxc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/run"
	"lxd/internal/machine"
)

// execTime is how long a program may take until it runs.
const execTime = 30 * time.Second

// process is one program started by Exec: the helper's child, in the container.
type process struct {
	helper   *run.Child
	pid      int
	fd       *os.File
	terminal *os.File

	mu sync.Mutex
	// ended says that fd is closed.
	ended bool
}

// Exec starts cmd in the container.
func (c *container) Exec(ctx context.Context, cmd machine.Command) (machine.Process, error) {
	if c.over() {
		return nil, errs.Newf(errs.Unavailable, "machine %s does not run", c.handle.ID)
	}
	if err := c.own(cmd); err != nil {
		return nil, err
	}
	request, err := c.request(cmd)
	if err != nil {
		return nil, err
	}
	defer request.Close()
	init, err := c.init.Duplicate()
	if err != nil {
		return nil, errs.Newf(errs.Unavailable, "machine %s has ended: %w", c.handle.ID, err)
	}
	defer init.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	call := run.Call{Path: c.driver.program(), Args: []string{"exec", c.handle.ID, payloadGroup(c.handle.ID, c.handle.RunDir)}, Files: []*os.File{theirs, init, request}}
	if !cmd.Terminal {
		call.Stdin, call.Stdout, call.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	}
	helper, err := run.Spawn(call)
	_ = theirs.Close() // the child has its own
	if err != nil {
		return nil, err
	}
	p := &process{helper: helper}
	err = p.await(ctx, ours)
	if p.fd != nil {
		go p.release()
	}
	if err != nil {
		return nil, errors.Join(err, p.abandon())
	}
	return p, nil
}

// release lets the program go when it has ended.
func (p *process) release() {
	_, _ = p.helper.Wait(context.Background()) // its code is asked for elsewhere
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.fd.Close() // it was good for signals only
	p.ended = true
}

// request writes what the helper is to do to a file in memory: arguments and environment would be seen by all users of the host.
func (c *container) request(cmd machine.Command) (*os.File, error) {
	terminal := "0"
	if cmd.Terminal {
		terminal = "1"
	}
	fields := []string{
		strconv.FormatUint(uint64(cmd.UID), 10), strconv.FormatUint(uint64(cmd.GID), 10), cmd.Dir, c.handle.RunDir + "/" + filterFile,
		terminal, strconv.Itoa(cmd.Width), strconv.Itoa(cmd.Height), strconv.Itoa(len(cmd.Env)),
	}
	fields = append(fields, cmd.Env...)
	fields = append(append(fields, strconv.Itoa(len(cmd.Args))), cmd.Args...)
	limits, err := rlimits(cmd.Rlimits)
	if err != nil {
		return nil, err
	}
	fields = append(append(fields, strconv.Itoa(len(limits))), limits...)
	if len(cmd.Args) == 0 || cmd.Args[0] == "" {
		return nil, errs.Newf(errs.Invalid, "there is no command to run")
	}
	for _, f := range fields {
		if strings.IndexByte(f, 0) >= 0 {
			return nil, errs.Newf(errs.Invalid, "the command, its environment or its folder has a NUL character: %q", f)
		}
	}
	fd, err := unix.MemfdCreate("request", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "request")
	if _, err := f.WriteString(strings.Join(fields, "\x00") + "\x00"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// rlimits writes limits of processes as the helper reads them: number, soft and hard limit.
func rlimits(want map[string]string) (list []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		number, ok := machine.RlimitNumber(name)
		soft, hard, both := strings.Cut(want[name], ":")
		if !both {
			hard = soft
		}
		if !ok {
			return nil, errs.Newf(errs.Invalid, "there is no limit of processes called %q", name)
		}
		unlimited := strings.NewReplacer("unlimited", strconv.FormatUint(unix.RLIM_INFINITY, 10))
		list = append(list, fmt.Sprintf("%d %s %s", number, unlimited.Replace(soft), unlimited.Replace(hard)))
	}
	return list, nil
}

// own gives pipes to the program's user, who may want to open them again through /dev/stdout.
func (c *container) own(cmd machine.Command) error {
	var maps [2]string
	for _, f := range []*os.File{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		if f == nil || cmd.Terminal {
			continue
		}
		if st, err := f.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
			continue
		}
		for i, name := range []string{"uid_map", "gid_map"} {
			if maps[i] != "" {
				continue
			}
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.handle.PID, name))
			if err != nil {
				return errs.Newf(errs.Unavailable, "machine %s has ended: %w", c.handle.ID, err)
			}
			maps[i] = string(b)
		}
		if err := f.Chown(outside(maps[0], int64(cmd.UID)), outside(maps[1], int64(cmd.GID))); err != nil {
			return err
		}
	}
	return nil
}

// outside translates an id by the text of a kernel's id map; -1 when it has none there.
func outside(text string, id int64) int {
	for line := range strings.SplitSeq(text, "\n") {
		var inside, host, size int64
		if n, _ := fmt.Sscan(line, &inside, &host, &size); n == 3 && id >= inside && id < inside+size {
			return int(host + id - inside)
		}
	}
	return -1
}

// await reads the helper's reports until the program is known and about to run; the two reports come in any order, since they are
// from two processes.
func (p *process) await(ctx context.Context, sock *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { _ = sock.SetReadDeadline(time.Now()) })
	defer stop()
	if err := sock.SetReadDeadline(time.Now().Add(execTime)); err != nil {
		return err
	}
	for ready := false; !ready || p.fd == nil; {
		text, fds, err := receive(sock)
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), closeAll(fds))
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errs.Newf(errs.Unavailable, "the command did not start within %v; is the instance frozen?", execTime)
		case err != nil || text == "":
			return fmt.Errorf("the container helper ended without a word: %w", errors.Join(err, closeAll(fds)))
		}
		switch text[0] {
		case 'P':
			if err := p.born(text[1:], fds); err != nil {
				return err
			}
		case 'R':
			if len(fds) > 0 {
				p.terminal = fds[0]
			}
			ready = true
		case 'I':
			return errs.Newf(errs.Invalid, "%s", text[1:])
		default:
			return fmt.Errorf("run the command: %s", text[1:])
		}
	}
	return nil
}

func (p *process) born(pid string, fds []*os.File) (err error) {
	if len(fds) == 0 {
		return errors.New("the container helper sent no process")
	}
	p.fd = fds[0]
	p.pid, err = strconv.Atoi(pid)
	return err
}

// abandon ends what was started and is not wanted.
func (p *process) abandon() error {
	var failed error
	if p.fd != nil {
		failed = p.send(unix.SIGKILL)
	}
	failed = errors.Join(failed, p.helper.Kill())
	if p.terminal != nil {
		failed = errors.Join(failed, p.terminal.Close())
	}
	return failed
}

// PID is the program's number on the host.
func (p *process) PID() int { return p.pid }

// Terminal is the controlling side.
func (p *process) Terminal() *os.File { return p.terminal }

// Wait waits for the end.
func (p *process) Wait(ctx context.Context) (int, error) { return p.helper.Wait(ctx) }

// Signal sends s; a program that has ended is no error.
func (p *process) Signal(s syscall.Signal) error {
	if p.terminal == nil {
		return p.send(s)
	}
	group := 0
	err := onFD(p.terminal, func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	if err != nil || group <= 1 {
		return p.send(s)
	}
	if err := unix.Kill(-group, s); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Resize sets the terminal's size.
func (p *process) Resize(width, height int) error {
	if p.terminal == nil {
		return errs.Newf(errs.Invalid, "the command has no terminal")
	}
	if width < 1 || height < 1 || width > 0xffff || height > 0xffff {
		return errs.Newf(errs.Invalid, "a terminal cannot be %d by %d", width, height)
	}
	return onFD(p.terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)})
	})
}

func (p *process) send(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	err := onFD(p.fd, func(fd int) error { return unix.PidfdSendSignal(fd, s, nil, 0) })
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// onFD lends out a file's descriptor without making it blocking.
func onFD(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	return errors.Join(raw.Control(func(fd uintptr) { failed = do(int(fd)) }), failed)
}
