package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/storage"
)

// Clone makes to from from: a layer on an image, or a copy of another volume's layer, where the host can; else a copy of the whole tree.
func (p *pool) Clone(ctx context.Context, from, to storage.Volume) (dependent bool, err error) {
	source, err := p.path(from)
	if err != nil {
		return false, err
	}
	if err := p.identify(to); err != nil {
		return false, err
	}
	path, err := p.path(to)
	if err != nil {
		return false, err
	}
	if source == path {
		return false, errs.Newf(errs.Invalid, "volume %q cannot be a copy of itself", to.Name)
	}
	defer p.locks.Read(source)()
	defer p.locks.Write(path)()
	_, s, err := p.find(from)
	if err != nil {
		return false, err
	}
	if back, err := p.revive(path, to); back || err != nil {
		return false, err
	}
	err = p.build(path, to, func(stage string) (state, error) {
		return p.clone(ctx, source, s, stage, to)
	})
	if err != nil {
		return false, err
	}
	made, err := readState(path)
	return made.layered(), err
}

// clone fills the folder of the new volume and says what it is.
func (p *pool) clone(ctx context.Context, source string, s state, stage string, to storage.Volume) (state, error) {
	made := state{Type: to.Type, Project: to.Project, Name: to.Name}
	skip := []string{rootfs, upper, work, flat, stateFile, stateFile + ".new"}
	if err := fs.CopyTree(ctx, source, stage, fs.CopyOptions{Skip: skip}); err != nil {
		return made, err
	}
	if err := os.Mkdir(filepath.Join(stage, rootfs), 0o755); err != nil {
		return made, err
	}
	switch {
	case s.layered():
		made.Source, made.Shifted, made.Map, made.Next = s.Source, true, s.Map, s.Next
		err := fs.CopyTree(ctx, filepath.Join(source, upper), filepath.Join(stage, upper), fs.CopyOptions{})
		return made, errors.Join(err, emptyWork(stage))
	case s.Type == storage.ImageVolume && p.ability.layers && !to.Plain && to.Type == storage.ContainerVolume:
		made.Source, made.Shifted, made.Map = filepath.Base(source), true, to.IDMap
		return made, p.newLayer(filepath.Join(source, rootfs), stage, to.IDMap)
	case s.Type == storage.ImageVolume && p.ability.maps:
		made.Shifted, made.Map = true, to.IDMap
		return made, p.copyMapped(ctx, filepath.Join(source, rootfs), filepath.Join(stage, rootfs), to.IDMap)
	}
	made.Shifted, made.Map, made.Next = s.Shifted, s.Map, s.Next
	if err := fs.CopyTree(ctx, filepath.Join(source, rootfs), filepath.Join(stage, rootfs), fs.CopyOptions{}); err != nil {
		return made, err
	}
	if len(made.Next) > 0 {
		return made, nil
	}
	return made, p.give(ctx, stage, to.IDMap, &made)
}

// newLayer makes an empty layer. Its top folder stands for that of the image, and is like it.
func (p *pool) newLayer(image, stage string, m idmap.Map) error {
	lower, err := p.mapped(image, m)
	if err != nil {
		return err
	}
	defer lower.Close()
	var st unix.Stat_t
	if err := unix.Fstat(lower.Fd(), &st); err != nil {
		return err
	}
	path := filepath.Join(stage, upper)
	if err := errors.Join(os.Mkdir(path, 0o700), emptyWork(stage)); err != nil {
		return err
	}
	if err := unix.Chown(path, int(st.Uid), int(st.Gid)); err != nil {
		return &os.PathError{Op: "chown", Path: path, Err: err}
	}
	if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// copyMapped copies an image's tree as it looks with the owners of m: ids in capabilities and access lists are the kernel's business so.
func (p *pool) copyMapped(ctx context.Context, image, to string, m idmap.Map) error {
	t, err := p.mapped(image, m)
	if err != nil {
		return err
	}
	defer t.Close()
	return fs.CopyTree(ctx, fmt.Sprintf("/proc/self/fd/%d", t.Fd()), to, fs.CopyOptions{})
}
