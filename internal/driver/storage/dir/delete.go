package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// Delete removes v, in whatever state it is, and its snapshots.
func (p *pool) Delete(ctx context.Context, v storage.Volume) error {
	path, err := p.path(v)
	if v.Snapshot != "" && errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	free, err := p.delete(ctx, path, v)
	return errors.Join(err, p.dropAll(ctx, free))
}

// dropAll removes those of the images that were deleted and that nothing depends on any more.
func (p *pool) dropAll(ctx context.Context, images []string) (err error) {
	seen := map[string]bool{"": true}
	for _, i := range images {
		if !seen[i] {
			seen[i] = true
			err = errors.Join(err, p.dropHidden(ctx, i))
		}
	}
	return err
}

// delete moves the volume's folder away; free names the images that it does not depend on any more.
func (p *pool) delete(ctx context.Context, path string, v storage.Volume) (free []string, err error) {
	defer p.locks.Write(path)()
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	s, stateErr := readState(path) // one that cannot be read does not keep the volume alive
	if v.Type == storage.ImageVolume {
		used, err := p.used(ctx, filepath.Base(path))
		if err != nil {
			return nil, err
		}
		if used {
			if stateErr != nil {
				return nil, stateErr
			}
			s.Hidden = true
			return nil, s.write(path)
		}
	}
	if err := p.bin(path); err != nil {
		return nil, err
	}
	free = []string{s.Source}
	if s.ID == "" {
		return free, nil
	}
	kept, err := p.binSnapshots(ctx, s.ID)
	return append(free, kept...), err
}

// bin unmounts the volume and moves it to the trash, which is emptied in the background.
func (p *pool) bin(path string) error {
	flushed, err := p.release(path)
	if err != nil {
		return err
	}
	to, err := p.discard(path)
	if err != nil {
		return err
	}
	p.remove(to, flushed)
	return nil
}

// discard moves a folder to the trash, under a name that nothing there has.
func (p *pool) discard(path string) (string, error) {
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

// remove deletes a folder in the trash in the background, once nothing writes to it any more.
func (p *pool) remove(path string, after <-chan struct{}) {
	p.work.Go(func() {
		if after != nil {
			<-after
		}
		err := fs.RemoveAll(path)
		if err != nil {
			err = errors.Join(mount.UnmountBelow(path), fs.RemoveAll(path))
		}
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = errors.Join(p.failed, fmt.Errorf("emptying the trash: %w", err))
		}
	})
}

// used tells whether a volume lies on the image of that folder name.
func (p *pool) used(ctx context.Context, image string) (used bool, err error) {
	look := func(_ string, s state) error {
		used = used || s.Source == image
		return nil
	}
	if err := p.states(ctx, tree.Folder(storage.ContainerVolume), look); err != nil || used {
		return used, err
	}
	kept, err := os.ReadDir(filepath.Join(p.dir, snapshots))
	for _, e := range kept {
		if err == nil && !used {
			err = p.states(ctx, filepath.Join(snapshots, e.Name()), look)
		}
	}
	return used, err
}

// dropHidden removes a deleted image that nothing depends on any more.
func (p *pool) dropHidden(ctx context.Context, image string) error {
	path := p.image(image)
	defer p.locks.Write(path)()
	s, err := readState(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !s.Hidden {
		return nil
	}
	if err != nil {
		return err
	}
	if used, err := p.used(ctx, image); err != nil || used {
		return err
	}
	return p.bin(path)
}
