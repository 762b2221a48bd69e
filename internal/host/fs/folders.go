package fs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// strict refuses symbolic links and mounts on the way as well: a tree that is being built has none that may be followed.
const strict = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// strictFolder opens a folder that is really one, on the same mount.
func strictFolder() unix.OpenHow {
	return unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY, Resolve: strict}
}

// maxFolders bounds the open folders that are kept.
const maxFolders = 64

// folders keeps the folders that were used last open, so that an entry costs no walk of its path.
type folders struct {
	root *Root
	kept map[string]*folder
	now  uint64
}

type folder struct {
	fd   int
	used uint64
}

func newFolders(r *Root) *folders { return &folders{root: r, kept: map[string]*folder{}} }

// open opens the folder at the clean relative path, making the missing ones on the way. The descriptor belongs to the cache and
// is good for the next few calls.
func (c *folders) open(path string) (int, error) {
	if path == "." {
		return int(c.root.dir.Fd()), nil
	}
	c.now++
	if f, ok := c.kept[path]; ok {
		f.used = c.now
		return f.fd, nil
	}
	fd, err := openat2(int(c.root.dir.Fd()), path, strictFolder())
	if errors.Is(err, unix.ENOENT) {
		fd, err = c.make(path)
	}
	if err != nil {
		return -1, err
	}
	c.evict()
	c.kept[path] = &folder{fd, c.now}
	return fd, nil
}

func (c *folders) make(path string) (int, error) {
	up, err := c.open(parent(path))
	if err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(up, base(path), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return openat2(up, base(path), strictFolder())
}

// evict makes room by closing the folder that was not used for longest.
func (c *folders) evict() {
	if len(c.kept) < maxFolders {
		return
	}
	oldest := ""
	for path, f := range c.kept {
		if oldest == "" || f.used < c.kept[oldest].used {
			oldest = path
		}
	}
	unix.Close(c.kept[oldest].fd)
	delete(c.kept, oldest)
}

func (c *folders) close() {
	for _, f := range c.kept {
		unix.Close(f.fd)
	}
	clear(c.kept)
}
