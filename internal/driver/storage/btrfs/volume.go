package btrfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/host/idmap"
	"lxd/internal/storage"
)

// ownersFile says in a volume whom its files belong to. Only volumes whose owners are not those inside have it.
const ownersFile = "owners.json"

type fill = func(ctx context.Context, root string) error

// Create makes v with what fill writes, or with an empty root.
func (p *pool) Create(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	folder, path, err := p.path(v)
	if err != nil {
		return err
	}
	defer p.locks.Write(folder)()
	if err := free(path, v); err != nil {
		return err
	}
	return p.build(v, p.filled(ctx, v, fill), func(stage string) error { return p.place(stage, folder, v) })
}

// Fill gives a volume other content, or makes a snapshot of what fill writes.
func (p *pool) Fill(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	folder, path, err := p.path(v)
	if err != nil {
		return err
	}
	defer p.locks.Write(folder)()
	if err := missing(filepath.Join(folder, content), v.At("")); err != nil {
		return err
	}
	if v.Snapshot == "" {
		return p.build(v, p.filled(ctx, v, fill), func(stage string) error { return p.exchange(stage, folder) })
	}
	if err := free(path, v); err != nil {
		return err
	}
	return p.build(v, p.filled(ctx, v, fill), func(stage string) error { return p.place(stage, folder, v) })
}

// filled makes a subvolume at path with what fill writes.
func (p *pool) filled(ctx context.Context, v storage.Volume, fill fill) func(path string) error {
	return func(path string) error {
		if err := btrfs.Create(path); err != nil {
			return err
		}
		if fill != nil {
			if err := fill(ctx, path); err != nil {
				return err
			}
		}
		if err := tree.Settle(path, ownersFile, ownersFile+".new"); err != nil {
			return err
		}
		return p.give(ctx, path, v.IDMap)
	}
}

// build has a volume's folder made out of sight, with the subvolume that fill makes, and then put into its place.
func (p *pool) build(v storage.Volume, fill func(path string) error, place func(stage string) error) (err error) {
	stage, err := os.MkdirTemp(filepath.Join(p.dir, tmp), "new-")
	if err != nil {
		return tree.Full(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(tree.Full(err), p.bin(stage))
		}
	}()
	if err := os.Chmod(stage, 0o711); err != nil {
		return err
	}
	path := filepath.Join(stage, content)
	if err := fill(path); err != nil {
		return err
	}
	if err := tree.Guard(path, v.Type, v.IDMap); err != nil {
		return err
	}
	return place(stage)
}

// place puts a volume that was built into the folder of its name, or a snapshot into that of its volume.
func (p *pool) place(stage, folder string, v storage.Volume) error {
	if v.Snapshot == "" {
		return rename(stage, folder, unix.RENAME_NOREPLACE)
	}
	if err := keepFolder(folder); err != nil {
		return err
	}
	from, to := filepath.Join(stage, content), filepath.Join(folder, snapshots, v.Snapshot)
	if err := rename(from, to, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	p.scrap(stage)
	return btrfs.Seal(to, true)
}

// exchange puts the subvolume that was built into the place of a volume's, whose quota it takes over.
func (p *pool) exchange(stage, folder string) error {
	made, path := filepath.Join(stage, content), filepath.Join(folder, content)
	q, err := btrfs.Usage(path)
	if err == nil {
		err = btrfs.Limit(made, q.Limit)
	}
	if err != nil && !errors.Is(err, btrfs.ErrNoQuota) && !errors.Is(err, unix.EPERM) {
		return err
	}
	if err := rename(made, path, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	p.scrap(stage)
	return nil
}

func rename(from, to string, flags uint) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	return nil
}

// Delete removes v, in whatever state it is, and its snapshots.
func (p *pool) Delete(_ context.Context, v storage.Volume) error {
	folder, path, err := p.path(v)
	if err != nil {
		return err
	}
	defer p.locks.Write(folder)()
	if v.Snapshot == "" {
		path = folder
	} else if err := btrfs.Seal(path, false); err != nil && !errors.Is(err, os.ErrNotExist) { // as it is, it could not move
		return err
	}
	return p.bin(path)
}

// bin moves a folder or subvolume to the trash, which is emptied in the background. A missing one is no error.
func (p *pool) bin(path string) error {
	to, err := p.discard(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	p.drop(to)
	return nil
}

// scrap is bin for what is not needed any more: if it cannot move it goes from where it is.
func (p *pool) scrap(path string) {
	if p.bin(path) != nil {
		p.drop(path)
	}
}

// discard moves something to the trash, under a name that nothing there has.
func (p *pool) discard(path string) (string, error) {
	if _, err := os.Lstat(path); err != nil {
		return "", err
	}
	slot, err := os.MkdirTemp(filepath.Join(p.dir, trash), "")
	if err != nil {
		// A full disk must not keep anybody from deleting: the trash itself is there already.
		slot = filepath.Join(p.dir, trash, strings.ReplaceAll(strings.TrimPrefix(path, p.dir+"/"), "/", "-"))
		return slot, os.Rename(path, slot)
	}
	if err := os.Rename(path, filepath.Join(slot, "v")); err != nil {
		return "", errors.Join(err, os.Remove(slot))
	}
	return slot, nil
}

// drop removes what nobody else reaches any more, in the background. A program that a daemon started before it died may still be about to
// end, and write there until then.
func (p *pool) drop(path string) {
	p.work.Go(func() {
		err := destroy(path)
		for wait := 10 * time.Millisecond; err != nil && wait < 3*time.Second; wait *= 2 {
			time.Sleep(wait)
			err = destroy(path)
		}
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = errors.Join(p.failed, fmt.Errorf("emptying the trash: %w", err))
		}
	})
}

// destroy deletes a subvolume, or a folder of ours with the subvolumes in it.
func destroy(path string) error {
	sub, err := btrfs.IsSubvolume(path)
	switch {
	case err != nil:
		return err
	case sub:
		return btrfs.Destroy(path)
	}
	return remove(path)
}

// Mount gives the files the owners that v asks for where that is needed; the content is visible all the time.
func (p *pool) Mount(ctx context.Context, v storage.Volume) (m storage.Mounted, err error) {
	folder, path, err := p.path(v)
	if err != nil {
		return m, err
	}
	defer p.locks.Write(folder)()
	if err := missing(path, v); err != nil {
		return m, err
	}
	o, err := readOwners(path)
	if err != nil {
		return m, err
	}
	switch {
	case v.Snapshot != "":
		err = btrfs.Seal(path, true) // a crash may have come before
	case v.Type != storage.ImageVolume:
		if o.Shifted || !p.maps {
			err = p.own(ctx, path, v.IDMap, &o)
		}
		if err == nil {
			err = tree.Guard(path, v.Type, v.IDMap)
		}
	}
	if err != nil {
		return m, tree.Full(err)
	}
	return storage.Mounted{Path: path, Root: filepath.Join(path, tree.Root), Shifted: o.Shifted}, nil
}

// Unmount has nothing to do: nothing was mounted.
func (p *pool) Unmount(_ context.Context, v storage.Volume) error {
	_, _, err := p.path(v)
	return err
}

// give gives the files of a volume under construction the owners of m at once where mounts cannot show them with others, as in a
// container.
func (p *pool) give(ctx context.Context, path string, m idmap.Map) error {
	if p.maps || len(m) == 0 {
		return nil
	}
	o, err := readOwners(path)
	if err != nil || o.Shifted {
		return err
	}
	return p.own(ctx, path, m, &o)
}

// own moves the owners of a volume's files to m.
func (p *pool) own(ctx context.Context, path string, m idmap.Map, o *tree.Owners) error {
	err := o.Move(ctx, filepath.Join(path, tree.Root), m, func() error { return writeOwners(path, *o) })
	if err != nil {
		return fmt.Errorf("changing the owners of %s: %w", path, err)
	}
	return nil
}

func readOwners(path string) (o tree.Owners, err error) {
	b, err := os.ReadFile(filepath.Join(path, ownersFile))
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		return o, errs.Newf(errs.Internal, "who owns the files of %s cannot be read: %w", path, err)
	}
	return o, nil
}

// writeOwners is on disk when it returns: the files of a volume must not be moved by a note that was lost.
func writeOwners(path string, o tree.Owners) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	file := filepath.Join(path, ownersFile)
	if err := tree.ReplaceFile(file, b); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// keepFolder makes the folder that has a volume's snapshots.
func keepFolder(folder string) error {
	if err := os.Mkdir(filepath.Join(folder, snapshots), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
