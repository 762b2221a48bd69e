package btrfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/btrfs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// Names of the driver's own in a pool and in a volume's folder.
const (
	tmp       = ".tmp"
	trash     = ".trash"
	content   = "volume"
	snapshots = "snapshots"
)

// pool is one open pool.
type pool struct {
	source     source
	dir        string
	namespaces *idmap.Namespaces
	locks      tree.Locks
	// streams are those that are being received.
	streams tree.Locks
	// maps says that mounts can show other owners.
	maps bool
	// work is what goes on in the background.
	work sync.WaitGroup

	mu sync.Mutex
	// failed is what went wrong in the background.
	failed error
	// quota has quotas switched on by one at a time.
	quota sync.Mutex
}

// prepare makes the folders, clears away leftovers and finds out what the host can do.
func (p *pool) prepare() error {
	if err := os.Chmod(p.dir, 0o711); err != nil {
		return err
	}
	for _, f := range append([]string{tmp, trash}, tree.Folders...) {
		mode := os.FileMode(0o711)
		if f == tmp || f == trash {
			mode = 0o700
		}
		path := filepath.Join(p.dir, f)
		if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
			return tree.Full(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if err := p.sweep(); err != nil {
		return err
	}
	p.maps = p.canMap()
	if !p.maps {
		return nil // in a container nobody else's counters can be touched
	}
	return btrfs.DropStaleQuotas(p.dir)
}

// sweep removes what a crash left.
func (p *pool) sweep() error {
	for _, f := range []string{trash, tmp} { // in this order: what is moved to the trash has its remover already
		top := filepath.Join(p.dir, f)
		entries, err := os.ReadDir(top)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(top, e.Name())
			if strings.HasPrefix(e.Name(), received) && destroy(path) == nil {
				continue // at once: the same stream may be received again
			}
			if f == tmp {
				if path, err = p.discard(path); err != nil {
					return err
				}
			}
			p.drop(path)
		}
	}
	return nil
}

// canMap tries whether this process may show the pool's files with other owners.
func (p *pool) canMap() bool {
	t, err := mount.Open(p.dir, false)
	if err != nil {
		return false
	}
	defer t.Close()
	user, err := p.namespaces.Get(idmap.Default())
	return err == nil && t.Map(user) == nil
}

// folder is that of the volume that v, maybe a snapshot, belongs to.
func (p *pool) folder(v storage.Volume) (string, error) {
	name, err := tree.Name(v)
	return filepath.Join(p.dir, name), err
}

// path is the subvolume of v. It fails with Invalid on a name that could be something else.
func (p *pool) path(v storage.Volume) (folder, path string, err error) {
	folder, err = p.folder(v)
	switch {
	case err != nil:
		return "", "", err
	case v.Snapshot == "":
		return folder, filepath.Join(folder, content), nil
	case !tree.Plain(v.Snapshot):
		return "", "", errs.Newf(errs.Invalid, "snapshot name %q is not possible in a storage pool", v.Snapshot)
	}
	return folder, filepath.Join(folder, snapshots, v.Snapshot), nil
}

// missing is NotFound unless path, which is v's, is there.
func missing(path string, v storage.Volume) error {
	_, err := os.Lstat(path)
	switch {
	case !errors.Is(err, os.ErrNotExist):
		return err
	case v.Snapshot != "":
		return errs.Newf(errs.NotFound, "snapshot %q of volume %q is not in the storage pool", v.Snapshot, v.Name)
	}
	return errs.Newf(errs.NotFound, "volume %q of type %q is not in the storage pool", v.Name, v.Type)
}

// free is Conflict if path, which is to be v's, is taken.
func free(path string, v storage.Volume) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case v.Snapshot != "":
		return errs.Newf(errs.Conflict, "snapshot %q of volume %q already exists in the storage pool", v.Snapshot, v.Name)
	}
	return errs.Newf(errs.Conflict, "volume %q of type %q already exists in the storage pool", v.Name, v.Type)
}

// Volumes lists what is there.
func (p *pool) Volumes(ctx context.Context) ([]storage.Volume, error) {
	var out []storage.Volume
	for _, t := range []storage.VolumeType{storage.ContainerVolume, storage.VMVolume, storage.ImageVolume, storage.CustomVolume} {
		entries, err := os.ReadDir(filepath.Join(p.dir, tree.Folder(t)))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			out = append(out, named(t, e.Name()))
		}
	}
	tree.Sort(out)
	return out, nil
}

// named is the volume of a type whose folder has that name.
func named(t storage.VolumeType, name string) storage.Volume {
	v := storage.Volume{Type: t, Name: name}
	if t == storage.ImageVolume {
		return v
	}
	v.Project = "default"
	if proj, rest, ok := strings.Cut(name, "_"); ok { // a project's name has no such character, nor has an instance's
		v.Project, v.Name = proj, rest
	}
	return v
}

// Usage is what the file system that the pool is on has.
func (p *pool) Usage(context.Context) (used, total uint64, err error) {
	return tree.Usage(p.dir)
}

// patience is how long Close waits for the background: what is in the trash is removed after the next opening as well.
const patience = 10 * time.Second

// Close waits for the background and reports what went wrong there. The pool is no longer shown, unless a volume is in use.
func (p *pool) Close() error {
	done := make(chan struct{})
	go func() { defer close(done); p.work.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	shown, err := mount.At(p.dir)
	if err != nil || !shown {
		return errors.Join(p.failed, err)
	}
	if err := unix.Unmount(p.dir, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EBUSY) {
		return errors.Join(p.failed, err)
	}
	return p.failed
}

// Update has the pool follow a change of its configuration: its file grows, its mount options change. An option that is left out now goes
// when the pool is mounted the next time.
func (p *pool) Update(_ context.Context, cfg map[string]string) error {
	s := p.source
	s.size, s.options = 0, options(cfg["btrfs.mount_options"])
	if err := s.resize(cfg["size"]); err != nil {
		return err
	}
	if s.kind != folder {
		if err := mount.Reconfigure(p.dir, s.options); err != nil {
			return errs.As(errs.Invalid, err)
		}
	}
	return s.grow()
}
