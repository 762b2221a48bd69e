package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mapping gives an id its new value, or fails when it has none.
type Mapping func(id uint32) (uint32, error)

// Reown gives every file of the tree at path, path included, the owner that to says, along with the ids in its capabilities and access
// lists. Set-user-id bits and capabilities survive. No link is followed and no mount is entered. It can be run again after a crash if the
// mapping gives an id that is already new back as it is.
func Reown(ctx context.Context, path string, to Mapping) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "reown", Path: path, Err: err}
	}
	defer unix.Close(dir)
	r := reowner{ctx: ctx, to: to, done: map[inode]bool{}}
	return r.entry(dir, filepath.Base(path), path)
}

type reowner struct {
	ctx  context.Context
	to   Mapping
	done map[inode]bool // files with several names, so that none is mapped twice
}

func (r *reowner) entry(dir int, name, path string) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("reown %s: %w", path, err)
	}
	folder := st.Mode&unix.S_IFMT == unix.S_IFDIR
	id := inode{st.Dev, st.Ino}
	if !folder && st.Nlink > 1 {
		if r.done[id] {
			return nil
		}
		r.done[id] = true
	}
	if folder {
		if err := r.below(dir, name, path); err != nil {
			return err
		}
	}
	if err := r.own(dir, name, st); err != nil {
		return fmt.Errorf("reown %s: %w", path, err)
	}
	return nil
}

func (r *reowner) below(dir int, name, path string) error {
	if err := tooDeep(path); err != nil {
		return err
	}
	fd, err := openat2(dir, name, strictFolder())
	if err != nil {
		return fmt.Errorf("reown %s: %w", path, err)
	}
	defer unix.Close(fd)
	entries, err := list(fd, -1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := r.entry(fd, e.Name(), filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// own changes one entry. Its attributes are read first, since a change of owner drops some, and written after.
func (r *reowner) own(dir int, name string, st unix.Stat_t) error {
	uid, err := r.to(st.Uid)
	if err != nil {
		return err
	}
	gid, err := r.to(st.Gid)
	if err != nil {
		return err
	}
	// The path through the descriptor reaches the entry itself, of whatever type, without opening it.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	attrs, err := r.attrs(path)
	if err != nil {
		return err
	}
	if err := unix.Fchownat(dir, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		if err := unix.Fchmodat(dir, name, st.Mode&0o7777, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	for k, v := range attrs {
		if err := unix.Lsetxattr(path, k, []byte(v), 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", k, err)
		}
	}
	return nil
}

// attrs are the attributes that hold ids, mapped.
func (r *reowner) attrs(path string) (map[string]string, error) {
	all := map[string]string{}
	for _, k := range []string{capability, aclAccess, aclDefault} {
		b, err := grow(func(b []byte) (int, error) { return unix.Lgetxattr(path, k, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, err := mapACL(string(b), r.to, r.to)
		if k == capability {
			v, err = mapCapability(string(b), r.to)
		}
		if err != nil {
			return nil, err
		}
		all[k] = v
	}
	return all, nil
}
