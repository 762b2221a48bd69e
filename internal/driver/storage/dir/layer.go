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

// options are those of every layer.
//
// redirect_dir=on: renaming a folder of the image works as on any file system; the attribute that it is kept in cannot be set
// from inside. metacopy=off, index=off: the layer then holds whole files and can be copied by itself; a file of the image with several names
// becomes two when it is written to. xino=off: image and layer are on one file system, whose inode numbers are used as they are.
func options() []string {
	return []string{"redirect_dir=on", "metacopy=off", "index=off", "xino=off"}
}

// mapped clones the folder at path as a mount that shows its owners as m has them on the host.
func (p *pool) mapped(path string, m idmap.Map) (*mount.Tree, error) {
	t, err := mount.Open(path, false)
	if err != nil || len(m) == 0 {
		return t, err
	}
	user, err := p.namespaces.Get(m)
	if err == nil {
		err = t.Map(user)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// layer stacks a volume's upper folder on its image; the result is attached nowhere yet.
func (p *pool) layer(path string, s state) (*mount.Tree, error) {
	lower, err := p.mapped(filepath.Join(p.image(s.Source), rootfs), s.Map)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Newf(errs.Internal, "the image volume %s that volume %q lies on is gone from the storage pool: delete the volume, or import the image again", s.Source, s.Name)
	}
	if err != nil {
		return nil, err
	}
	defer lower.Close()
	return mount.Overlay{
		Lower: lower, Stage: filepath.Join(p.dir, tmp), Upper: filepath.Join(path, upper), Work: filepath.Join(path, work), Options: options(),
	}.Make()
}

func (p *pool) image(name string) string {
	return filepath.Join(p.dir, tree.Folder(storage.ImageVolume), name)
}

// Mount shows v's content; before the first time it gives the files the owners, and the tree the form, that v asks for.
func (p *pool) Mount(ctx context.Context, v storage.Volume) (storage.Mounted, error) {
	path, err := p.path(v)
	if err != nil {
		return storage.Mounted{}, err
	}
	m, free, err := p.mount(ctx, path, v)
	if free != "" && err == nil {
		err = p.dropHidden(ctx, free)
	}
	return m, err
}

// mount does the work; free names the image that the volume does not depend on any more.
func (p *pool) mount(ctx context.Context, path string, v storage.Volume) (m storage.Mounted, free string, err error) {
	defer p.locks.Write(path)()
	_, s, err := p.find(v)
	if err != nil {
		return m, "", err
	}
	root := filepath.Join(path, rootfs)
	if there, err := mount.At(root); err != nil {
		return m, "", err
	} else if !there {
		if free, err = p.ready(ctx, path, v, &s); err != nil {
			return m, "", tree.Full(err)
		}
		if err := p.attach(path, s, v.Snapshot != ""); err != nil {
			return m, "", tree.Full(err)
		}
	}
	return storage.Mounted{Path: path, Root: root, Shifted: s.Shifted}, free, nil
}

// ready brings a volume that is not mounted into the state that it is to be mounted in.
func (p *pool) ready(ctx context.Context, path string, v storage.Volume, s *state) (free string, err error) {
	if v.Type == storage.ImageVolume || v.Snapshot != "" {
		return "", nil
	}
	if err := finishFlat(path, *s); err != nil {
		return "", err
	}
	if s.layered() && v.Plain {
		if err := errors.Join(p.own(ctx, path, v.IDMap, s), tree.Guard(path, v.Type, v.IDMap)); err != nil {
			return "", err
		}
		return p.flatten(ctx, path, s)
	}
	if s.Shifted || v.Plain || !p.ability.maps {
		if err := p.own(ctx, path, v.IDMap, s); err != nil {
			return "", err
		}
	}
	return "", tree.Guard(path, v.Type, v.IDMap)
}

// attach shows a layered volume; a plain one is there already, unless it is to be shown read-only.
func (p *pool) attach(path string, s state, readOnly bool) error {
	if !s.layered() && !readOnly {
		return nil
	}
	t, err := p.shown(path, s)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Private(); err != nil {
		return err
	}
	if readOnly {
		if err := t.ReadOnly(); err != nil {
			return err
		}
	}
	return t.Attach(filepath.Join(path, rootfs))
}

// shown is what is to be seen of a volume, attached nowhere yet.
func (p *pool) shown(path string, s state) (*mount.Tree, error) {
	if !s.layered() {
		return mount.Open(filepath.Join(path, rootfs), false)
	}
	if err := emptyWork(path); err != nil {
		return nil, err
	}
	return p.layer(path, s)
}

// emptyWork makes the overlay's scratch folder anew if it is missing.
func emptyWork(path string) error {
	err := os.Mkdir(filepath.Join(path, work), 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// Unmount takes v's content away. What is not on disk yet is written in the background. The next Mount need not wait for that: the old
// mount cannot be reached by anybody, and both look at the same files.
func (p *pool) Unmount(_ context.Context, v storage.Volume) error {
	path, err := p.path(v)
	if v.Snapshot != "" && errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.locks.Write(path)()
	_, err = p.release(path)
	return err
}

// release unmounts a volume; flushed is closed when all of it is on disk, which Close waits for.
func (p *pool) release(path string) (flushed <-chan struct{}, err error) {
	flushed, err = mount.Release(filepath.Join(path, rootfs))
	p.work.Go(func() { <-flushed })
	return flushed, err
}

// own moves the owners of the volume's own files to m.
func (p *pool) own(ctx context.Context, path string, m idmap.Map, s *state) error {
	err := s.Move(ctx, filepath.Join(path, s.tree()), m, func() error { return s.write(path) })
	if err != nil {
		return fmt.Errorf("changing the owners of volume %q: %w", s.Name, err)
	}
	return nil
}

// flatten turns a layered volume into a tree of its own. The change of state decides; before it the copy is a leftover, after it the layer.
func (p *pool) flatten(ctx context.Context, path string, s *state) (free string, err error) {
	if err := fs.RemoveAll(filepath.Join(path, flat)); err != nil {
		return "", err
	}
	if err := p.copyLayers(ctx, path, *s); err != nil {
		return "", errors.Join(fmt.Errorf("copying volume %q out of its image: %w", s.Name, err), fs.RemoveAll(filepath.Join(path, flat)))
	}
	free, s.Source = s.Source, ""
	if err := s.write(path); err != nil {
		return "", err
	}
	return free, finishFlat(path, *s)
}

func (p *pool) copyLayers(ctx context.Context, path string, s state) error {
	if err := emptyWork(path); err != nil {
		return err
	}
	t, err := p.layer(path, s)
	if err != nil {
		return err
	}
	defer t.Close()
	return fs.CopyTree(ctx, fmt.Sprintf("/proc/self/fd/%d", t.Fd()), filepath.Join(path, flat), fs.CopyOptions{})
}

// finishFlat puts the copy of a volume that is plain by now into its place and removes its layer.
func finishFlat(path string, s state) error {
	if s.layered() {
		return nil
	}
	err := unix.Rename(filepath.Join(path, flat), filepath.Join(path, rootfs))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("volume folder %s: put the copy in place: %w", path, err)
	}
	return errors.Join(fs.RemoveAll(filepath.Join(path, upper)), fs.RemoveAll(filepath.Join(path, work)))
}
