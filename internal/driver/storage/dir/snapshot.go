package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// noID stands for the ID of a volume that has no snapshots; no folder is called so.
const noID = "-"

// snapshotPath is the folder of a snapshot of the volume in that folder.
func (p *pool) snapshotPath(volume string, v storage.Volume) (string, error) {
	if v.Snapshot[0] == '.' || filepath.Base(v.Snapshot) != v.Snapshot || len(v.Snapshot) > unix.NAME_MAX {
		return "", errs.Newf(errs.Invalid, "snapshot name %q is not possible on a \"dir\" pool", v.Snapshot)
	}
	s, err := readState(volume)
	if errors.Is(err, os.ErrNotExist) {
		return "", noSnapshot(v)
	}
	if err != nil {
		return "", err
	}
	id := s.ID
	if id == "" {
		id = noID
	}
	return filepath.Join(p.dir, snapshots, id, v.Snapshot), nil
}

func noSnapshot(v storage.Volume) error {
	return errs.Newf(errs.NotFound, "snapshot %q of volume %q is not in the storage pool", v.Snapshot, v.Name)
}

// Snapshot copies the volume's own files: its layer, or all of a plain one.
func (p *pool) Snapshot(ctx context.Context, v storage.Volume) error {
	_, err := p.Clone(ctx, v.At(""), v)
	return err
}

// identify gives the volume that to is to be a snapshot of an ID, if it has none.
func (p *pool) identify(to storage.Volume) error {
	if to.Snapshot == "" {
		return nil
	}
	path, err := p.whole(to)
	if err != nil {
		return err
	}
	defer p.locks.Write(path)()
	_, s, err := p.find(to.At(""))
	if err != nil {
		return err
	}
	if s.ID != "" {
		return mkdir(filepath.Join(p.dir, snapshots, s.ID)) // a crash may have come before
	}
	folder, err := os.MkdirTemp(filepath.Join(p.dir, snapshots), "")
	if err != nil {
		return tree.Full(err)
	}
	s.ID = filepath.Base(folder)
	return tree.Full(s.write(path))
}

func mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Snapshots lists v's snapshots.
func (p *pool) Snapshots(ctx context.Context, v storage.Volume) (names []string, err error) {
	_, s, err := p.find(v.At(""))
	if err != nil || s.ID == "" {
		return nil, err
	}
	err = p.states(ctx, filepath.Join(snapshots, s.ID), func(path string, _ state) error {
		names = append(names, filepath.Base(path))
		return nil
	})
	return names, err
}

// Restore copies the snapshot and puts the copy into the volume's place, all at once.
func (p *pool) Restore(ctx context.Context, v storage.Volume) error {
	whole := v.At("")
	path, err := p.path(whole)
	if err != nil {
		return err
	}
	source, err := p.path(v)
	if err != nil {
		return err
	}
	free, err := p.restore(ctx, v, path, source)
	return errors.Join(err, p.dropAll(ctx, []string{free}))
}

// restore does the work; free names the image that the volume lay on before.
func (p *pool) restore(ctx context.Context, v storage.Volume, path, source string) (free string, err error) {
	defer p.locks.Write(path)()
	defer p.locks.Read(source)()
	_, old, err := p.find(v.At(""))
	if err != nil {
		return "", err
	}
	_, kept, err := p.find(v)
	if err != nil {
		return "", err
	}
	whole := v.At("")
	err = p.stage(whole, func(stage string) (state, error) {
		s, err := p.clone(ctx, source, kept, stage, whole)
		s.ID = old.ID
		return s, err
	}, func(stage string) error { return p.exchange(stage, path) })
	return old.Source, err
}

// exchange puts the folder at stage into the place of a volume, and that into the trash.
func (p *pool) exchange(stage, path string) error {
	flushed, err := p.release(path)
	if err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, stage, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("put the restored volume into %s: %w", path, err)
	}
	old, err := p.discard(stage)
	if err != nil {
		return nil //nolint:nilerr // the volume is restored; the old one is cleared away when the pool is opened
	}
	p.remove(old, flushed)
	return nil
}

// Rename moves the folder of a volume or snapshot; the state within is changed first, so that a crash leaves what Rename can go on with.
func (p *pool) Rename(_ context.Context, from, to storage.Volume) error {
	source, err := p.path(from)
	if err != nil {
		return err
	}
	path, err := p.path(to)
	if err != nil {
		return err
	}
	if filepath.Dir(source) != filepath.Dir(path) {
		return errs.Newf(errs.Invalid, "volume %q of type %q cannot become %q of type %q: the type stays, and a snapshot stays with its volume", from.Name, from.Type, to.Name, to.Type)
	}
	first, second := source, path
	if second < first { // always in this order: two renames that cross do not wait for each other
		first, second = second, first
	}
	defer p.locks.Write(first)()
	if first != second {
		defer p.locks.Write(second)()
	}
	return p.rename(source, path, from, to)
}

func (p *pool) rename(source, path string, from, to storage.Volume) error {
	_, s, err := p.find(from)
	if errs.Is(err, errs.NotFound) {
		missing := err
		if _, s, err = p.find(to); errs.Is(err, errs.NotFound) {
			return missing
		}
		source = path
	}
	if err != nil {
		return err
	}
	if _, err := readState(path); source != path && !errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.Conflict, "volume %q already exists in the storage pool", filepath.Join(to.Name, to.Snapshot))
	}
	if _, err := p.release(source); err != nil {
		return err
	}
	if s.Project, s.Name = to.Project, to.Name; to.Snapshot == "" {
		if err := s.write(source); err != nil {
			return tree.Full(err)
		}
	}
	if source == path {
		return nil
	}
	return unix.Renameat2(unix.AT_FDCWD, source, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
}

// binSnapshots moves all snapshots of a volume that is gone to the trash; free names the images that they lay on.
func (p *pool) binSnapshots(ctx context.Context, id string) (free []string, err error) {
	folder := filepath.Join(p.dir, snapshots, id)
	err = p.states(ctx, filepath.Join(snapshots, id), func(path string, s state) error {
		free = append(free, s.Source)
		_, err := p.release(path)
		return err
	})
	if err != nil {
		return free, err
	}
	if _, err := os.Lstat(folder); errors.Is(err, os.ErrNotExist) {
		return free, nil
	}
	to, err := p.discard(folder)
	if err != nil {
		return free, err
	}
	p.remove(to, nil)
	return free, nil
}

// sweepSnapshots removes the snapshots of volumes that are gone. As long as the state of any volume cannot be read they stay.
func (p *pool) sweepSnapshots() error {
	all, err := os.ReadDir(filepath.Join(p.dir, snapshots))
	if err != nil || len(all) == 0 {
		return err
	}
	var owned []string
	for _, f := range tree.Folders {
		err := p.states(context.Background(), f, func(_ string, s state) error {
			owned = append(owned, s.ID)
			return nil
		})
		if err != nil {
			return nil //nolint:nilerr // who uses that volume is told
		}
	}
	for _, e := range all {
		if slices.Contains(owned, e.Name()) {
			continue
		}
		if _, err := p.binSnapshots(context.Background(), e.Name()); err != nil {
			return err
		}
	}
	return nil
}
