// Package mount makes and undoes mounts through the kernel's own interface, without running a program.
package mount

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a mount, or a tree of them, that is attached nowhere yet. It vanishes when it is closed before Attach.
type Tree struct{ fd int }

// Open clones the mount at path (with all below it, if deep) from that folder or file on. Path's last part must not be a link.
func Open(path string, deep bool) (*Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_SYMLINK_NOFOLLOW)
	if deep {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return nil, &os.PathError{Op: "clone mount", Path: path, Err: err}
	}
	return &Tree{fd}, nil
}

// OpenFile clones the mount that a held file or folder (O_PATH) is in, from there on, as Open does.
func OpenFile(f *os.File, deep bool) (*Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if deep {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(int(f.Fd()), "", flags)
	if err != nil {
		return nil, &os.PathError{Op: "clone mount", Path: f.Name(), Err: err}
	}
	return &Tree{fd}, nil
}

// Fd is the descriptor of the tree's top folder, for calls that take one.
func (t *Tree) Fd() int { return t.fd }

// Close lets go of the tree; once attached it stays where it is.
func (t *Tree) Close() error { return unix.Close(t.fd) }

// Private keeps mounts and unmounts below the tree from reaching other mount namespaces, and theirs from reaching it.
func (t *Tree) Private() error {
	return t.set(unix.MountAttr{Propagation: unix.MS_PRIVATE}, "make private")
}

// Propagate decides how mounts below the tree are shared: one of MS_PRIVATE, MS_SLAVE, MS_SHARED and MS_UNBINDABLE; deep is for the
// mounts of the tree below the first one as well.
func (t *Tree) Propagate(kind uint64, deep bool) error {
	return t.change(unix.MountAttr{Propagation: kind}, deep, "change the propagation of")
}

// Map shows the files of the tree with the owners that the user namespace gives to theirs.
func (t *Tree) Map(userns *os.File) error {
	return t.set(unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}, "map the owners of")
}

// MapAll is Map for all mounts of the tree.
func (t *Tree) MapAll(userns *os.File) error {
	return t.change(unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}, true, "map the owners of")
}

// ReadOnly lets nobody write through the tree.
func (t *Tree) ReadOnly() error {
	return t.set(unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, "make read-only")
}

// Restrict sets attributes such as MOUNT_ATTR_RDONLY and MOUNT_ATTR_NOSUID on all mounts of the tree.
func (t *Tree) Restrict(attributes uint64) error {
	return t.change(unix.MountAttr{Attr_set: attributes}, true, "restrict")
}

func (t *Tree) set(a unix.MountAttr, what string) error { return t.change(a, false, what) }

func (t *Tree) change(a unix.MountAttr, deep bool, what string) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if deep {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(t.fd, "", flags, &a)
	if err != nil {
		return &os.PathError{Op: what, Path: "mount", Err: err}
	}
	return nil
}

// Attach shows the tree at path, which must exist and be no link.
func (t *Tree) Attach(path string) error {
	err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return &os.PathError{Op: "mount", Path: path, Err: err}
	}
	return nil
}

// Bind shows the folder or file from at to, with what is mounted below it.
func Bind(from, to string) error {
	t, err := Open(from, true)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Attach(to)
}

// Move takes the mount at from to to.
func Move(from, to string) error {
	if err := unix.MoveMount(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0); err != nil {
		return &os.PathError{Op: "move mount to", Path: to, Err: err}
	}
	return nil
}

// Unmount takes away everything that is mounted at path itself. Path's last part is not followed; one where nothing is mounted, or that
// does not exist, is no error. What still uses the mount keeps it until it ends, but no longer finds it by name.
func Unmount(path string) error {
	for {
		if there, err := unmountTop(path); err != nil || !there {
			return err
		}
	}
}

// unmountTop takes away the last mount at path, and tells whether there was one.
func unmountTop(path string) (there bool, err error) {
	err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	switch {
	case err == nil, errors.Is(err, unix.EINTR):
		return true, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return false, nil
	}
	return true, &os.PathError{Op: "unmount", Path: path, Err: err}
}

// At tells whether something is mounted at path. A missing path has nothing.
func At(path string) (bool, error) {
	id, err := top(path)
	return id != 0, err
}

// top is the number of the last mount at path, 0 if nothing is mounted there.
func top(path string) (uint64, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MNT_ID, &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return 0, nil
	case err != nil:
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0:
		return 0, nil
	}
	return st.Mnt_id, nil
}

// Release takes away what is mounted at path, like Unmount, but does not wait until the file system has written everything to disk: it
// returns when nothing is found at path any more, and flushed is closed when the rest is done too. What is mounted at path after that is
// not touched.
func Release(path string) (flushed <-chan struct{}, err error) {
	var writing sync.WaitGroup
	for err == nil {
		var id uint64
		if id, err = top(path); id == 0 {
			break
		}
		err = releaseTop(path, id, &writing)
	}
	done := make(chan struct{})
	go func() { defer close(done); writing.Wait() }()
	return done, err
}

// releaseTop has the mount with that number taken away by one call of the kernel's, which goes on after this returns.
func releaseTop(path string, id uint64, writing *sync.WaitGroup) error {
	ended := make(chan error, 1)
	writing.Go(func() {
		_, err := unmountTop(path)
		ended <- err
	})
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		select {
		case err := <-ended:
			return err
		case <-time.After(wait):
		}
		if now, err := top(path); err != nil || now != id {
			return err
		}
	}
}
