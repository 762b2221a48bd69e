package fs

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// meta is what an entry has besides its content.
type meta struct {
	uid, gid int
	mode     uint32
	mtime    unix.Timespec
	attrs    map[string]string
	// owner is false when owners are left as they are made.
	owner bool
}

// paxAttr is where GNU tar and others keep extended attributes.
const paxAttr = "SCHILY.xattr."

// metaOf reads an archive entry's meta; skipped counts the attributes that are not taken over.
func metaOf(h *tar.Header, unprivileged bool) (m meta, skipped int64, err error) {
	const top = 1<<32 - 2
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > top || int64(h.Gid) > top {
		return m, 0, errs.Newf(errs.Invalid, "archive entry %q has the impossible owner %d:%d", h.Name, h.Uid, h.Gid)
	}
	m = meta{uid: h.Uid, gid: h.Gid, mode: uint32(h.Mode) & 0o7777, mtime: timespec(h.ModTime), owner: !unprivileged}
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, paxAttr)
		if !ok {
			continue
		}
		if !attrAllowed(name) || unprivileged && !strings.HasPrefix(name, "user.") {
			skipped++
			continue
		}
		if m.attrs == nil {
			m.attrs = map[string]string{}
		}
		m.attrs[name] = v
	}
	return m, skipped, nil
}

// shift gives m the ids that to says, along with those in its attributes.
func (m *meta) shift(to Mapping) error {
	if to == nil {
		return nil
	}
	id := func(id uint32) (uint32, error) {
		n, err := to(id)
		return n, errs.As(errs.Invalid, err)
	}
	uid, err := id(uint32(m.uid))
	if err != nil {
		return err
	}
	gid, err := id(uint32(m.gid))
	if err != nil {
		return err
	}
	m.uid, m.gid = int(uid), int(gid)
	for k, v := range m.attrs {
		switch k {
		case capability:
			m.attrs[k], err = mapCapability(v, id)
		case aclAccess, aclDefault:
			m.attrs[k], err = mapACL(v, id, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// metaSize is about what a meta takes, and its place in a map.
const metaSize = 128

// size is about how much memory m takes.
func (m meta) size() int64 {
	n := int64(metaSize)
	for k, v := range m.attrs {
		n += int64(len(k) + len(v))
	}
	return n
}

// attrAllowed says which attributes a tree may bring along: those that a container could set itself. trusted.* would steer the
// overlay that the tree becomes a layer of, security labels the host's own policy.
func attrAllowed(name string) bool {
	switch name {
	case capability, aclAccess, aclDefault:
		return true
	}
	return strings.HasPrefix(name, "user.")
}

// applyFd sets all of m on an open file or folder: the owner first, since a change of it drops set-user-id bits and capabilities; the mode
// after the attributes, since it may forbid writing them.
func (m meta) applyFd(fd int) error {
	if m.owner {
		if err := unix.Fchown(fd, m.uid, m.gid); err != nil {
			return err
		}
	}
	for name, v := range m.attrs {
		if err := attrError(name, unix.Fsetxattr(fd, name, []byte(v), 0)); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return err
	}
	return utimes(fd, "", m.mtime, unix.AT_EMPTY_PATH)
}

// applyAt does the same for an entry that is not opened: a link, pipe or node. A link has neither mode nor user attributes.
func (m meta) applyAt(dir int, base string) error {
	if m.owner {
		if err := unix.Fchownat(dir, base, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	err := unix.Fchmodat(dir, base, m.mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return utimes(dir, base, m.mtime, unix.AT_SYMLINK_NOFOLLOW)
}

// attrError lets attributes go that the file system cannot keep, as tar does; others are errors.
func attrError(name string, err error) error {
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP):
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
		return errs.Newf(errs.Invalid, "has a malformed attribute %s", name)
	}
	return fmt.Errorf("set attribute %s: %w", name, err)
}

func timespec(t time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return unix.Timespec{} // a time that the kernel cannot hold is as good as none
	}
	return ts
}

func utimes(dir int, path string, t unix.Timespec, flags int) error {
	return unix.UtimesNanoAt(dir, path, []unix.Timespec{t, t}, flags)
}

// harmless tells whether a node is one that every container is given anyway. The console is not: a container has a terminal in its
// place, while the node is the host's.
func harmless(h *tar.Header) bool {
	if h.Typeflag != tar.TypeChar {
		return false
	}
	switch [2]int64{h.Devmajor, h.Devminor} {
	case [2]int64{1, 3}, [2]int64{1, 5}, [2]int64{1, 7}, [2]int64{1, 8}, [2]int64{1, 9}, [2]int64{5, 0}, [2]int64{5, 2}:
		return true
	}
	return false
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}
