package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/idmap"
	"lxd/internal/storage"
)

// Root is the folder of a volume that holds its root file system.
const Root = "rootfs"

// Settle checks what was filled into the folder of a new volume, which may have come from anywhere; reserved are the names of the driver's own files.
func Settle(stage string, reserved ...string) error {
	for _, name := range reserved {
		if _, err := os.Lstat(filepath.Join(stage, name)); err == nil {
			return errs.Newf(errs.Invalid, "the content has the top entry %q, a name that the storage pool needs: leave it out", name)
		}
	}
	st, err := os.Lstat(filepath.Join(stage, Root))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return os.Mkdir(filepath.Join(stage, Root), 0o755)
	case err != nil:
		return err
	case !st.IsDir():
		return errs.Newf(errs.Invalid, "the content's top entry %q is no folder (%s)", Root, st.Mode().Type())
	}
	return nil
}

// Guard lets nobody but the daemon, and the root user of the instance, through the volume's folder: set-user-id files below it are
// of no use to the host's users.
func Guard(path string, t storage.VolumeType, m idmap.Map) error {
	mode, uid := uint32(0o100), int64(0)
	if t == storage.ImageVolume {
		mode = 0o700
	} else if id, ok := m.Host(0); ok {
		uid = id
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&0o7777 == mode && int64(st.Uid) == uid && st.Gid == 0 {
		return err
	}
	if err := unix.Chown(path, int(uid), 0); err != nil {
		return &os.PathError{Op: "chown", Path: path, Err: err}
	}
	if err := unix.Chmod(path, mode); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// Full says of an error that comes from a full disk what to do about it.
func Full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("the storage pool is full: free some space, then try again: %w", err)
	}
	return err
}

// ReplaceFile writes a file so that readers see the old or the new content, never a part.
func ReplaceFile(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
