package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// Create makes v with what fill writes, or with an empty root.
func (p *pool) Create(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	path, err := p.path(v)
	if err != nil {
		return err
	}
	defer p.locks.Write(path)()
	back, err := p.revive(path, v)
	if back || err != nil {
		return err
	}
	return p.build(path, v, func(stage string) (state, error) { return p.filled(ctx, v, stage, fill) })
}

// filled has the content of a volume written.
func (p *pool) filled(ctx context.Context, v storage.Volume, stage string, fill func(ctx context.Context, root string) error) (state, error) {
	s := state{Type: v.Type, Project: v.Project, Name: v.Name}
	if fill != nil {
		if err := fill(ctx, stage); err != nil {
			return s, err
		}
	}
	if err := tree.Settle(stage, stateFile, stateFile+".new", upper, work, flat); err != nil {
		return s, err
	}
	return s, p.give(ctx, stage, v.IDMap, &s)
}

// Fill gives a volume other content, or makes a snapshot of what fill writes.
func (p *pool) Fill(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	if v.Snapshot != "" {
		if err := p.identify(v); err != nil {
			return err
		}
		return p.Create(ctx, v, fill)
	}
	path, err := p.path(v)
	if err != nil {
		return err
	}
	free, err := p.refill(ctx, path, v, fill)
	return errors.Join(err, p.dropAll(ctx, []string{free}))
}

// refill puts a new folder into the place of the volume's; free names the image that the volume lay on.
func (p *pool) refill(ctx context.Context, path string, v storage.Volume, fill func(ctx context.Context, root string) error) (free string, err error) {
	defer p.locks.Write(path)()
	_, old, err := p.find(v)
	if err != nil {
		return "", err
	}
	err = p.stage(v, func(stage string) (state, error) {
		s, err := p.filled(ctx, v, stage, fill)
		s.ID = old.ID
		return s, err
	}, func(stage string) error { return p.exchange(stage, path) })
	if err != nil {
		return "", err
	}
	return old.Source, nil
}

// give gives the files of a volume under construction the owners of m at once where mounts cannot show them with others, as in a
// container. Nobody resumes this: a half-made volume is removed.
func (p *pool) give(ctx context.Context, stage string, m idmap.Map, s *state) error {
	if p.ability.maps || s.Shifted || len(m) == 0 {
		return nil
	}
	s.Shifted, s.Map = true, m
	return fs.Reown(ctx, filepath.Join(stage, rootfs), idmap.Map(nil).Shift(m))
}

// revive shows an image volume again that was deleted but is still there for others. Any other volume that exists is a Conflict.
func (p *pool) revive(path string, v storage.Volume) (bool, error) {
	s, err := readState(path)
	if errors.Is(err, os.ErrNotExist) {
		if _, e := os.Lstat(path); e == nil {
			return false, errs.Newf(errs.Conflict, "folder %s is in the way of volume %q and is none of ours: move it away", path, v.Name)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !s.Hidden && v.Snapshot != "" {
		return false, errs.Newf(errs.Conflict, "snapshot %q of volume %q already exists in the storage pool", v.Snapshot, v.Name)
	}
	if !s.Hidden {
		return false, errs.Newf(errs.Conflict, "volume %q of type %q already exists in the storage pool", v.Name, v.Type)
	}
	s.Hidden = false
	return true, s.write(path)
}

// build has the volume's folder made out of sight and then moves it to path.
func (p *pool) build(path string, v storage.Volume, fill func(stage string) (state, error)) error {
	return p.stage(v, fill, func(stage string) error {
		if err := unix.Renameat2(unix.AT_FDCWD, stage, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("move the new volume to %s: %w", path, err)
		}
		return nil
	})
}

// stage has a volume's folder made out of sight and then put into its place.
func (p *pool) stage(v storage.Volume, fill func(stage string) (state, error), place func(stage string) error) (err error) {
	stage, err := os.MkdirTemp(filepath.Join(p.dir, tmp), "new-")
	if err != nil {
		return tree.Full(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(tree.Full(err), mount.UnmountBelow(stage), fs.RemoveAll(stage))
		}
	}()
	s, err := fill(stage)
	if err != nil {
		return err
	}
	if err := s.write(stage); err != nil {
		return err
	}
	owner := v.IDMap
	if v.Snapshot != "" {
		owner = nil // no machine uses it
	}
	if err := tree.Guard(stage, v.Type, owner); err != nil {
		return err
	}
	return place(stage)
}

// ability is what the host and the pool's file system can do.
type ability struct {
	// maps says that mounts can show other owners; layers that a folder can be stacked on a mapped image.
	maps, layers bool
}

// probe tries it out.
func (p *pool) probe() (a ability, err error) {
	stage, err := os.MkdirTemp(filepath.Join(p.dir, tmp), "probe-")
	if err != nil {
		return a, tree.Full(err)
	}
	defer func() { err = errors.Join(err, mount.UnmountBelow(stage), fs.RemoveAll(stage)) }()
	for _, f := range []string{"image", "image/" + rootfs, upper, work, rootfs} {
		if err := os.Mkdir(filepath.Join(stage, f), 0o700); err != nil {
			return a, err
		}
	}
	image, err := p.mapped(filepath.Join(stage, "image", rootfs), idmap.Default())
	if err != nil {
		return a, nil //nolint:nilerr // not being able to is an answer
	}
	defer image.Close()
	a.maps = true
	o := mount.Overlay{Lower: image, Stage: filepath.Join(stage, "image"), Upper: filepath.Join(stage, upper), Work: filepath.Join(stage, work), Options: options()}
	t, err := o.Make()
	if err != nil {
		return a, nil //nolint:nilerr // likewise
	}
	a.layers = true
	return a, t.Close()
}
