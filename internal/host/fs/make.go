package fs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Create makes a plain file where path leads to, through dangling links too, and opens it for writing. It fails with
// os.ErrExist when there is something already.
func (r *Root) Create(path string, o Owner) (*os.File, error) {
	p, err := r.vacant(path, true)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var fd int
	err = o.makes(func() (err error) {
		fd, err = unix.Openat(int(p.dir.file.Fd()), p.base, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := errors.Join(unix.Fchown(fd, o.UID, o.GID), unix.Fchmod(fd, o.Mode&0o7777)); err != nil {
		return nil, errors.Join(&os.PathError{Op: "create", Path: path, Err: err}, f.Close())
	}
	return f, nil
}

// Mkdir makes a folder. It fails with os.ErrExist when there is something already.
func (r *Root) Mkdir(path string, o Owner) error {
	return r.put(path, o, func(dir int, base string) error { return unix.Mkdirat(dir, base, 0o700) })
}

// Symlink makes a symbolic link to target. It fails with os.ErrExist when there is something already.
func (r *Root) Symlink(target, path string, o Owner) error {
	return r.put(path, o, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Link makes path another name of the plain file at from.
func (r *Root) Link(from, path string) error {
	e, err := r.Find(from)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := r.guard.check(e, owned); err != nil {
		return &os.PathError{Op: "link", Path: from, Err: err}
	}
	return r.in(path, func(dir int, base string) error {
		return unix.Linkat(unix.AT_FDCWD, e.self(), dir, base, unix.AT_SYMLINK_FOLLOW)
	})
}

// Rename gives what is at from the name path, in place of what is there.
func (r *Root) Rename(from, path string) error {
	return r.in(from, func(old int, oldBase string) error {
		return r.in(path, func(dir int, base string) error { return unix.Renameat(old, oldBase, dir, base) })
	})
}

// Unlink deletes a file, link or empty folder; a link at the end of path is not followed.
func (r *Root) Unlink(path string) error {
	return r.in(path, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if errors.Is(err, unix.EISDIR) {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// put makes something that is not opened, and then gives it its owner.
func (r *Root) put(path string, o Owner, mk func(dir int, base string) error) error {
	p, err := r.vacant(path, false)
	if err != nil {
		return err
	}
	defer p.close()
	err = o.makes(func() error { return mk(int(p.dir.file.Fd()), p.base) })
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	e, err := r.hold(int(p.dir.file.Fd()), p.base, unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer e.Close()
	// What was made may have been swapped before it was held. Only what belongs to the owner is changed.
	switch {
	case os.Geteuid() != 0:
		err = e.chown(o.UID, o.GID)
	case int(e.Stat.Uid) != o.UID:
		err = unix.ESTALE
	case int(e.Stat.Gid) != o.GID: // the folder hands its group down
		err = e.chown(-1, o.GID)
	}
	if err == nil && !e.Is(unix.S_IFLNK) {
		err = e.chmod(o.Mode)
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: path, Err: err}
	}
	return nil
}

// vacant is a place with nothing at it, in a folder that may be written.
func (r *Root) vacant(path string, follow bool) (*place, error) {
	p, err := r.place(path, follow)
	if err != nil {
		return nil, err
	}
	if err = r.guard.check(p.dir, writable); err == nil && p.entry != nil {
		err = unix.EEXIST
	}
	if err != nil {
		p.close()
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return p, nil
}

// in calls fn with the folder that the last part of path is in, if that may be written.
func (r *Root) in(path string, fn func(dir int, base string) error) error {
	p, err := r.place(path, false)
	if err != nil {
		return err
	}
	defer p.close()
	err = r.guard.check(p.dir, writable)
	if err == nil && p.base == "." {
		err = unix.EBUSY
	}
	if err == nil && p.entry != nil && p.dir.Stat.Mode&unix.S_ISVTX != 0 {
		err = r.guard.own(p.dir, p.entry)
	}
	if err == nil {
		err = fn(int(p.dir.file.Fd()), p.base)
	}
	if _, told := errors.AsType[*os.PathError](err); err != nil && !told {
		return &os.PathError{Op: "change", Path: path, Err: err}
	}
	return err
}
