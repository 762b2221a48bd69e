package lxc

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/machine"
)

// reachable checks that a container's root, who is nobody on the host, can get to what it mounts by itself: all but an id-mapped root.
func reachable(p machine.Plan) error {
	if len(p.IDMap) == 0 {
		return nil
	}
	if err := passable(p.RunDir, owner(p)); err != nil || !p.RootShifted {
		return err
	}
	return passable(p.Root, owner(p))
}

func passable(path string, uid int) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if st.Mode&0o001 == 0 && (uid == 0 || int(st.Uid) != uid) {
			return fmt.Errorf("the folder %s (mode %04o) is closed to others, among them the root of containers: run `chmod o+x %s`", dir, st.Mode&0o7777, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}

// owner is the host's id of the container's root, for what is made on disk.
func owner(p machine.Plan) int {
	for _, r := range p.IDMap {
		if r.Inside == 0 && p.RootShifted {
			return int(r.Host)
		}
	}
	return 0
}
