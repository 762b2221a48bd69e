// Package file reads and changes the files of instances, as their root would: every path is resolved below the instance's root by
// the kernel, and owners are ids inside.
package file

import (
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
)

// Kinds of files (wire names); other is what is neither.
const (
	Plain   = "file"
	Folder  = "directory"
	Symlink = "symlink"
	other   = "other"
)

// Tree is the files of one instance.
type Tree struct {
	// Root is the root folder; it is closed with the tree.
	Root *fs.Root
	// IDs are the owners on disk of the ids inside.
	IDs idmap.Map
	// Release is called when the tree is closed; nil is for nothing.
	Release func() error
	// Done is closed when the tree must not be used any more; nil is never.
	Done <-chan struct{}
}

// Close lets the tree go.
func (t *Tree) Close() error {
	err := t.Root.Close()
	if t.Release != nil {
		err = errors.Join(err, t.Release())
	}
	return err
}

// Info is what is known of a file.
type Info struct {
	Kind     string
	UID, GID int64
	Mode     uint32
	Size     int64
	Modified time.Time
	accessed time.Time
	name     string
	bits     uint32
}

// nobody is the id of owners that have none inside.
const nobody = 65534

func (t *Tree) info(e *fs.Entry, name string) Info {
	st := e.Stat
	i := Info{
		Kind: kind(st.Mode), UID: t.inside(st.Uid), GID: t.inside(st.Gid), Mode: st.Mode & 0o7777, Size: st.Size, bits: st.Mode,
		Modified: time.Unix(st.Mtim.Unix()).UTC(), accessed: time.Unix(st.Atim.Unix()).UTC(), name: name,
	}
	return i
}

func (t *Tree) inside(id uint32) int64 {
	if n, ok := t.IDs.Inside(int64(id)); ok {
		return n
	}
	return nobody
}

// outside is the owner on disk; -1 stays -1.
func (t *Tree) outside(id int64) (int, error) {
	if id == -1 {
		return -1, nil
	}
	n, ok := t.IDs.Host(id)
	if !ok {
		return 0, errs.Newf(errs.Invalid, "owner %d does not exist in the instance: its ids are %v", id, t.IDs)
	}
	return int(n), nil
}

func kind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Plain
	case unix.S_IFDIR:
		return Folder
	case unix.S_IFLNK:
		return Symlink
	}
	return other
}

// File is what is at a path: the content of a plain file, the names in a folder, or where a link leads.
type File struct {
	Info
	Content *os.File
	Names   []string
	Target  string
}

// Stat says what is at a path; a link at its end is not followed.
func (t *Tree) Stat(p string) (Info, error) {
	e, err := t.Root.Find(p)
	if err != nil {
		return Info{}, classify(p, err)
	}
	defer e.Close()
	return t.info(e, path.Base(p)), nil
}

// Get opens what is at a path; a link at its end is not followed. The caller closes the Content of a plain file.
func (t *Tree) Get(p string) (f File, err error) {
	e, err := t.Root.Find(p)
	if err != nil {
		return f, classify(p, err)
	}
	defer e.Close()
	f.Info = t.info(e, path.Base(p))
	switch f.Kind {
	case Symlink:
		if f.Target, err = e.Readlink(); err == nil && !path.IsAbs(f.Target) {
			f.Target = path.Join(path.Dir(path.Join("/", p)), f.Target)
		}
	case Folder:
		f.Names, err = names(e)
	default:
		f.Content, err = e.Open(os.O_RDONLY)
	}
	return f, classify(p, err)
}

// names lists a folder.
func names(e *fs.Entry) ([]string, error) {
	dir, err := e.Open(os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.Readdirnames(-1)
	slices.Sort(all)
	return all, err
}

// Put is what to make or change.
type Put struct {
	// Kind is Plain, Folder or Symlink; "" is Plain.
	Kind string
	// UID and GID are ids inside, Mode is permission bits; -1 leaves them to the defaults.
	UID, GID, Mode int64
	// Append adds to a file that exists, instead of replacing its content.
	Append bool
	// Change names what an existing file takes over of "uid", "gid" and "mode".
	Change []string
	// Content is the content of a plain file, or the target of a link.
	Content io.Reader
}

// Defaults of what is made.
const (
	fileMode   = 0o644
	folderMode = 0o750
	maxTarget  = unix.PathMax
)

// Put makes or changes what is at a path.
func (t *Tree) Put(p string, put Put) error {
	o, err := t.owner(put)
	if err != nil {
		return err
	}
	switch put.Kind {
	case "", Plain:
		err = t.putFile(p, put, o)
	case Folder:
		err = t.putFolder(p, o)
	case Symlink:
		err = t.putLink(p, put, o)
	default:
		return errs.Newf(errs.Invalid, "file type %q does not exist: send file, symlink or directory", put.Kind)
	}
	return classify(p, err)
}

// owner is who gets something new.
func (t *Tree) owner(put Put) (o fs.Owner, err error) {
	if put.Mode > 0o7777 {
		return o, errs.Newf(errs.Invalid, "mode %#o has more than the twelve permission bits: send 0 to 07777", put.Mode)
	}
	o.Mode = uint32(put.Mode)
	if put.Mode < 0 {
		o.Mode = fileMode
		if put.Kind == Folder {
			o.Mode = folderMode
		}
	}
	if o.UID, err = t.outside(max(put.UID, 0)); err != nil {
		return o, err
	}
	o.GID, err = t.outside(max(put.GID, 0))
	return o, err
}

// putFile writes a plain file. One that exists stays the same file, with its owner and mode.
func (t *Tree) putFile(p string, put Put, o fs.Owner) error {
	f, err := t.openExisting(p, put)
	for range 10 { // it may come and go under our hands
		if !errors.Is(err, os.ErrNotExist) || put.Append {
			break
		}
		if f, err = t.Root.Create(p, o); errors.Is(err, os.ErrExist) {
			f, err = t.openExisting(p, put)
		}
	}
	if err != nil {
		return err
	}
	_, err = copyInto(f, put.Content)
	return errors.Join(err, f.Close())
}

// openExisting opens a file that is there, ready to be written.
func (t *Tree) openExisting(p string, put Put) (*os.File, error) {
	e, err := t.Root.Follow(p)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if e.Is(unix.S_IFDIR) {
		return nil, unix.EISDIR
	}
	flags := os.O_WRONLY | os.O_TRUNC
	if put.Append {
		flags = os.O_WRONLY | os.O_APPEND
	}
	f, err := e.Open(flags)
	if err != nil {
		return nil, err
	}
	if err := t.modify(e, put); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// modify gives an existing file the owner and mode that it is to take over.
func (t *Tree) modify(e *fs.Entry, put Put) error {
	uid, gid := -1, -1
	var err error
	if slices.Contains(put.Change, "uid") {
		if uid, err = t.outside(put.UID); err != nil {
			return err
		}
	}
	if slices.Contains(put.Change, "gid") {
		if gid, err = t.outside(put.GID); err != nil {
			return err
		}
	}
	mode := e.Stat.Mode
	if err := e.Chown(uid, gid); err != nil {
		return err
	}
	if slices.Contains(put.Change, "mode") && put.Mode >= 0 {
		return e.Chmod(uint32(put.Mode))
	}
	if (uid >= 0 || gid >= 0) && mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		return e.Chmod(mode) // the kernel drops these bits with the owner
	}
	return nil
}

func (t *Tree) putFolder(p string, o fs.Owner) error {
	err := t.Root.Mkdir(p, o)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	e, err := t.Root.Follow(p)
	if err != nil {
		return err
	}
	defer e.Close()
	if !e.Is(unix.S_IFDIR) {
		return errs.Newf(errs.Invalid, "%s exists and is no directory", p)
	}
	return nil
}

func (t *Tree) putLink(p string, put Put, o fs.Owner) error {
	b, err := io.ReadAll(io.LimitReader(put.Content, maxTarget))
	if err != nil {
		return err
	}
	target := string(b)
	if target == "" || len(target) >= maxTarget || strings.ContainsRune(target, 0) {
		return errs.Newf(errs.Invalid, "the target of a link must be 1 to %d bytes without a NUL character", maxTarget-1)
	}
	err = t.Root.Symlink(target, p, o)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	e, err := t.Root.Find(p)
	if err != nil {
		return err
	}
	defer e.Close()
	if there, err := e.Readlink(); err != nil || there != target {
		return errs.Newf(errs.Invalid, "%s exists and is not a link to %s: delete it first", p, target)
	}
	return nil
}

// Delete removes a plain file, a link or an empty folder.
func (t *Tree) Delete(p string) error { return classify(p, t.Root.Unlink(p)) }
