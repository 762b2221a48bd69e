package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Trees and items of the kernel's that quotas are kept in.
const (
	rootTree    = 1
	quotaTree   = 8
	rootItem    = 132
	statusItem  = 240
	infoItem    = 242
	limitItem   = 244
	limitRefer  = 1
	quotaEnable = 1
)

// Quota is what is counted of one subvolume.
type Quota struct {
	// Used is the bytes that the subvolume refers to, Own those that nothing else shares. Both are as of the last commit.
	Used, Own int64
	// Limit is the most that Used may be; 0 means none.
	Limit int64
}

// ErrNoQuota says that the file system does not count what its subvolumes use.
var ErrNoQuota = errors.New("quotas are off on this btrfs file system")

// EnableQuota has the file system at path count what its subvolumes use, and waits until what is there already was counted.
func EnableQuota(path string) error {
	f, err := folder(path)
	if err != nil {
		return err
	}
	defer f.Close()
	on, err := counts(f)
	if err != nil || on {
		return err
	}
	a := struct{ cmd, status uint64 }{cmd: quotaEnable}
	if err := call(f, in|out, opQuota, &a); err != nil {
		return &os.PathError{Op: "enable quotas on", Path: path, Err: err}
	}
	for {
		err := call(f, 0, opRescanWait, (*[0]byte)(nil))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "count what is used on", Path: path, Err: err}
		}
		return nil
	}
}

// counts tells whether quotas are on.
func counts(f *os.File) (bool, error) {
	on := false
	err := search(f, searchArgs{tree: quotaTree, minType: statusItem, maxType: statusItem}, func(uint64, []byte) { on = true })
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return on, err
}

// Limit sets the most that the subvolume at path, which lies in another, may refer to; 0 takes the limit away. It fails with ErrNoQuota where quotas are off.
func Limit(path string, bytes int64) error {
	f, err := folder(path)
	if err != nil {
		return err
	}
	defer f.Close()
	id, err := idOf(f)
	if err != nil {
		return err
	}
	// asked of the subvolume itself this would need some of the space that it may have no more
	parent, err := folder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	a := struct{ group, flags, refer, exclusive, _, _ uint64 }{group: id, flags: limitRefer, refer: uint64(bytes)}
	if bytes <= 0 {
		a.refer = math.MaxUint64
	}
	err = call(parent, out, opQgroupLimit, &a)
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		if on, e := counts(f); e == nil && !on {
			return ErrNoQuota
		}
	}
	if err != nil {
		return &os.PathError{Op: "limit", Path: path, Err: err}
	}
	return nil
}

// Usage is what is counted of the subvolume at path. It fails with ErrNoQuota where quotas are off.
func Usage(path string) (q Quota, err error) {
	f, err := folder(path)
	if err != nil {
		return q, err
	}
	defer f.Close()
	id, err := idOf(f)
	if err != nil {
		return q, err
	}
	found := false
	word := func(b []byte, i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	err = search(f, exactly(infoItem, id), func(_ uint64, b []byte) {
		if len(b) >= 40 { // generation, referenced, the same compressed, exclusive
			q.Used, q.Own, found = word(b, 1), word(b, 3), true
		}
	})
	if errors.Is(err, unix.ENOENT) || err == nil && !found {
		return q, ErrNoQuota
	}
	if err != nil {
		return q, err
	}
	return q, search(f, exactly(limitItem, id), func(_ uint64, b []byte) {
		if len(b) >= 40 && word(b, 0)&limitRefer != 0 { // flags, most referenced
			q.Limit = max(word(b, 1), 0)
		}
	})
}

// exactly finds what the quota tree has of one kind for one subvolume.
func exactly(kind uint32, id uint64) searchArgs {
	return searchArgs{tree: quotaTree, minType: kind, maxType: kind, minOffset: id, maxOffset: id}
}

// DropStaleQuotas forgets the counters of subvolumes that are gone, which older kernels leave.
func DropStaleQuotas(path string) error {
	f, err := folder(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var groups []uint64
	all := searchArgs{tree: quotaTree, minType: infoItem, maxType: infoItem, minOffset: firstInode, maxOffset: 1<<48 - 1}
	err = search(f, all, func(group uint64, _ []byte) { groups = append(groups, group) })
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	for _, g := range groups {
		there := false
		one := searchArgs{tree: rootTree, minObject: g, maxObject: g, minType: rootItem, maxType: rootItem, maxOffset: math.MaxUint64}
		if err == nil {
			err = search(f, one, func(uint64, []byte) { there = true })
		}
		if err != nil || there {
			continue
		}
		a := struct{ create, group uint64 }{group: g}
		// one that the kernel still needs goes the next time
		_ = call(f, in, opQgroupMake, &a)
	}
	return err
}

// search calls fn with the offset and content of what a tree of the file system has of one kind, between two objects and two offsets. It
// needs the rights of root on the host.
func search(f *os.File, want searchArgs, fn func(offset uint64, b []byte)) error {
	want.maxTransid = math.MaxUint64
	for {
		a := want
		a.items = math.MaxUint32
		if err := call(f, in|out, opTreeSearch, &a); err != nil {
			return &os.PathError{Op: "search", Path: f.Name(), Err: err}
		}
		if a.items == 0 {
			return nil
		}
		const head = 32 // transid, object, offset, type, length
		rest := a.buf[:]
		for range a.items {
			offset, n := binary.LittleEndian.Uint64(rest[16:]), binary.LittleEndian.Uint32(rest[28:])
			if uint64(n) > uint64(len(rest)-head) {
				return fmt.Errorf("search of %s: the kernel's answer is cut short", f.Name())
			}
			fn(offset, rest[head:head+n])
			rest, want.minOffset = rest[head+n:], offset+1
		}
		if want.minOffset == 0 || want.minOffset > want.maxOffset {
			return nil
		}
	}
}
