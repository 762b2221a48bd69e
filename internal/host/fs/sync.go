package fs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Sync makes all that was written to the file system of dir survive a loss of power: for a tree of thousands of files that is far cheaper
// than file by file.
func Sync(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Syncfs(fd)
		_ = unix.Close(fd) // nothing was written through it
	}
	if err != nil {
		return fmt.Errorf("write %s to disk: %w", dir, err)
	}
	return nil
}
