package fake

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// process is one program that runs.
type process struct {
	guest    *guest
	pid      int
	in       io.Reader
	out, err io.Writer
	// held are files to close at the end.
	held     []io.Closer
	terminal *os.File
	ctx      context.Context
	cancel   context.CancelFunc
	once     sync.Once
	done     chan struct{}
	code     int
}

func newProcess(g *guest, pid int, c machine.Command) (*process, error) {
	p := &process{guest: g, pid: pid, done: make(chan struct{}), in: eof{}, out: io.Discard, err: io.Discard}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if c.Terminal {
		return p, p.openTerminal()
	}
	for _, s := range []struct {
		from *os.File
		use  func(*os.File)
	}{
		{c.Stdin, func(f *os.File) { p.in = f }}, {c.Stdout, func(f *os.File) { p.out = f }}, {c.Stderr, func(f *os.File) { p.err = f }},
	} {
		if s.from == nil {
			continue
		}
		f, err := duplicate(s.from)
		if err != nil {
			p.release()
			return nil, err
		}
		p.held = append(p.held, f)
		s.use(f)
	}
	return p, nil
}

// PID is a number that no real process has.
func (p *process) PID() int { return p.pid }

// Terminal is the controlling side.
func (p *process) Terminal() *os.File { return p.terminal }

// Wait waits for the end.
func (p *process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Signal ends the program, since none of them handles signals.
func (p *process) Signal(s syscall.Signal) error {
	if s != 0 && s != syscall.SIGWINCH && s != syscall.SIGCHLD && s != syscall.SIGCONT {
		p.finish(128 + int(s))
	}
	return nil
}

// Resize checks the size.
func (p *process) Resize(width, height int) error {
	if p.terminal == nil {
		return errs.Newf(errs.Invalid, "the command has no terminal")
	}
	if width < 1 || height < 1 {
		return errs.Newf(errs.Invalid, "a terminal cannot be %d by %d", width, height)
	}
	return nil
}

// run runs the program to its end.
func (p *process) run(c machine.Command) {
	code := call(p, c)
	p.finish(code)
	if reboot, ends := endings[c.Args[0]]; ends {
		p.guest.end(reboot)
	}
}

// finish ends the program; the first call decides the exit code.
func (p *process) finish(code int) {
	p.once.Do(func() {
		p.code = code
		p.cancel()
		p.release()
		p.guest.mu.Lock()
		delete(p.guest.processes, p)
		p.guest.mu.Unlock()
		close(p.done)
	})
}

func (p *process) release() {
	for _, f := range p.held {
		_ = f.Close() // the copies of this process; nobody can be told
	}
}

// openTerminal makes a terminal out of a pair of sockets and a line discipline.
func (p *process) openTerminal() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	p.terminal = os.NewFile(uintptr(fds[0]), "terminal")
	line := os.NewFile(uintptr(fds[1]), "line")
	r, w := io.Pipe()
	p.in, p.out, p.err = r, crlf{line}, crlf{line}
	p.held = []io.Closer{line, r}
	go p.discipline(line, w)
	return nil
}

// discipline echoes what is typed and hands it on by lines; control-C interrupts, control-D ends the input, hanging up ends all.
func (p *process) discipline(line *os.File, input *io.PipeWriter) {
	defer input.Close()
	var typed []byte
	buf := make([]byte, 1)
	for {
		if _, err := line.Read(buf); err != nil {
			if !errors.Is(err, os.ErrClosed) {
				p.finish(128 + int(syscall.SIGHUP))
			}
			return
		}
		switch buf[0] {
		case 3:
			p.finish(128 + int(syscall.SIGINT))
			return
		case 4:
			return
		case '\n', '\r':
			_, _ = io.WriteString(line, "\r\n") // the next read tells when nobody listens
			if _, err := input.Write(append(typed, '\n')); err != nil {
				return
			}
			typed = typed[:0]
		default:
			_, _ = line.Write(buf)
			typed = append(typed, buf[0])
		}
	}
}

// crlf writes line ends as terminals do.
type crlf struct{ w io.Writer }

func (c crlf) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+8)
	for _, x := range b {
		if x == '\n' {
			out = append(out, '\r')
		}
		out = append(out, x)
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// duplicate is another descriptor of the same file, as a child process would have it.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(from uintptr) { fd, failed = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
