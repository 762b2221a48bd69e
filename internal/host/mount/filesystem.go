package mount

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes are the options that belong to a mount and not to its file system.
var attributes = map[string]int{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
	"noatime": unix.MOUNT_ATTR_NOATIME, "nodiratime": unix.MOUNT_ATTR_NODIRATIME, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
	"rw": 0, "suid": 0, "dev": 0, "exec": 0, "atime": 0, "diratime": 0, "relatime": 0,
}

// Filesystem mounts the file system on a device, attached nowhere yet. Options are as in "mount -o"; one that the kernel does not know is
// an error.
func Filesystem(kind, device string, options []string) (*Tree, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("the kernel has no %s: load it with \"modprobe %s\": %w", kind, kind, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return nil, fmt.Errorf("mount %s: %w%s", device, err, complaint(fs))
	}
	attr, err := set(fs, options)
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w%s", device, err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w%s", device, err, complaint(fs))
	}
	return &Tree{fd}, nil
}

// Reconfigure gives the file system that is mounted at path other options; those of the mount itself stay.
func Reconfigure(path string, options []string) error {
	fs, err := unix.Fspick(unix.AT_FDCWD, path, unix.FSPICK_CLOEXEC|unix.FSPICK_SYMLINK_NOFOLLOW|unix.FSPICK_NO_AUTOMOUNT)
	if err != nil {
		return fmt.Errorf("options of %s: %w", path, err)
	}
	defer unix.Close(fs)
	if _, err = set(fs, options); err == nil {
		err = unix.FsconfigReconfigure(fs)
	}
	if err != nil {
		return fmt.Errorf("options of %s: %w%s", path, err, complaint(fs))
	}
	return nil
}

// set hands the options over that are the file system's, and returns those of the mount.
func set(fs int, options []string) (attr int, err error) {
	for _, o := range slices.Compact(options) {
		a, ours := attributes[o]
		key, value, has := strings.Cut(o, "=")
		switch {
		case o == "" || o == "defaults":
		case ours:
			attr |= a
		case has:
			err = unix.FsconfigSetString(fs, key, value)
		default:
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return 0, fmt.Errorf("option %q: %w", o, err)
		}
	}
	return attr, nil
}
