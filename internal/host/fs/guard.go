package fs

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Guard keeps the rights of this process, who is root on the host, from being used on what those below a root may not use
// themselves. The tree of a running container holds more than its files: interfaces of the kernel, whose rules go by who asks,
// and folders of the host that were mounted for it.
type Guard struct {
	// Owned tells whether an id on the host belongs to the container: over such files its root has all rights, over others
	// those of anybody.
	Owned func(id uint32) bool

	// top is the root folder, above which nothing is checked.
	top unix.Stat_t
}

// Guarded makes all use of the root go by g.
func (r *Root) Guarded(g Guard) (*Root, error) {
	if err := unix.Fstat(int(r.dir.Fd()), &g.top); err != nil {
		return nil, &os.PathError{Op: "stat", Path: r.Name(), Err: err}
	}
	r.guard = &g
	return r, nil
}

// What is to be done with an entry, in the bits of its mode for others; owned is what only its owner may do.
const (
	readable = 4
	writable = 2
	passable = 1
	owned    = 8
)

// files are the file systems that hold files. On any other, such as proc, sysfs or cgroup2, what a file does is decided by the
// rights of whoever opens it.
var files = []int64{
	unix.OVERLAYFS_SUPER_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
	unix.F2FS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.ISOFS_SUPER_MAGIC, unix.UDF_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC,
	unix.EXFAT_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC,
	zfsMagic, bcachefsMagic,
}

const (
	zfsMagic      = 0x2fc12fc1
	bcachefsMagic = 0xca451a4e
)

// check fails if e may not be used so. A nil Guard allows everything.
func (g *Guard) check(e *Entry, want int) error {
	if g == nil {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(e.file.Fd()), &st); err != nil {
		return err
	}
	if !slices.Contains(files, int64(st.Type)) {
		return unix.EACCES
	}
	if g.mine(e.Stat) || want&owned == 0 && int(e.Stat.Mode)&want == want {
		return nil
	}
	return unix.EACCES
}

// mine tells whether the container's root has all rights over something.
func (g *Guard) mine(st unix.Stat_t) bool { return g.Owned(st.Uid) && g.Owned(st.Gid) }

// own fails if an entry of a folder with the sticky bit may not be renamed or removed.
func (g *Guard) own(dir, e *Entry) error {
	if g == nil || g.mine(dir.Stat) || g.mine(e.Stat) {
		return nil
	}
	return unix.EPERM
}

// enter fails if a folder cannot be passed through, or one of those above it in the same mount.
func (g *Guard) enter(dir *Entry) error {
	if g == nil {
		return nil
	}
	at, st := int(dir.file.Fd()), dir.Stat
	for first := true; ; first = false {
		up, above, err := g.above(at, st)
		if !first {
			err = errors.Join(err, unix.Close(at))
		}
		if err != nil || up < 0 {
			return err
		}
		at, st = up, above
	}
}

// above opens the folder above one that can be passed through; -1 is none, because the one below is the top of its mount or of all.
func (g *Guard) above(at int, st unix.Stat_t) (int, unix.Stat_t, error) {
	if !g.mine(st) && st.Mode&passable == 0 {
		return -1, st, unix.EACCES
	}
	if st.Dev == g.top.Dev && st.Ino == g.top.Ino {
		return -1, st, nil
	}
	up, err := openat2(at, "..", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY, Resolve: unix.RESOLVE_NO_XDEV})
	if errors.Is(err, unix.EXDEV) {
		return -1, st, nil
	}
	if err != nil {
		return -1, st, err
	}
	if err := unix.Fstat(up, &st); err != nil {
		return -1, st, errors.Join(err, unix.Close(up))
	}
	return up, st, nil
}
