// Package btrfs makes, removes and limits subvolumes of btrfs through the kernel's own interface, without running a program.
package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// On tells whether path lies on btrfs.
func On(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return uint32(st.Type) == magic, nil
}

// IsSubvolume tells whether path is the top of a subvolume; a missing path is none.
func IsSubvolume(path string) (bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Ino != firstInode || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, nil
	}
	return On(path)
}

// Create makes an empty subvolume. The folder that it is in must be trusted.
func Create(path string) error {
	parent, err := folder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	a := nameArgs{}
	if err := a.set(filepath.Base(path)); err != nil {
		return err
	}
	if err := call(parent, in, opCreate, &a); err != nil {
		return &os.PathError{Op: "create subvolume", Path: path, Err: err}
	}
	return nil
}

// Snapshot makes to a writable snapshot of the subvolume from, and of the subvolumes within. Both must be in trusted folders; what is in
// them need not be, and from may be in use: a subvolume that comes, goes or moves meanwhile may be missing.
func Snapshot(from, to string) error {
	source, err := folder(from)
	if err != nil {
		return err
	}
	defer source.Close()
	parent, err := folder(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := snapshot(source, parent, filepath.Base(to), false); err != nil {
		return err
	}
	return snapshotWithin(source, to)
}

// SnapshotReadOnly makes to a snapshot that cannot be changed, in one step. It leaves out subvolumes within: where there are any, use Snapshot
// and then Seal.
func SnapshotReadOnly(from, to string) error {
	source, err := folder(from)
	if err != nil {
		return err
	}
	defer source.Close()
	parent, err := folder(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer parent.Close()
	return snapshot(source, parent, filepath.Base(to), true)
}

func snapshot(source, parent *os.File, name string, readOnly bool) error {
	a := nameArgs{fd: int64(source.Fd())}
	if readOnly {
		a.flags = flagReadOnly
	}
	if err := a.set(name); err != nil {
		return err
	}
	if err := call(parent, in, opSnapshot, &a); err != nil {
		return &os.PathError{Op: "snapshot to", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	return nil
}

// snapshotWithin puts snapshots of the subvolumes within source into the snapshot at to, which nobody else can reach yet.
func snapshotWithin(source *os.File, to string) error {
	children, err := childrenOf(source)
	if err != nil || len(children) == 0 {
		return err
	}
	top, err := folder(to)
	if err != nil {
		return err
	}
	defer top.Close()
	for _, c := range children {
		if err := snapshotChild(source, top, c); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

func snapshotChild(source, top *os.File, c child) error {
	from, err := c.open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	parent, err := beneath(top, filepath.Dir(c.path))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(c.path)
	// the snapshot has an empty folder in the subvolume's place
	if err := unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR); err != nil {
		return &os.PathError{Op: "make place for", Path: c.path, Err: err}
	}
	if err := snapshot(from, parent, name, false); err != nil {
		return err
	}
	made, err := beneath(parent, name)
	if err != nil {
		return err
	}
	defer made.Close()
	return snapshotWithin(from, fdPath(made))
}

// Seal makes the subvolume at path and those within read-only, or writable again. The folder that it is in must be trusted.
func Seal(path string, readOnly bool) error {
	f, err := folder(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return seal(f, readOnly)
}

func seal(f *os.File, readOnly bool) error {
	children, err := childrenOf(f)
	if err != nil {
		return err
	}
	for _, c := range children {
		within, err := c.open(f)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		err = seal(within, readOnly)
		within.Close()
		if err != nil {
			return err
		}
	}
	var flags uint64
	if err := call(f, out, opGetFlags, &flags); err != nil {
		return &os.PathError{Op: "read flags of", Path: f.Name(), Err: err}
	}
	now := flags &^ flagReadOnly
	if readOnly {
		now |= flagReadOnly
	}
	if now == flags {
		return nil
	}
	if err := call(f, in, opSetFlags, &now); err != nil {
		return &os.PathError{Op: "set flags of", Path: f.Name(), Err: err}
	}
	return nil
}

// Destroy removes the subvolume at path with all within; its space comes back in the background. The folder that it is in must be
// trusted, and nothing may be mounted in it. A missing one is no error.
func Destroy(path string) error {
	parent, err := folder(filepath.Dir(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	err = destroy(parent, filepath.Base(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func destroy(parent *os.File, name string) error {
	f, err := beneath(parent, name)
	if err != nil {
		return err
	}
	defer f.Close()
	children, err := childrenOf(f)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		if err := seal(f, false); err != nil { // nothing can be taken out of a read-only one
			return err
		}
	}
	for _, c := range children {
		at, err := beneath(f, filepath.Dir(c.path))
		if err == nil {
			err = destroy(at, filepath.Base(c.path))
			at.Close()
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	a := nameArgs{}
	if err := a.set(name); err != nil {
		return err
	}
	if err := call(parent, in, opDestroy, &a); err != nil {
		return &os.PathError{Op: "delete subvolume", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	return nil
}

// Grow lets the file system at path use all of its one device.
func Grow(path string) error {
	f, err := folder(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := resizeArgs{}
	copy(a.name[:], "max")
	if err := call(f, in, opResize, &a); err != nil {
		return &os.PathError{Op: "grow file system", Path: path, Err: err}
	}
	return nil
}

func (a *nameArgs) set(name string) error {
	if len(name) > unix.NAME_MAX {
		return fmt.Errorf("name %q: %w", name, unix.ENAMETOOLONG)
	}
	copy(a.name[:], name)
	return nil
}

// folder opens a folder; the last part of its path must be no link.
func folder(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// beneath opens a folder below another, through no link.
func beneath(top *os.File, path string) (*os.File, error) {
	fd, err := unix.Openat2(int(top.Fd()), path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(top.Name(), path), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(top.Name(), path)), nil
}

// Graft puts a writable snapshot of the subvolume from at path below the subvolume top, which nobody else can reach, in place of an empty
// folder or of nothing. Path is resolved below top, through no link; folders that lead there must exist.
func Graft(from, top, path string) error {
	source, err := folder(from)
	if err != nil {
		return err
	}
	defer source.Close()
	t, err := folder(top)
	if err != nil {
		return err
	}
	defer t.Close()
	parent, err := beneath(t, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(path)
	if err := unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "make place for", Path: path, Err: err}
	}
	return snapshot(source, parent, name, false)
}
