package fs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// confined makes a folder the root of all resolution: "..", absolute paths and symbolic links end inside it.
const confined = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// NoFollow, among the flags of OpenFile, refuses a symbolic link at the end of the path.
const NoFollow = unix.O_NOFOLLOW

// Root is an open folder that nothing opened through it can leave, as if the process had changed its root to it.
type Root struct {
	dir   *os.File
	guard *Guard
}

// OpenRoot opens the folder at path, which must be trusted: its own symbolic links are followed.
func OpenRoot(path string) (*Root, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Root{dir: os.NewFile(uintptr(fd), path)}, nil
}

// RootAt makes an open folder a root, which takes it over; dir may have been opened as a place only (O_PATH).
func RootAt(dir *os.File) *Root { return &Root{dir: dir} }

// Close lets go of the folder; files opened through it stay open.
func (r *Root) Close() error { return r.dir.Close() }

// Name is the path that the folder was opened by; use it in messages only.
func (r *Root) Name() string { return r.dir.Name() }

// Open opens path for reading. Symbolic links are followed inside the root. Anything but a plain file or folder is refused, so
// that a pipe cannot block the caller and a device cannot be reached.
func (r *Root) Open(path string) (*os.File, error) {
	return r.OpenFile(path, os.O_RDONLY, 0)
}

// OpenFile is os.OpenFile below the root; only plain files and folders are opened, and whatever else is there is not even touched.
func (r *Root) OpenFile(path string, flags int, perm os.FileMode) (*os.File, error) {
	there, err := r.openat(path, unix.O_PATH|flags&(unix.O_NOFOLLOW|unix.O_DIRECTORY), 0, confined)
	switch {
	case errors.Is(err, os.ErrNotExist) && flags&os.O_CREATE != 0:
		return r.create(path, flags, perm)
	case err != nil:
		return nil, err
	}
	defer there.Close()
	if flags&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		return nil, &os.PathError{Op: "create", Path: path, Err: unix.EEXIST}
	}
	if err := plain(there); err != nil {
		return nil, err
	}
	again := fmt.Sprintf("/proc/self/fd/%d", there.Fd())
	fd, err := unix.Open(again, flags&^(os.O_CREATE|unix.O_NOFOLLOW)|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// create makes the file, or the one that a dangling link inside the root names; what appeared in between is checked again.
func (r *Root) create(path string, flags int, perm os.FileMode) (*os.File, error) {
	f, err := r.openat(path, flags|unix.O_NOCTTY|unix.O_NONBLOCK, perm, confined)
	if err != nil {
		return nil, err
	}
	if err := plain(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Sub opens a folder below the root as a root of its own.
func (r *Root) Sub(path string) (*Root, error) {
	f, err := r.openat(path, unix.O_RDONLY|unix.O_DIRECTORY, 0, confined)
	if err != nil {
		return nil, err
	}
	return &Root{dir: f, guard: r.guard}, nil
}

// ReadFile reads a whole plain file of at most limit bytes; a larger one is Invalid.
func (r *Root) ReadFile(path string, limit int64) ([]byte, error) {
	f, err := r.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, errs.Newf(errs.Invalid, "%s is larger than the %d bytes that are read of it: make it smaller", path, limit)
	}
	return b, err
}

// WriteFile makes or replaces a plain file; missing folders on the way are made with mode 0755. Links are followed inside the root.
func (r *Root) WriteFile(path string, data []byte, perm os.FileMode) error {
	f, err := r.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if errors.Is(err, os.ErrNotExist) {
		if err := r.MkdirAll(parent(path), 0o755); err != nil {
			return err
		}
		f, err = r.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// MkdirAll makes the folder and those on the way to it that are missing.
func (r *Root) MkdirAll(path string, perm os.FileMode) error {
	path = clean(path)
	if path == "." {
		return nil
	}
	if f, err := r.openat(path, unix.O_PATH|unix.O_DIRECTORY, 0, confined); err == nil {
		return f.Close()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.MkdirAll(parent(path), perm); err != nil {
		return err
	}
	return r.within(path, func(dir int, base string) error {
		err := unix.Mkdirat(dir, base, uint32(perm.Perm()))
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		return err
	})
}

// Lstat describes what is at path; a symbolic link at its end is not followed.
func (r *Root) Lstat(path string) (st unix.Stat_t, err error) {
	err = r.within(path, func(dir int, base string) error {
		return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// Remove deletes one file, link or empty folder; a symbolic link at the end of path is not followed.
func (r *Root) Remove(path string) error {
	return r.within(path, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if errors.Is(err, unix.EISDIR) {
			return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// within opens the folder that path's last part is in and calls fn with both.
func (r *Root) within(path string, fn func(dir int, base string) error) error {
	path = clean(path)
	switch base(path) {
	case ".":
		return fn(int(r.dir.Fd()), ".")
	case "..":
		return errs.Newf(errs.Invalid, "path %q ends in \"..\": name the entry itself", path)
	}
	d, err := r.openat(parent(path), unix.O_PATH|unix.O_DIRECTORY, 0, confined)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := fn(int(d.Fd()), base(path)); err != nil {
		return &os.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

func (r *Root) openat(path string, flags int, perm os.FileMode, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags), Resolve: resolve}
	if flags&os.O_CREATE != 0 {
		how.Mode = uint64(sysMode(perm))
	}
	fd, err := openat2(int(r.dir.Fd()), path, how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openat2 retries when a rename elsewhere in the system kept the kernel from proving that the path stayed inside.
func openat2(dir int, path string, how unix.OpenHow) (int, error) {
	how.Flags |= unix.O_CLOEXEC
	for range 64 {
		fd, err := unix.Openat2(dir, path, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

func plain(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() && !st.IsDir() {
		return errs.Newf(errs.Invalid, "%s is neither a plain file nor a folder (%s): it is not opened", f.Name(), st.Mode().Type())
	}
	return nil
}

// sysMode turns Go's mode bits into the kernel's.
func sysMode(m os.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, b := range []struct {
		from os.FileMode
		to   uint32
	}{{os.ModeSetuid, unix.S_ISUID}, {os.ModeSetgid, unix.S_ISGID}, {os.ModeSticky, unix.S_ISVTX}} {
		if m&b.from != 0 {
			bits |= b.to
		}
	}
	return bits
}
