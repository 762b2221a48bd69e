package fs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// Bounds of an archive when Options names none: far above any real image, low enough to end.
const (
	defaultEntries = 10_000_000
	defaultBytes   = 4 << 40
)

// lateBytes bounds what is kept in memory of folders until the end: a small packed archive can repeat one, with long names and
// attributes, any number of times.
const lateBytes = 256 << 20

// Options says how Extract treats an archive.
type Options struct {
	// Select, if set, gives an entry another name in the root, or leaves it out. It sees and returns clean relative paths.
	Select func(name string) (to string, ok bool)
	// Entries and Bytes bound the archive (unpacked, holes included); 0 means far above any real image.
	Entries, Bytes int64
	// Unprivileged leaves owners, device nodes and privileged attributes alone, so that no root is needed.
	Unprivileged bool
	// Owner gives the ids that files are to have for those of the archive, as in a volume whose owners are shifted; nil leaves them as they
	// are. An id that it has no value for is Invalid.
	Owner Mapping
	// Holes leaves out the zeros of every file, for archives that do not say where holes were.
	Holes bool
	// Progress, if set, is told now and then how many bytes were unpacked.
	Progress func(bytes int64)
}

// Report is what Extract did.
type Report struct {
	Entries, Bytes int64
	// Skipped counts what was left out because it would be dangerous on the host: device nodes that are not among the harmless
	// ones, and extended attributes that a container could not have set itself.
	Skipped int64
}

// Archive is a tar archive, or a part of one: *tar.Reader, or what begins and ends where its maker says.
type Archive interface {
	// Next goes to the next entry; after the last it returns io.EOF.
	Next() (*tar.Header, error)
	// Read reads the content of the entry.
	Read(p []byte) (int, error)
}

// Extract unpacks the archive into the folder at dest, which must exist. Nothing in the archive can reach outside: a name with
// "..", an absolute name, a parent that is a symbolic link or a hard link to outside is refused with Invalid, as is a damaged or
// truncated archive. What was unpacked before the error stays; the caller removes dest.
//
// Set-user-id bits, owners, times, capabilities, user attributes and ACLs are kept. Of device nodes only those that every
// container has anyway (null, zero, full, random, urandom, tty, ptmx) are made, since a pool folder is not mounted nodev;
// the others are skipped, as are trusted.* and security labels. Sparse files stay sparse.
func Extract(ctx context.Context, tr Archive, dest string, o Options) (Report, error) {
	root, err := OpenRoot(dest)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	if o.Entries == 0 {
		o.Entries = defaultEntries
	}
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	x := &extractor{ctx: ctx, o: o, dirs: newFolders(root), tr: tr, late: map[string]meta{}, buf: make([]byte, 256<<10)}
	defer x.dirs.close()
	err = x.run()
	return x.done, err
}

type extractor struct {
	ctx  context.Context
	o    Options
	tr   Archive
	dirs *folders
	// late is what folders are to be like: their owners, modes and times are set last, when nothing in them changes any more.
	late map[string]meta
	// kept is about how many bytes late holds.
	kept int64
	buf  []byte
	done Report
	told int64
}

func (x *extractor) run() error {
	last := ""
	for {
		h, err := x.tr.Next()
		if err == io.EOF {
			return x.finish()
		}
		if h != nil && err == nil {
			last = h.Name
		}
		if err != nil {
			return x.broken(err, last)
		}
		if err := x.entry(h); err != nil {
			return err
		}
	}
}

// broken explains an error of the reader: the archive is at fault, unless the caller gave up.
func (x *extractor) broken(err error, last string) error {
	if e := x.ctx.Err(); e != nil {
		return e
	}
	if errs.KindOf(err) != errs.Internal {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errs.Newf(errs.Invalid, "archive ends in the middle, after entry %q: get or build it again", last)
	}
	return errs.Newf(errs.Invalid, "archive is damaged after entry %q: %w", last, err)
}

func (x *extractor) entry(h *tar.Header) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	x.done.Entries++
	if x.done.Entries > x.o.Entries {
		return errs.Newf(errs.Invalid, "archive has more than the %d entries that are allowed", x.o.Entries)
	}
	name, err := entryName(h.Name)
	if err != nil {
		return err
	}
	if x.o.Select != nil {
		to, ok := x.o.Select(name)
		if !ok {
			return nil
		}
		name = to
	}
	return x.make(name, h)
}

// entryName checks a name of the archive and makes it relative to the root.
func entryName(s string) (string, error) {
	name := clean(s)
	switch {
	case strings.HasPrefix(s, "/"):
		return "", errs.Newf(errs.Invalid, "archive entry %q has an absolute name: pack it with relative names", s)
	case len(name) >= unix.PathMax:
		return "", errs.Newf(errs.Invalid, "archive entry %.40q… has a name of %d bytes: the limit is %d", s, len(name), unix.PathMax-1)
	case strings.IndexByte(name, 0) >= 0:
		return "", errs.Newf(errs.Invalid, "archive entry %q has a zero byte in its name", s)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errs.Newf(errs.Invalid, "archive entry %q leaves its folder by \"..\": it is refused", s)
		}
	}
	return name, nil
}

func (x *extractor) make(name string, h *tar.Header) error {
	m, skipped, err := metaOf(h, x.o.Unprivileged)
	x.done.Skipped += skipped
	if err == nil {
		err = m.shift(x.o.Owner)
	}
	if err != nil {
		return pathError(h.Name, err)
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errs.Newf(errs.Invalid, "archive entry %q is named like the folder that it is unpacked into, but is none", h.Name)
		}
		return x.later(".", m)
	}
	dir, err := x.dirs.open(parent(name))
	if err != nil {
		return pathError(h.Name, err)
	}
	return pathError(h.Name, x.place(dir, name, h, m))
}

// place makes the entry in the open folder dir.
func (x *extractor) place(dir int, name string, h *tar.Header, m meta) error {
	last := base(name)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := x.later(name, m); err != nil {
			return err
		}
		return makeFolder(dir, last)
	case tar.TypeReg, typeOld, tar.TypeGNUSparse, tar.TypeCont:
		return x.file(dir, last, h, m)
	case tar.TypeSymlink:
		return x.fresh(dir, last, m, func() error { return unix.Symlinkat(h.Linkname, dir, last) })
	case tar.TypeLink:
		return x.link(dir, last, h)
	case tar.TypeFifo:
		return x.fresh(dir, last, m, func() error { return unix.Mknodat(dir, last, unix.S_IFIFO|0o600, 0) })
	case tar.TypeChar, tar.TypeBlock:
		if x.o.Unprivileged || !harmless(h) {
			x.done.Skipped++
			return nil
		}
		dev := int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
		return x.fresh(dir, last, m, func() error { return unix.Mknodat(dir, last, unix.S_IFCHR|0o600, dev) })
	}
	return errs.Newf(errs.Invalid, "is of the unknown type %q", h.Typeflag)
}

// fresh makes an entry that is not a folder, in place of an earlier one of the same name, and sets its owner, mode and times.
func (x *extractor) fresh(dir int, base string, m meta, mk func() error) error {
	if err := replacing(dir, base, mk); err != nil {
		return err
	}
	return m.applyAt(dir, base)
}

func (x *extractor) link(dir int, last string, h *tar.Header) error {
	target, err := entryName(h.Linkname)
	if err != nil {
		return err
	}
	if x.o.Select != nil {
		to, ok := x.o.Select(target)
		if !ok {
			return errs.Newf(errs.Invalid, "is a hard link to %q, which is not unpacked", h.Linkname)
		}
		target = to
	}
	from, err := x.dirs.open(parent(target))
	if err != nil {
		return err
	}
	if from == dir && base(target) == last {
		return nil
	}
	err = replacing(dir, last, func() error { return unix.Linkat(from, base(target), dir, last, 0) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
		return errs.Newf(errs.Invalid, "is a hard link to %q, which is no earlier file of the archive", h.Linkname)
	}
	return err
}

func (x *extractor) file(dir int, base string, h *tar.Header, m meta) error {
	if h.Size < 0 || h.Size > x.o.Bytes-x.done.Bytes {
		return errs.Newf(errs.Invalid, "makes the unpacked archive larger than the %d bytes that are allowed", x.o.Bytes)
	}
	fd := -1
	err := replacing(dir, base, func() (err error) {
		fd, err = unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	err = x.fill(fd, h)
	if err == nil {
		err = m.applyFd(fd)
	}
	return errors.Join(err, unix.Close(fd))
}

// fill copies the entry's bytes; blocks of zeros of a sparse entry become holes.
func (x *extractor) fill(fd int, h *tar.Header) error {
	var at, written int64
	sparse := x.o.Holes || isSparse(h)
	for {
		n, err := io.ReadFull(x.tr, x.buf[:min(int64(len(x.buf)), max(h.Size-at, 1))])
		if n > 0 {
			end, e := writeAt(fd, x.buf[:n], at, sparse)
			if e != nil {
				return e
			}
			written = max(written, end)
			at += int64(n)
			x.tell(int64(n))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && at == h.Size {
			break
		}
		if err != nil {
			return x.broken(err, h.Name)
		}
		if err := x.ctx.Err(); err != nil {
			return err
		}
	}
	if at != h.Size {
		return x.broken(io.ErrUnexpectedEOF, h.Name)
	}
	if written < h.Size { // it ends in a hole
		return unix.Ftruncate(fd, h.Size)
	}
	return nil
}

func (x *extractor) tell(n int64) {
	x.done.Bytes += n
	if x.o.Progress != nil && x.done.Bytes-x.told >= 4<<20 {
		x.told = x.done.Bytes
		x.o.Progress(x.done.Bytes)
	}
}

// later notes what a folder is to be like at the end; a later entry for the same folder counts.
func (x *extractor) later(path string, m meta) error {
	old, again := x.late[path]
	if again {
		x.kept -= old.size()
	} else {
		x.kept += int64(len(path))
	}
	if x.kept += m.size(); x.kept > lateBytes {
		return errs.Newf(errs.Invalid, "makes the names and attributes of folders larger than the %d MiB that are allowed", lateBytes>>20)
	}
	x.late[path] = m
	return nil
}

// finish sets what would have been disturbed by later entries: the folders' owners, modes and times, the innermost first.
func (x *extractor) finish() error {
	paths := slices.Sorted(maps.Keys(x.late))
	for _, path := range slices.Backward(paths) {
		fd, err := x.dirs.open(path)
		if err != nil {
			return pathError(path, err)
		}
		if err := x.late[path].applyFd(fd); err != nil {
			return pathError(path, err)
		}
	}
	return nil
}

// pathError names the entry; it explains a full disk, and that links on the way are the archive's fault.
func pathError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("unpacking %q: no space left on the file system: free some and try again: %w", name, err)
	case errors.Is(err, unix.ELOOP):
		return errs.Newf(errs.Invalid, "archive entry %q goes through a symbolic link: it is refused", name)
	case errors.Is(err, unix.EXDEV):
		return errs.Newf(errs.Invalid, "archive entry %q leads out of its folder: it is refused", name)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EEXIST), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOTEMPTY),
		errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return errs.Newf(errs.Invalid, "archive entry %q cannot be made after the entries before it: %w", name, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("unpacking %q needs more rights: run as root: %w", name, err)
	}
	if k := errs.KindOf(err); k != errs.Internal {
		return errs.Newf(k, "archive entry %q: %w", name, err)
	}
	return fmt.Errorf("unpacking %q: %w", name, err)
}

// typeOld is a regular file in archives older than POSIX.
const typeOld = '\x00'
