package tree

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Usage is bytes used and total of the file system that a folder is on.
func Usage(dir string) (used, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("usage of %s: %w", dir, err)
	}
	return (st.Blocks - st.Bfree) * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}
