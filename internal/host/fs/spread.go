package fs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// topFolder is FS_TOPDIR_FL of the kernel's interface.
const topFolder = 0x00020000

// Spread tells the file system that what is made in dir from now on does not belong together, so that each new folder gets a region of the
// disk of its own instead of one near dir. For most file systems this means nothing, and is left out.
func Spread(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topFolder == 0 {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|topFolder))
	}
	switch {
	case err == nil, errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
		return nil
	}
	return fmt.Errorf("mark %s as a folder of unrelated things: %w", dir, err)
}
