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

// listenUnix opens the local socket for root and the members of group. The caller holds the lock of the state directory, so
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
