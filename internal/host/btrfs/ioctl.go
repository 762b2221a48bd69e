package btrfs

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of the kernel's interface (linux/btrfs.h, linux/btrfs_tree.h).
const (
	opResize      = 3
	opTreeSearch  = 17
	opSnapshot    = 23
	opCreate      = 24
	opGetFlags    = 25
	opSetFlags    = 26
	opDestroy     = 63
	opQuota       = 40
	opQgroupMake  = 42
	opQgroupLimit = 43
	opRescanWait  = 46
	opInfo        = 60
	opRootRefs    = 61
	opInodeLookup = 62

	flagReadOnly = 1 << 1

	// firstInode is the number of the top folder of every subvolume.
	firstInode = 256
	// magic tells the file system in statfs.
	magic = 0x9123683e
)

// request is the number of an ioctl with an argument of that size; way is 0, or the sum of 1 (the kernel reads) and 2 (it writes).
func request(way, op, size uintptr) uintptr { return way<<30 | size<<16 | 0x94<<8 | op }

const (
	in  = 1
	out = 2
)

// call runs an ioctl with the argument that arg points to.
func call[T any](f *os.File, way, op uintptr, arg *T) error {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request(way, op, unsafe.Sizeof(*arg)), uintptr(unsafe.Pointer(arg)))
	runtime.KeepAlive(f)
	if e != 0 {
		return e
	}
	return nil
}

// nameArgs is struct btrfs_ioctl_vol_args_v2.
type nameArgs struct {
	fd    int64
	_     uint64
	flags uint64
	_     [4]uint64
	name  [4040]byte
}

// resizeArgs is struct btrfs_ioctl_vol_args.
type resizeArgs struct {
	_    int64
	name [4088]byte
}

// infoArgs is struct btrfs_ioctl_get_subvol_info_args.
type infoArgs struct {
	treeID uint64
	_      [256]byte
	_      [4]uint64
	_      [3][16]byte
	_      [4]uint64
	_      [4][2]uint64
	_      [8]uint64
}

// rootRefArgs is struct btrfs_ioctl_get_subvol_rootref_args.
type rootRefArgs struct {
	from uint64
	refs [255]struct{ tree, dir uint64 }
	n    uint8
	_    [7]byte
}

// lookupArgs is struct btrfs_ioctl_ino_lookup_user_args.
type lookupArgs struct {
	dir, tree uint64
	name      [256]byte
	path      [3824]byte
}

// searchArgs is struct btrfs_ioctl_search_args.
type searchArgs struct {
	tree                 uint64
	minObject, maxObject uint64
	minOffset, maxOffset uint64
	_, maxTransid        uint64
	minType, maxType     uint32
	items, _             uint32
	_                    [4]uint64
	buf                  [3992]byte
}

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
