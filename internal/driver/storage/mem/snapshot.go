package mem

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/storage"
)

// mark stands between the folder names of a volume and of its snapshot.
const mark = "@"

// kept are the names of the snapshots of the volume in that folder.
func (p *pool) kept(path string) (names []string) {
	for _, other := range slices.Sorted(maps.Keys(p.all)) {
		if name, ok := strings.CutPrefix(other, path+mark); ok {
			names = append(names, name)
		}
	}
	return names
}

// Snapshot copies the volume.
func (p *pool) Snapshot(ctx context.Context, v storage.Volume) error {
	if err := checkName(v.Snapshot); err != nil {
		return err
	}
	_, err := p.Clone(ctx, v.At(""), v)
	return err
}

func checkName(snapshot string) error {
	if snapshot == "" || snapshot[0] == '.' || strings.Contains(snapshot, "/") {
		return errs.Newf(errs.Invalid, "snapshot name %q is not possible", snapshot)
	}
	return nil
}

// Snapshots lists what was kept.
func (p *pool) Snapshots(_ context.Context, v storage.Volume) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.path(v.At(""))
	if p.all[path] == nil {
		return nil, missing(v)
	}
	return p.kept(path), nil
}

func missing(v storage.Volume) error {
	return errs.Newf(errs.NotFound, "volume %q is not in the storage pool", v.Name)
}

// Restore copies the snapshot back.
func (p *pool) Restore(ctx context.Context, v storage.Volume) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, source := p.path(v.At("")), p.path(v)
	if p.all[path] == nil || p.all[source] == nil {
		return missing(v)
	}
	fresh := path + ".new"
	if err := fs.CopyTree(ctx, source, fresh, fs.CopyOptions{Unprivileged: os.Getuid() != 0}); err != nil {
		return errors.Join(err, fs.RemoveAll(fresh))
	}
	if err := errors.Join(fs.RemoveAll(path), os.Rename(fresh, path)); err != nil {
		return err
	}
	image := p.all[path].Source
	p.all[path].Source = p.all[source].Source
	return p.drop(image)
}

// Rename moves the folder, and those of the snapshots.
func (p *pool) Rename(_ context.Context, from, to storage.Volume) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	source, path := p.path(from), p.path(to)
	switch {
	case p.all[source] == nil && p.all[path] != nil:
		return nil
	case p.all[source] == nil:
		return missing(from)
	case p.all[path] != nil:
		return errs.Newf(errs.Conflict, "volume %q already exists in the storage pool", to.Name)
	}
	err := p.move(source, path, to)
	for _, s := range p.kept(source) {
		err = errors.Join(err, p.move(source+mark+s, path+mark+s, to.At(s)))
	}
	return err
}

func (p *pool) move(from, path string, to storage.Volume) error {
	v := p.all[from]
	delete(p.all, from)
	p.all[path] = v
	v.Project, v.Name, v.Snapshot = to.Project, to.Name, to.Snapshot
	return os.Rename(from, path)
}
