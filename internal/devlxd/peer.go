package devlxd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/instance"
)

// startTime is how long a guest's first programs may be ahead of the server's knowing that the guest runs.
const startTime = 10 * time.Second

// nsGetParent asks a namespace for the one above it, after ioctl_ns(2).
const nsGetParent = 0xb702

// soPeerPidfd is SO_PEERPIDFD, which the kernel has since 6.5.
const soPeerPidfd = 77

// verify fails with Forbidden unless the process that made the connection is root's of the instance, in the instance.
func (s *Service) verify(c *net.UnixConn, at instance.Socket) error {
	p, err := peerOf(c)
	if err != nil {
		return err
	}
	defer p.Close()
	if int(p.uid) != at.Owner {
		return errs.Newf(errs.Forbidden, "only root may ask the server")
	}
	own, err := s.namespace(at)
	if err != nil {
		return err
	}
	defer own.Close()
	theirs, err := p.namespace()
	if err != nil {
		return err
	}
	defer theirs.Close()
	ok, err := within(theirs, own)
	if err == nil && !ok {
		err = errs.Newf(errs.Forbidden, "this is the socket of another instance")
	}
	return err
}

// namespace opens the process namespace of the instance, which may be about to be known as running.
func (s *Service) namespace(at instance.Socket) (*os.File, error) {
	for until := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		ns, err := s.d.Instances.Namespace(at.Project, at.Name, "pid")
		if !errs.Is(err, errs.Unavailable) || time.Now().After(until) {
			return ns, err
		}
	}
}

// peer is a process that has connected, as it was then.
type peer struct {
	uid uint32
	// fd is a pidfd: whatever becomes of the process, it is no other's.
	fd *os.File
}

func (p peer) Close() { _ = p.fd.Close() }

// peerOf asks the kernel who has made a connection.
func peerOf(c *net.UnixConn) (p peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, soPeerPidfd)
		if errors.Is(err, unix.ENOPROTOOPT) {
			pidfd, err = unix.PidfdOpen(int(cred.Pid), 0)
		}
		if err != nil {
			failed = errs.Newf(errs.Forbidden, "the process that connected is gone: %w", err)
			return
		}
		p = peer{uid: cred.Uid, fd: os.NewFile(uintptr(pidfd), "pidfd")}
	})
	return p, errors.Join(err, failed)
}

// number is the process's, as long as it runs.
func (p peer) number() (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", p.fd.Fd()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err == nil && n > 0 {
				return n, nil
			}
		}
	}
	return 0, errs.Newf(errs.Forbidden, "the process that connected has ended")
}

// namespace opens the process namespace that the process is in.
func (p peer) namespace() (*os.File, error) {
	n, err := p.number()
	if err != nil {
		return nil, err
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", n))
	if err != nil {
		return nil, errs.Newf(errs.Forbidden, "the process that connected has ended: %w", err)
	}
	// Looked at again: while the process that is held runs, no other has its number.
	if _, err := p.number(); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// within tells whether a process namespace is another, or below it.
func within(ns, top *os.File) (bool, error) {
	want, err := inode(int(top.Fd()))
	if err != nil {
		return false, err
	}
	fd, err := unix.Dup(int(ns.Fd()))
	for range 33 { // the kernel nests them 32 deep
		if err != nil {
			return false, err
		}
		at, err := inode(fd)
		if err != nil || at == want {
			return err == nil, errors.Join(err, unix.Close(fd))
		}
		above, err := unix.IoctlRetInt(fd, nsGetParent)
		_ = unix.Close(fd) // only looked at
		if errors.Is(err, unix.EPERM) {
			return false, nil // there is none above that can be seen
		}
		if err != nil {
			return false, err
		}
		fd = above
	}
	return false, unix.Close(fd)
}

// identity of a namespace.
type identity struct{ dev, ino uint64 }

func inode(fd int) (identity, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return identity{uint64(st.Dev), st.Ino}, err
}
