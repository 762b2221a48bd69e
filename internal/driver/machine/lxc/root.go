package lxc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// Root opens the root folder of the first process.
func (c *container) Root() (*os.File, error) {
	path := fmt.Sprintf("/proc/%d/root", c.handle.PID)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	// Looked at last: while the process that is held runs, no other has its number.
	if c.over() {
		if err == nil {
			_ = unix.Close(fd) // only looked at
		}
		return nil, errs.Newf(errs.Unavailable, "machine %s does not run", c.handle.ID)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
