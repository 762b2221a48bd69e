package file

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
)

// Serve speaks SFTP over conn until either side ends it, and closes it.
func (t *Tree) Serve(conn io.ReadWriteCloser) error {
	h := handlers{t}
	s := sftp.NewRequestServer(conn, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}, sftp.WithStartDirectory("/"))
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-t.Done:
			_ = conn.Close() // ends the serving
		case <-over:
		}
	}()
	err := s.Serve()
	_ = s.Close() // it has ended
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	select {
	case <-t.Done:
		return nil
	default:
	}
	return err
}

// Buffered is conn with what was read of it already put back.
func Buffered(conn io.ReadWriteCloser, r *bufio.Reader) io.ReadWriteCloser { return buffered{conn, r} }

type buffered struct {
	io.ReadWriteCloser
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// handlers answers the requests of an SFTP client.
type handlers struct{ t *Tree }

// Fileread opens a file for reading.
func (h handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	e, err := h.t.Root.Follow(r.Filepath)
	if err != nil {
		return nil, status(err)
	}
	defer e.Close()
	f, err := e.Open(os.O_RDONLY)
	return f, status(err)
}

// Filewrite opens a file for writing, and makes it if the client asks for that.
func (h handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	f, err := h.open(r)
	return f, status(err)
}

// OpenFile opens a file for reading and writing.
func (h handlers) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) {
	f, err := h.open(r)
	return f, status(err)
}

func (h handlers) open(r *sftp.Request) (*os.File, error) {
	p := r.Pflags()
	flags := os.O_WRONLY
	if p.Read {
		flags = os.O_RDWR
	}
	if p.Trunc {
		flags |= os.O_TRUNC
	}
	e, err := h.t.Root.Follow(r.Filepath)
	if err == nil {
		defer e.Close()
		if p.Creat && p.Excl {
			return nil, os.ErrExist
		}
		return e.Open(flags)
	}
	if !errors.Is(err, os.ErrNotExist) || !p.Creat {
		return nil, err
	}
	mode := int64(-1)
	if r.AttrFlags().Permissions {
		mode = int64(r.Attributes().Mode & 0o7777)
	}
	o, err := h.t.owner(Put{UID: -1, GID: -1, Mode: mode})
	if err != nil {
		return nil, err
	}
	return h.t.Root.Create(r.Filepath, o)
}

// Filecmd changes what is not content.
func (h handlers) Filecmd(r *sftp.Request) error {
	root := h.t.Root
	switch r.Method {
	case "Setstat":
		return status(h.setstat(r))
	case "Rename":
		if _, err := h.t.Stat(r.Target); err == nil {
			return sftp.ErrSSHFxFailure // the protocol's rename replaces nothing
		}
		return status(root.Rename(r.Filepath, r.Target))
	case "Mkdir":
		mode := int64(0o755)
		if r.AttrFlags().Permissions {
			mode = int64(r.Attributes().Mode & 0o7777)
		}
		o, err := h.t.owner(Put{UID: -1, GID: -1, Mode: mode})
		if err != nil {
			return status(err)
		}
		return status(root.Mkdir(r.Filepath, o))
	case "Symlink": // the library keeps the target of the link as the path
		o, err := h.t.owner(Put{UID: -1, GID: -1, Mode: -1})
		if err != nil {
			return status(err)
		}
		return status(root.Symlink(r.Filepath, r.Target, o))
	case "Link":
		return status(root.Link(r.Filepath, r.Target))
	case "Rmdir", "Remove":
		return status(root.Unlink(r.Filepath))
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename replaces what is there.
func (h handlers) PosixRename(r *sftp.Request) error {
	return status(h.t.Root.Rename(r.Filepath, r.Target))
}

func (h handlers) setstat(r *sftp.Request) error {
	e, err := h.t.Root.Follow(r.Filepath)
	if err != nil {
		return err
	}
	defer e.Close()
	has, a := r.AttrFlags(), r.Attributes()
	if has.Size {
		if err := e.Truncate(int64(a.Size)); err != nil {
			return err
		}
	}
	if has.UidGid {
		if err := h.chown(e, a); err != nil {
			return err
		}
	}
	if has.Permissions {
		if err := e.Chmod(a.Mode & 0o7777); err != nil {
			return err
		}
	}
	if has.Acmodtime {
		return e.SetTimes(time.Unix(int64(a.Atime), 0), time.Unix(int64(a.Mtime), 0))
	}
	return nil
}

func (h handlers) chown(e *fs.Entry, a *sftp.FileStat) error {
	uid, err := h.t.outside(int64(a.UID))
	if err != nil {
		return err
	}
	gid, err := h.t.outside(int64(a.GID))
	if err != nil {
		return err
	}
	return e.Chown(uid, gid)
}

// Filelist lists a folder or describes one file.
func (h handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		l, err := h.list(r.Filepath)
		return l, status(err)
	case "Stat":
		e, err := h.t.Root.Follow(r.Filepath)
		return h.one(e, r.Filepath, err)
	case "Readlink":
		e, err := h.t.Root.Find(r.Filepath)
		if err != nil {
			return nil, status(err)
		}
		defer e.Close()
		target, err := e.Readlink()
		return listing{fileInfo{Info{name: target}}}, status(err)
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

// Lstat describes a file, or a link rather than what it leads to.
func (h handlers) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	e, err := h.t.Root.Find(r.Filepath)
	return h.one(e, r.Filepath, err)
}

// Readlink is where a link points.
func (h handlers) Readlink(p string) (string, error) {
	e, err := h.t.Root.Find(p)
	if err != nil {
		return "", status(err)
	}
	defer e.Close()
	target, err := e.Readlink()
	return target, status(err)
}

func (h handlers) one(e *fs.Entry, p string, err error) (sftp.ListerAt, error) {
	if err != nil {
		return nil, status(err)
	}
	defer e.Close()
	return listing{fileInfo{h.t.info(e, path.Base(p))}}, nil
}

func (h handlers) list(p string) (listing, error) {
	e, err := h.t.Root.Follow(p)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	all, err := names(e)
	if err != nil {
		return nil, err
	}
	out := make(listing, 0, len(all))
	for _, name := range all {
		one, err := h.t.Root.Find(path.Join(p, name))
		if err != nil {
			continue // it went away meanwhile
		}
		out = append(out, fileInfo{h.t.info(one, name)})
		one.Close()
	}
	return out, nil
}

// listing is files to be listed.
type listing []os.FileInfo

// ListAt copies the files from an offset on.
func (l listing) ListAt(into []os.FileInfo, at int64) (int, error) {
	if at >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[at:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}

// fileInfo is Info for the library.
type fileInfo struct{ i Info }

// Name is the last part of the path.
func (f fileInfo) Name() string { return f.i.name }

// Size is the length.
func (f fileInfo) Size() int64 { return f.i.Size }

// ModTime is when the content changed.
func (f fileInfo) ModTime() time.Time { return f.i.Modified }

// IsDir tells folders.
func (f fileInfo) IsDir() bool { return f.i.Kind == Folder }

// Mode is kind and permissions.
func (f fileInfo) Mode() os.FileMode {
	m := os.FileMode(f.i.Mode & 0o777)
	for bit, mode := range map[uint32]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid, unix.S_ISVTX: os.ModeSticky} {
		if f.i.Mode&bit != 0 {
			m |= mode
		}
	}
	switch f.i.bits & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= os.ModeDir
	case unix.S_IFLNK:
		m |= os.ModeSymlink
	case unix.S_IFIFO:
		m |= os.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= os.ModeSocket
	case unix.S_IFCHR:
		m |= os.ModeDevice | os.ModeCharDevice
	case unix.S_IFBLK:
		m |= os.ModeDevice
	}
	return m
}

// Sys is what the library takes owners and times from.
func (f fileInfo) Sys() any {
	return &sftp.FileStat{Size: uint64(f.i.Size), Mode: f.i.bits, UID: uint32(f.i.UID), GID: uint32(f.i.GID),
		Atime: uint32(f.i.accessed.Unix()), Mtime: uint32(f.i.Modified.Unix())}
}

// Uid is the owner inside.
func (f fileInfo) Uid() uint32 { return uint32(f.i.UID) }

// Gid is the group inside.
func (f fileInfo) Gid() uint32 { return uint32(f.i.GID) }

// status turns an error into one that the protocol has a number for.
func status(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, os.ErrPermission), errs.Is(err, errs.Forbidden):
		return sftp.ErrSSHFxPermissionDenied
	}
	return err
}
