package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"lxd/internal/errs"
)

// firstHanded is the descriptor of the first socket that whoever starts the daemon hands over.
const firstHanded = 3

// handedOver is the socket at path if whoever started this process listens on it already, in the way of systemd: numbered from the
// descriptor first on. Who may use it is that one's business. Without such a socket it is nil.
func handedOver(path string, first uintptr) (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, errs.Newf(errs.Invalid, "LISTEN_FDS: must be a number of sockets")
	}
	var found net.Listener
	for i := range uintptr(n) {
		f := os.NewFile(first+i, path)
		l, err := net.FileListener(f)
		if err = errors.Join(err, f.Close()); err != nil { // the listener has a descriptor of its own
			return nil, fmt.Errorf("the socket that was handed over: %w", err)
		}
		if l.Addr().String() == path && found == nil {
			found = l
		} else if err := l.Close(); err != nil {
			return nil, err
		}
	}
	// They are not for the programs that the daemon starts.
	return found, errors.Join(os.Unsetenv("LISTEN_PID"), os.Unsetenv("LISTEN_FDS"))
}

// listenUnix opens the local socket for root and the members of group, or takes the one that was handed over. The caller holds the lock of the state directory, so
// a socket that is there already is a leftover.
func listenUnix(path, group string) (net.Listener, error) {
	if len(path) > 107 {
		return nil, errs.Newf(errs.Invalid, "the socket path %s has %d characters, the kernel takes 107: set LXD_SOCKET or use a shorter LXD_DIR", path, len(path))
	}
	gid := os.Getgid()
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "group %q does not exist: make it with \"groupadd --system %s\", or choose another with --group", group, group)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return nil, err
		}
	}
	if l, err := handedOver(path, firstHanded); l != nil || err != nil {
		return l, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(path, os.Getuid(), gid), os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
