package fs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// PackOptions says how Pack writes a tree.
type PackOptions struct {
	// Prefix is the name of the tree's top in the archive.
	Prefix string
	// Owner gives the ids that the archive is to have for those of the files; nil leaves them as they are. One without a new value becomes
	// nobody, as it is seen inside.
	Owner Mapping
	// Exact keeps times to the nanosecond, for which the archive grows by a kilobyte an entry.
	Exact bool
	// Keep, if set, leaves out the entries for which it is false, folders with all that is in them. It sees names below the top.
	Keep func(name string, st unix.Stat_t) bool
	// Progress, if set, is told now and then how many bytes of files were packed.
	Progress func(bytes int64)
}

// Pack writes the tree at dir, its top included, to the archive: owners, modes, times, hard links, capabilities, ACLs and user attributes.
// dir must be trusted; what is in it need not be, and may change meanwhile: no link is followed and no mount entered, a file that becomes
// shorter is filled up with zeros, and one that vanishes is left out. Sockets are left out. It does not close tw.
func Pack(ctx context.Context, tw *tar.Writer, dir string, o PackOptions) error {
	root, err := OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	p := packer{ctx: ctx, tw: tw, o: o, links: map[inode]string{}, buf: make([]byte, 256<<10)}
	return p.top(int(root.dir.Fd()))
}

type packer struct {
	ctx   context.Context
	tw    *tar.Writer
	o     PackOptions
	links map[inode]string // the name of a file with several that came first
	buf   []byte
	done  int64
	told  int64
}

func (p *packer) top(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := p.header(fd, "", "", st); err != nil {
		return err
	}
	return p.folder(fd, "")
}

// folder writes what is in the open folder fd; at is its name below the top, with a slash at its end unless it is the top.
func (p *packer) folder(fd int, at string) error {
	entries, err := list(fd, -1)
	if err != nil {
		return missing(err) // an empty folder that was removed meanwhile
	}
	for _, e := range entries {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		err := p.entry(fd, at+e.Name())
		if gone(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("packing %q: %w", at+e.Name(), err)
		}
	}
	return nil
}

// vanished is what is not there any more, or became something else, before anything of it was written.
type vanished struct{ error }

func gone(err error) bool {
	_, ok := errors.AsType[vanished](err)
	return ok
}

func lost(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENXIO) {
		return vanished{err}
	}
	return err
}

func (p *packer) entry(dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base(name), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return lost(err)
	}
	if p.o.Keep != nil && !p.o.Keep(name, st) {
		return nil
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		return p.sub(dir, name)
	}
	if kind == unix.S_IFSOCK {
		return nil
	}
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := p.links[id]; ok {
			return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: path.Join(p.o.Prefix, name), Linkname: path.Join(p.o.Prefix, first),
				Mode: int64(st.Mode & 0o7777), ModTime: p.time(st)})
		}
		defer func() { p.links[id] = name }()
	}
	switch kind {
	case unix.S_IFREG:
		return p.file(dir, name)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base(name), buf)
		if err != nil {
			return lost(err)
		}
		return p.header(-1, name, string(buf[:n]), st)
	}
	return p.header(-1, name, "", st)
}

func (p *packer) sub(dir int, name string) error {
	if err := tooDeep(name); err != nil {
		return err
	}
	fd, err := openat2(dir, base(name), strictFolder())
	if err != nil {
		return lost(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := p.header(fd, name, "", st); err != nil {
		return err
	}
	return p.folder(fd, name+"/")
}

func (p *packer) file(dir int, name string) error {
	fd, err := openat2(dir, base(name), unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOATIME, Resolve: strict})
	if errors.Is(err, unix.EPERM) { // not the owner's
		fd, err = openat2(dir, base(name), unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK, Resolve: strict})
	}
	if err != nil {
		return lost(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return vanished{unix.ENOENT}
	}
	if err := p.header(fd, name, "", st); err != nil {
		return err
	}
	return p.content(fd, st.Size)
}

// content writes size bytes, whatever the file has by now.
func (p *packer) content(fd int, size int64) error {
	for left := size; left > 0; {
		n, err := unix.Read(fd, p.buf[:min(left, int64(len(p.buf)))])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			n = int(min(left, int64(len(p.buf))))
			clear(p.buf[:n])
		}
		if _, err := p.tw.Write(p.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
		p.tell(int64(n))
		if err := p.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) tell(n int64) {
	p.done += n
	if p.o.Progress != nil && p.done-p.told >= 4<<20 {
		p.told = p.done
		p.o.Progress(p.done)
	}
}

// header writes what an entry is like; fd is open on it, or -1 for what cannot be opened.
func (p *packer) header(fd int, name, link string, st unix.Stat_t) error {
	h := &tar.Header{
		Name: path.Join(p.o.Prefix, name), Linkname: link, Mode: int64(st.Mode & 0o7777), ModTime: p.time(st),
		Uid: int(p.id(st.Uid)), Gid: int(p.id(st.Gid)), Typeflag: types[st.Mode&unix.S_IFMT],
	}
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name = path.Join(".", h.Name) + "/"
	case tar.TypeReg:
		h.Size = st.Size
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	if p.o.Exact {
		h.Format = tar.FormatPAX
	}
	if err := p.attrs(h, fd); err != nil {
		return err
	}
	return p.tw.WriteHeader(h)
}

var types = map[uint32]byte{
	unix.S_IFDIR: tar.TypeDir, unix.S_IFREG: tar.TypeReg, unix.S_IFLNK: tar.TypeSymlink, unix.S_IFIFO: tar.TypeFifo,
	unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
}

// attrs adds the attributes that Extract would take.
func (p *packer) attrs(h *tar.Header, fd int) error {
	if fd < 0 {
		return nil
	}
	all, err := attributes(fd)
	if err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	for k, v := range all {
		if !attrAllowed(k) {
			continue
		}
		if v, err = p.mapped(k, v); err != nil {
			return err
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxAttr+k] = v
	}
	return nil
}

// mapped is an attribute with the ids that it holds as they are to be.
func (p *packer) mapped(name, v string) (string, error) {
	to := func(id uint32) (uint32, error) { return p.id(id), nil }
	switch {
	case p.o.Owner == nil:
		return v, nil
	case name == capability:
		return mapCapability(v, to)
	case name == aclAccess, name == aclDefault:
		return mapACL(v, to, to)
	}
	return v, nil
}

// nobody is the id of what has none.
const nobody = 65534

func (p *packer) id(id uint32) uint32 {
	if p.o.Owner == nil {
		return id
	}
	to, err := p.o.Owner(id)
	if err != nil {
		return nobody
	}
	return to
}

func (p *packer) time(st unix.Stat_t) time.Time {
	t := time.Unix(st.Mtim.Unix())
	if !p.o.Exact {
		t = t.Truncate(time.Second)
	}
	return t
}
