package fs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// maxLinks is how many symbolic links at the end of a path are followed, as the kernel does.
const maxLinks = 40

// Entry is one thing below a root: it is held, but not opened, and stays the same whatever happens to its name.
type Entry struct {
	// Stat is what it was when it was found.
	Stat unix.Stat_t

	file  *os.File
	guard *Guard
}

// Find finds what is at path; a symbolic link at its end is not followed.
func (r *Root) Find(path string) (*Entry, error) {
	p, err := r.place(path, false)
	if err != nil {
		return nil, err
	}
	return p.taken()
}

// Follow finds what path leads to.
func (r *Root) Follow(path string) (*Entry, error) {
	p, err := r.place(path, true)
	if err != nil {
		return nil, err
	}
	return p.taken()
}

// place is where a path leads to: a name in a folder that is held, and what is there, if anything.
type place struct {
	dir  *Entry
	base string
	path string
	// entry is nil when there is nothing of that name.
	entry *Entry
}

// taken is what is at the place; it lets the rest go.
func (p *place) taken() (*Entry, error) {
	p.dir.Close()
	if p.entry == nil {
		return nil, &os.PathError{Op: "open", Path: p.path, Err: unix.ENOENT}
	}
	return p.entry, nil
}

func (p *place) close() {
	p.dir.Close()
	if p.entry != nil {
		p.entry.Close()
	}
}

// place finds where path leads to, also if nothing is there. Links at its end are followed one by one, each from the root on.
func (r *Root) place(path string, follow bool) (*place, error) {
	at := path
	for range maxLinks {
		p, err := r.step(at)
		if err != nil {
			return nil, err
		}
		p.path = path
		if !follow || p.entry == nil || !p.entry.Is(unix.S_IFLNK) {
			return p, nil
		}
		target, err := p.entry.Readlink()
		p.close()
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(target, "/") {
			target = parent(at) + "/" + target
		}
		at = target
	}
	return nil, &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
}

// step opens the folder that path's last part is in, and looks at that part.
func (r *Root) step(path string) (*place, error) {
	folder, name := parent(path), base(path)
	if name == ".." {
		folder, name = clean(path), "."
	}
	dir, err := r.hold(int(r.dir.Fd()), folder, unix.O_DIRECTORY, confined)
	if err != nil {
		return nil, err
	}
	if err := r.guard.enter(dir); err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	p := &place{dir: dir, base: name}
	p.entry, err = r.hold(int(dir.file.Fd()), name, unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
	if err != nil && (!errors.Is(err, os.ErrNotExist) || name == ".") {
		dir.Close()
		return nil, err
	}
	return p, nil
}

// hold takes hold of what path below an open folder names.
func (r *Root) hold(dir int, path string, flags int, resolve uint64) (*Entry, error) {
	fd, err := openat2(dir, path, unix.OpenHow{Flags: uint64(unix.O_PATH | flags), Resolve: resolve})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	e := &Entry{file: os.NewFile(uintptr(fd), path), guard: r.guard}
	if err := unix.Fstat(fd, &e.Stat); err != nil {
		e.Close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return e, nil
}

// Close lets the entry go; files opened from it stay open.
func (e *Entry) Close() { _ = e.file.Close() } // nothing was written through it

// File is the entry as a descriptor that only names it (O_PATH). It ends with the entry.
func (e *Entry) File() *os.File { return e.file }

// Is tells whether the entry is of a kind, such as unix.S_IFDIR.
func (e *Entry) Is(kind uint32) bool { return e.Stat.Mode&unix.S_IFMT == kind }

// Open opens a plain file or a folder; anything else is refused and not touched. Of flags only the access mode, O_APPEND and
// O_TRUNC count.
func (e *Entry) Open(flags int) (*os.File, error) {
	if !e.Is(unix.S_IFREG) && !e.Is(unix.S_IFDIR) {
		return nil, errs.Newf(errs.Invalid, "%s is neither a plain file nor a folder: it is not opened", e.file.Name())
	}
	want := readable
	if flags&unix.O_ACCMODE != os.O_RDONLY {
		want = writable
		if flags&unix.O_ACCMODE == os.O_RDWR {
			want |= readable
		}
	}
	if err := e.guard.check(e, want); err != nil {
		return nil, &os.PathError{Op: "open", Path: e.file.Name(), Err: err}
	}
	flags &= unix.O_ACCMODE | unix.O_APPEND | unix.O_TRUNC
	fd, err := unix.Open(e.self(), flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: e.file.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), e.file.Name()), nil
}

// self is a path that leads to the entry and nowhere else.
func (e *Entry) self() string { return fmt.Sprintf("/proc/self/fd/%d", e.file.Fd()) }

// Readlink is where a symbolic link points.
func (e *Entry) Readlink() (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(e.file.Fd()), "", buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: e.file.Name(), Err: err}
	}
	return string(buf[:n]), nil
}

// Chown changes the owner; -1 leaves a part as it is. Set-user-id bits and capabilities go, as always.
func (e *Entry) Chown(uid, gid int) error {
	if uid < 0 && gid < 0 {
		return nil
	}
	return e.change("chown", func() error { return e.chown(uid, gid) })
}

func (e *Entry) chown(uid, gid int) error {
	return unix.Fchownat(int(e.file.Fd()), "", uid, gid, unix.AT_EMPTY_PATH)
}

// Chmod changes the permission bits; a symbolic link has none and is left.
func (e *Entry) Chmod(mode uint32) error {
	if e.Is(unix.S_IFLNK) {
		return nil
	}
	return e.change("chmod", func() error { return e.chmod(mode) })
}

func (e *Entry) chmod(mode uint32) error { return unix.Chmod(e.self(), mode&0o7777) }

// SetTimes changes when the entry was last read and changed.
func (e *Entry) SetTimes(read, changed time.Time) error {
	both := []unix.Timespec{timespec(read), timespec(changed)}
	return e.change("utimes", func() error { return unix.UtimesNanoAt(int(e.file.Fd()), "", both, unix.AT_EMPTY_PATH) })
}

// Truncate sets the length of a plain file.
func (e *Entry) Truncate(size int64) error {
	f, err := e.Open(os.O_WRONLY)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (e *Entry) change(what string, fn func() error) error {
	err := e.guard.check(e, owned)
	if err == nil {
		err = fn()
	}
	if err != nil {
		return &os.PathError{Op: what, Path: e.file.Name(), Err: err}
	}
	return nil
}
