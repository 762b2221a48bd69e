package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// Folders of a pool that hold no volumes.
const (
	tmp   = ".tmp"
	trash = ".trash"
)

// snapshots is the folder that holds one for each volume with snapshots, by the volume's ID: so the volume can be renamed and restored by
// one rename, and they are found again.
const snapshots = ".snapshots"

// pool is one open pool.
type pool struct {
	dir        string
	namespaces *idmap.Namespaces
	locks      tree.Locks
	ability    ability
	// work is what goes on in the background.
	work sync.WaitGroup

	mu sync.Mutex
	// failed is what went wrong in the background.
	failed error
}

func newPool(dir string, n *idmap.Namespaces) *pool {
	return &pool{dir: dir, namespaces: n}
}

// prepare makes the folders, clears away leftovers and finds out what the host can do.
func (p *pool) prepare() error {
	if err := os.Chmod(p.dir, 0o711); err != nil {
		return err
	}
	for _, f := range append([]string{tmp, trash, snapshots}, tree.Folders...) {
		mode := os.FileMode(0o711)
		if f == tmp || f == trash || f == snapshots {
			mode = 0o700
		}
		if err := os.Mkdir(filepath.Join(p.dir, f), mode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := os.Chmod(filepath.Join(p.dir, f), mode); err != nil {
			return err
		}
	}
	// Volumes are made in .tmp. Beside each other on disk they would slow each other down: ext4 looks through the inodes of what was just
	// deleted for each new file of the same region.
	if err := fs.Spread(filepath.Join(p.dir, tmp)); err != nil {
		return err
	}
	if err := p.sweep(); err != nil {
		return err
	}
	var err error
	p.ability, err = p.probe()
	return err
}

// sweep moves what a crash left in .tmp to the trash, and has the trash emptied in the background.
func (p *pool) sweep() error {
	for _, f := range []string{trash, tmp} { // in this order: what is moved to the trash has its remover already
		top := filepath.Join(p.dir, f)
		entries, err := os.ReadDir(top)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			continue
		}
		if err := mount.UnmountBelow(top); err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(top, e.Name())
			if f == tmp {
				if path, err = p.discard(path); err != nil {
					return err
				}
			}
			p.remove(path, nil)
		}
	}
	return p.sweepSnapshots()
}

// path is the folder of a volume or snapshot. It fails with Invalid on a name that could be something else, and with NotFound if a snapshot
// is named of a volume that is not there.
func (p *pool) path(v storage.Volume) (string, error) {
	path, err := p.whole(v)
	if err != nil || v.Snapshot == "" {
		return path, err
	}
	return p.snapshotPath(path, v)
}

// whole is the folder of the volume that v, maybe a snapshot, belongs to.
func (p *pool) whole(v storage.Volume) (string, error) {
	name, err := tree.Name(v)
	return filepath.Join(p.dir, name), err
}

// find reads the state of an existing volume.
func (p *pool) find(v storage.Volume) (path string, s state, err error) {
	if path, err = p.path(v); err != nil {
		return "", s, err
	}
	s, err = readState(path)
	switch {
	case v.Snapshot != "" && errors.Is(err, os.ErrNotExist):
		return path, s, noSnapshot(v)
	case errors.Is(err, os.ErrNotExist) || err == nil && s.Hidden:
		return path, s, errs.Newf(errs.NotFound, "volume %q of type %q is not in the storage pool", v.Name, v.Type)
	}
	return path, s, err
}

// Volumes lists what is there.
func (p *pool) Volumes(ctx context.Context) ([]storage.Volume, error) {
	var out []storage.Volume
	for _, f := range tree.Folders {
		err := p.states(ctx, f, func(path string, s state) error {
			v := s.volume()
			if at, err := p.path(v); err != nil || at != path { // a rename was cut short
				v.Name = strings.TrimPrefix(filepath.Base(path), v.Project+"_")
			}
			if !s.Hidden {
				out = append(out, v)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	tree.Sort(out)
	return out, nil
}

// states calls fn with the state of every volume in a folder; one that vanishes meanwhile is left out.
func (p *pool) states(ctx context.Context, folder string, fn func(path string, s state) error) error {
	entries, err := os.ReadDir(filepath.Join(p.dir, folder))
	if errors.Is(err, os.ErrNotExist) && filepath.Dir(folder) == snapshots {
		return nil // the volume was deleted meanwhile
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(p.dir, folder, e.Name())
		s, err := readState(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := fn(path, s); err != nil {
			return err
		}
	}
	return nil
}

// Usage is what the file system that the pool is on has.
func (p *pool) Usage(context.Context) (used, total uint64, err error) {
	return tree.Usage(p.dir)
}

// patience is how long Close waits for the background: what is in the trash is removed after the next opening as well.
const patience = 10 * time.Second

// Close waits for the background and reports what went wrong there. A source elsewhere is no longer shown, unless a volume is in use.
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

// Inodes is how many files the file system that the pool is on has and may have.
func (p *pool) Inodes(context.Context) (used, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return 0, 0, fmt.Errorf("usage of %s: %w", p.dir, err)
	}
	return st.Files - st.Ffree, st.Files, nil
}

// Resize takes note of nothing: a folder has no size of its own on a file system without project quotas.
func (p *pool) Resize(context.Context, storage.Volume, int64) error { return nil }
