package fs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disarm takes from the tree at path, which somebody else's program has unpacked and nobody else can reach yet, what Extract would not
// have made: device nodes, and extended attributes that a container could not have set itself. It follows no link and enters no mount.
func Disarm(ctx context.Context, path string) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(dir)
	return disarm(ctx, dir, filepath.Base(path), path)
}

func disarm(ctx context.Context, dir int, name, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		return unlink(dir, name, 0)
	case unix.S_IFDIR:
		if err := disarmBelow(ctx, dir, name, path); err != nil {
			return err
		}
	}
	return dropAttributes(dir, name)
}

func disarmBelow(ctx context.Context, dir int, name, path string) error {
	if err := tooDeep(path); err != nil {
		return err
	}
	fd, err := openat2(dir, name, strictFolder())
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	entries, err := list(fd, -1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := disarm(ctx, fd, e.Name(), filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// dropAttributes removes the attributes of one entry that a tree may not bring along.
func dropAttributes(dir int, name string) error {
	// The path through the descriptor reaches the entry itself, of whatever type, without opening it.
	at := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	names, err := grow(func(b []byte) (int, error) { return unix.Llistxattr(at, b) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(names) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for k := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if attrAllowed(k) {
			continue
		}
		// a label that the host's own policy has given cannot be taken away
		if err := unix.Lremovexattr(at, k); err != nil && !strings.HasPrefix(k, "security.") {
			return fmt.Errorf("remove attribute %s: %w", k, err)
		}
	}
	return nil
}
