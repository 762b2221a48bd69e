package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// CopyOptions says how CopyTree copies.
type CopyOptions struct {
	// Skip names entries at the top that are left out.
	Skip []string
	// Unprivileged leaves owners, device nodes and privileged attributes out, so that no root is needed.
	Unprivileged bool
}

// CopyTree copies what is in the folder from into the folder to, which is made if it is missing. Both must be trusted paths; what is
// in them need not be: no link is followed and no mount is entered. Owners, modes, times, attributes, ACLs, hard links, holes, nodes, pipes
// and sockets are kept; bytes are shared with the source where the file system can (reflink). What was copied before an error stays.
func CopyTree(ctx context.Context, from, to string, o CopyOptions) error {
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	src, err := OpenRoot(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := OpenRoot(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	c := copier{ctx: ctx, o: o, links: map[inode]string{}, root: int(dst.dir.Fd()), reflink: true}
	return c.folder(int(src.dir.Fd()), int(dst.dir.Fd()), "")
}

type inode struct{ dev, ino uint64 }

type copier struct {
	ctx     context.Context
	o       CopyOptions
	links   map[inode]string // where the first name of a file with several was copied to
	root    int
	reflink bool
	buf     []byte
}

// folder copies what is in src, then what src itself is like.
func (c *copier) folder(src, dst int, path string) error {
	entries, err := list(src, -1)
	if err != nil {
		return fmt.Errorf("copying %q: %w", path, err)
	}
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if path == "" && c.skipped(e.Name()) {
			continue
		}
		if err := c.entry(src, dst, path, e.Name()); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	return c.finish(src, dst, st, path)
}

func (c *copier) skipped(name string) bool {
	for _, s := range c.o.Skip {
		if s == name {
			return true
		}
	}
	return false
}

func (c *copier) entry(src, dst int, path, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(src, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("copying %q: %w", path+name, err)
	}
	err := c.copy(src, dst, path+name, st)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("copying %q: no space left on the file system: free some and try again: %w", path+name, err)
	case errs.KindOf(err) != errs.Internal:
		return err
	}
	return fmt.Errorf("copying %q: %w", path+name, err)
}

// copy makes in dst what is called like the last part of path in src.
func (c *copier) copy(src, dst int, path string, st unix.Stat_t) error {
	name := base(path)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := c.links[id]; ok {
			return c.hardLink(first, dst, name)
		}
		c.links[id] = path
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.sub(src, dst, path)
	case unix.S_IFREG:
		return c.file(src, dst, name, st)
	case unix.S_IFLNK:
		return c.symlink(src, dst, name, st)
	}
	if c.o.Unprivileged && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil
	}
	if err := unix.Mknodat(dst, name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
		return err
	}
	return c.metaOf(st).applyAt(dst, name)
}

// hardLink links to the copy of the first name; openat2 finds its folder without following what the tree may hold.
func (c *copier) hardLink(first string, dst int, name string) error {
	up, err := openat2(c.root, parent(first), strictFolder())
	if err != nil {
		return err
	}
	defer unix.Close(up)
	return unix.Linkat(up, base(first), dst, name, 0)
}

func (c *copier) sub(src, dst int, path string) error {
	name := base(path)
	if err := tooDeep(path); err != nil {
		return err
	}
	from, err := openat2(src, name, strictFolder())
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if err := unix.Mkdirat(dst, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	to, err := openat2(dst, name, strictFolder())
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return c.folder(from, to, path+"/")
}

func (c *copier) symlink(src, dst int, name string, st unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(src, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), dst, name); err != nil {
		return err
	}
	return c.metaOf(st).applyAt(dst, name)
}

func (c *copier) file(src, dst int, name string, st unix.Stat_t) error {
	from, err := openat2(src, name, unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK, Resolve: strict})
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := unix.Openat(dst, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = c.content(from, to, st)
	if err == nil {
		err = c.finish(from, to, st, name)
	}
	return errors.Join(err, unix.Close(to))
}

// finish gives the copy the owner, mode, times and attributes of the original.
func (c *copier) finish(from, to int, st unix.Stat_t, path string) error {
	m := c.metaOf(st)
	all, err := attributes(from)
	if err != nil {
		return fmt.Errorf("attributes of %q: %w", path, err)
	}
	m.attrs = all
	if c.o.Unprivileged {
		m.attrs = nil
	}
	return m.applyFd(to)
}

func (c *copier) metaOf(st unix.Stat_t) meta {
	return meta{uid: int(st.Uid), gid: int(st.Gid), mode: st.Mode & 0o7777, mtime: st.Mtim, owner: !c.o.Unprivileged}
}

// content shares the bytes where the file system can, and copies the parts that are no holes where it cannot.
func (c *copier) content(from, to int, st unix.Stat_t) error {
	if st.Size == 0 {
		return nil
	}
	if c.reflink {
		err := unix.IoctlFileClone(to, from)
		if err == nil {
			return nil
		}
		c.reflink = !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.ENOTTY)
	}
	for at := int64(0); at < st.Size; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		start, end, err := extent(from, at, st.Size)
		if err != nil {
			return err
		}
		if err := c.span(from, to, start, end); err != nil {
			return err
		}
		at = end
	}
	return unix.Ftruncate(to, st.Size)
}

// extent finds the next part from at on that holds data; an end without data starts at size.
func extent(fd int, at, size int64) (start, end int64, err error) {
	start, err = unix.Seek(fd, at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return at, size, nil // the file system does not tell: all of it counts as data
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	return start, min(end, size), err
}

func (c *copier) span(from, to int, start, end int64) error {
	for start < end {
		n := int(min(end-start, 64<<20))
		rd, wr := start, start
		got, err := unix.CopyFileRange(from, &rd, to, &wr, n, 0)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			return c.byHand(from, to, start, end)
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return nil // the file became shorter meanwhile
		}
		start += int64(got)
	}
	return nil
}

func (c *copier) byHand(from, to int, start, end int64) error {
	if c.buf == nil {
		c.buf = make([]byte, 256<<10)
	}
	for start < end {
		n, err := unix.Pread(from, c.buf[:min(end-start, int64(len(c.buf)))], start)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		if _, err := writeAt(to, c.buf[:n], start, false); err != nil {
			return err
		}
		start += int64(n)
	}
	return nil
}
