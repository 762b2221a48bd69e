package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Files that a relay process inherits.
const (
	machineFile = 3 + iota // ends with the machine
	rootFile               // the machine's root folder
	firstSocket            // one for each rule
)

// heap is how much memory the process may take before it collects eagerly: it holds buffers and little else.
const heap = 8 << 20

// Main is the relay process: it serves the configuration of that file on the sockets it inherited, until the machine or a signal ends it.
func Main(path string) error {
	debug.SetMemoryLimit(heap)
	c, err := load(path)
	if err != nil {
		return fmt.Errorf("configuration of the relay: %w", err)
	}
	// The daemon writes it too, but may have died since it made this process, and must find it again.
	if err := os.WriteFile(pidFile(path), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	sockets := make([]*os.File, len(c.Rules))
	for i := range sockets {
		sockets[i] = os.NewFile(uintptr(firstSocket+i), "socket")
	}
	machine, root := os.NewFile(machineFile, "machine"), os.NewFile(rootFile, "root")
	if err := drop(c.UID, c.GID); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		await(machine)
		stop()
	}()
	return Serve(ctx, c, sockets, root)
}

// await returns when the process of a descriptor has ended.
func await(pidfd *os.File) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// drop gives up everything that carrying bytes does not need.
func drop(uid, gid int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(gid, gid, gid), syscall.Setresuid(uid, uid, uid)); err != nil {
		return fmt.Errorf("become user %d and group %d: %w", uid, gid, err)
	}
	return nil
}

// Serve carries connections until ctx ends. The sockets are those of the rules, in order; it closes them. root is where paths of Connect
// are looked up, if the configuration says so.
func Serve(ctx context.Context, c Config, sockets []*os.File, root *os.File) error {
	s := &server{config: c, root: root}
	var closers []interface{ Close() error }
	for i, r := range c.Rules {
		closer, err := s.listen(ctx, r, sockets[i])
		if err != nil {
			return fmt.Errorf("listen on %s: %w", r.Listen.Address, err)
		}
		closers = append(closers, closer)
	}
	<-ctx.Done()
	for _, l := range closers {
		if err := l.Close(); err != nil {
			slog.Debug("Closing a socket of a relay failed", "err", err)
		}
	}
	return nil
}

// server is one relay process.
type server struct {
	config Config
	root   *os.File
}

// listen begins to serve one rule.
func (s *server) listen(ctx context.Context, r Rule, f *os.File) (interface{ Close() error }, error) {
	defer f.Close()
	if r.Listen.Network == UDP {
		p, err := net.FilePacketConn(f)
		if err != nil {
			return nil, err
		}
		go newPackets(s, r, p).serve(ctx)
		return p, nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the daemon made the file, and removes it
	}
	go s.accept(ctx, l, r)
	return l, nil
}
