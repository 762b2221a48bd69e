package btrfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/storage"
)

// Clone makes to a snapshot of from, which shares its bytes but depends on nothing.
func (p *pool) Clone(ctx context.Context, from, to storage.Volume) (dependent bool, err error) {
	source, origin, err := p.path(from)
	if err != nil {
		return false, err
	}
	folder, path, err := p.path(to)
	if err != nil {
		return false, err
	}
	if origin == path {
		return false, errs.Newf(errs.Invalid, "volume %q cannot be a copy of itself", to.Name)
	}
	defer p.lock(source, folder)()
	if err := missing(origin, from); err != nil {
		return false, err
	}
	if to.Snapshot != "" {
		if err := missing(filepath.Join(folder, content), to.At("")); err != nil {
			return false, err
		}
	}
	if err := free(path, to); err != nil {
		return false, err
	}
	if to.Snapshot != "" {
		if done, err := p.keep(origin, folder, to); done || err != nil {
			return false, tree.Full(err)
		}
	}
	copied := func(path string) error { return p.copied(ctx, origin, path, to) }
	return false, p.build(to, copied, func(stage string) error { return p.place(stage, folder, to) })
}

// copied makes a volume of the subvolume at origin. It has no quota: what it is cloned from may have one.
func (p *pool) copied(ctx context.Context, origin, path string, v storage.Volume) error {
	if err := btrfs.Snapshot(origin, path); err != nil {
		return err
	}
	if err := btrfs.Limit(path, 0); err != nil && !errors.Is(err, btrfs.ErrNoQuota) && !errors.Is(err, unix.EPERM) {
		return err
	}
	return p.give(ctx, path, v.IDMap)
}

// lock takes two volumes, always in the same order.
func (p *pool) lock(read, write string) (unlock func()) {
	if read == write {
		return p.locks.Write(write)
	}
	var first, second func()
	if read < write {
		first, second = p.locks.Read(read), p.locks.Write(write)
	} else {
		first, second = p.locks.Write(write), p.locks.Read(read)
	}
	return func() { second(); first() }
}

// Snapshot keeps what the volume holds.
func (p *pool) Snapshot(ctx context.Context, v storage.Volume) error {
	_, err := p.Clone(ctx, v.At(""), v)
	return err
}

// keep makes a snapshot in one step, which is not possible if there are subvolumes within.
func (p *pool) keep(origin, folder string, v storage.Volume) (done bool, err error) {
	within, err := btrfs.Within(origin)
	if err != nil || len(within) > 0 {
		return false, err
	}
	if err := keepFolder(folder); err != nil {
		return false, err
	}
	return true, btrfs.SnapshotReadOnly(origin, filepath.Join(folder, snapshots, v.Snapshot))
}

// Restore makes a copy of the snapshot and puts it into the volume's place, all at once.
func (p *pool) Restore(ctx context.Context, v storage.Volume) error {
	folder, path, err := p.path(v)
	if err != nil {
		return err
	}
	defer p.locks.Write(folder)()
	if err := missing(path, v); err != nil {
		return err
	}
	whole := v.At("")
	copied := func(to string) error { return p.copied(ctx, path, to, whole) }
	return p.build(whole, copied, func(stage string) error { return p.exchange(stage, folder) })
}

// Snapshots lists v's snapshots.
func (p *pool) Snapshots(_ context.Context, v storage.Volume) (names []string, err error) {
	folder, path, err := p.path(v.At(""))
	if err != nil {
		return nil, err
	}
	if err := missing(path, v.At("")); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(folder, snapshots))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Rename moves the folder of a volume, with its snapshots in it, or a snapshot.
func (p *pool) Rename(_ context.Context, from, to storage.Volume) error {
	source, origin, err := p.path(from)
	if err != nil {
		return err
	}
	folder, path, err := p.path(to)
	if err != nil {
		return err
	}
	whole := from.Snapshot == "" && to.Snapshot == "" && from.Type == to.Type
	if !whole && (source != folder || from.Snapshot == "" || to.Snapshot == "") {
		return errs.Newf(errs.Invalid, "volume %q of type %q cannot become %q of type %q: the type stays, and a snapshot stays with its volume", from.Name, from.Type, to.Name, to.Type)
	}
	if origin == path {
		return missing(origin, from)
	}
	first, second := min(source, folder), max(source, folder)
	defer p.locks.Write(first)()
	if first != second {
		defer p.locks.Write(second)()
	}
	if done, err := renamed(missing(origin, from), missing(path, to), free(path, to)); done || err != nil {
		return err
	}
	if whole {
		return rename(source, folder, unix.RENAME_NOREPLACE)
	}
	return rename(origin, path, unix.RENAME_NOREPLACE)
}

// renamed judges what there is of the old name and the new one: from and to say what is missing, taken that something has the new name.
func renamed(from, to, taken error) (done bool, err error) {
	switch {
	case from != nil && errs.Is(from, errs.NotFound) && to == nil:
		return true, nil
	case from != nil:
		return false, from
	}
	return false, taken
}
