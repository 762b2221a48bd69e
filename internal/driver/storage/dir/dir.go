// Package dir keeps volumes as folders of any file system. A volume made from an image is a thin layer over the image's one unpacked tree,
// where the kernel and file system can (overlay with id-mapped lower layer), and a copy of it elsewhere.
//
// A pool is the folder
//
//	.pool.json             says whose pool it is
//	.tmp/                  what is being made; emptied when the pool is opened
//	.trash/                what is being removed; emptied likewise
//	.snapshots/ID/NAME/    a snapshot, kept like a volume, of the volume whose volume.json has that ID
//	containers/NAME/       a volume: volume.json says what the driver must know of it after a crash
//	  rootfs/              where its content is, or is mounted
//	  upper/ work/         its layer, if it is layered
//	images/FINGERPRINT/ custom/PROJECT_NAME/ virtual-machines/NAME/
//
// A volume comes and goes by one rename from .tmp or to .trash, so that whatever is killed halfway leaves either all of it or nothing.
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
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// Driver is the "dir" storage driver.
type Driver struct {
	keys, volumeKeys *schema.Schema
	namespaces       *idmap.Namespaces
}

// New makes the driver; it has no effects.
func New() *Driver {
	return &Driver{keys: poolKeys(), volumeKeys: tree.VolumeKeys(), namespaces: &idmap.Namespaces{}}
}

// Name is "dir".
func (*Driver) Name() string { return "dir" }

// Keys are the keys of a pool.
func (d *Driver) Keys() *schema.Schema { return d.keys }

// VolumeKeys are the keys of a volume.
func (d *Driver) VolumeKeys() *schema.Schema { return d.volumeKeys }

// Defaults puts the pool into its own folder unless the user named another.
func (*Driver) Defaults(dir string, cfg map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range cfg {
		out[k] = v
	}
	if out["source"] == "" {
		out["source"] = dir
	}
	return out
}

// Open makes the pool usable: its folders exist, a source elsewhere is shown at dir, and leftovers of a crash are on their way out.
func (d *Driver) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	if os.Geteuid() != 0 {
		return nil, errs.Newf(errs.Unsupported, "storage driver \"dir\" must set owners and mount: run the daemon as root")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	s, err := d.source(dir, cfg)
	if err != nil {
		return nil, err
	}
	dir = s.Dir
	if err := s.Claim(); err != nil {
		return nil, err
	}
	if err := s.Show(); err != nil {
		return nil, err
	}
	p := newPool(dir, d.namespaces)
	if err := p.prepare(); err != nil {
		return nil, err
	}
	return p, nil
}

// Destroy removes an empty pool; a source elsewhere stays as the empty folder that it was.
func (d *Driver) Destroy(_ context.Context, dir string, cfg map[string]string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	s, err := d.source(dir, cfg)
	if err != nil {
		return err
	}
	if !s.Own() {
		if err := mount.Unmount(s.Dir); err != nil {
			return err
		}
	}
	m, err := tree.ReadMark(s.Path)
	switch {
	case err == nil && m.Dir == s.Dir:
		err = empty(s.Path)
	case errors.Is(err, os.ErrNotExist), err == nil:
		err = nil // nothing of ours is there
	}
	if err != nil {
		return err
	}
	return wrapBusy(s.Dir, unix.Rmdir(s.Dir))
}

// source finds out where the pool's files are.
func (d *Driver) source(dir string, cfg map[string]string) (tree.Source, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return tree.Source{}, err
	}
	s := tree.Source{Dir: real, Path: filepath.Clean(cfg["source"]), Recover: d.keys.Bool(cfg, "source.recover")}
	if cfg["source"] == "" || s.Path == filepath.Clean(dir) {
		s.Path = real
	}
	return s, nil
}

// empty removes the pool's own files and folders; a volume in it is an error.
func empty(dir string) error {
	for _, f := range tree.Folders {
		err := unix.Rmdir(filepath.Join(dir, f))
		if errors.Is(err, unix.ENOTEMPTY) {
			return errs.Newf(errs.Invalid, "storage pool folder %s still has volumes in %s: delete them first", dir, f)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s: %w", filepath.Join(dir, f), err)
		}
	}
	for _, f := range []string{tmp, trash, snapshots, tree.Marker} { // the mark last: until then the folder is known as ours
		path := filepath.Join(dir, f)
		if err := errors.Join(mount.UnmountBelow(path), fs.RemoveAll(path)); err != nil {
			return err
		}
	}
	return nil
}

func wrapBusy(dir string, err error) error {
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTEMPTY):
		return errs.Newf(errs.Invalid, "storage pool folder %s holds files that are not the pool's: move them away", dir)
	}
	return fmt.Errorf("remove %s: %w", dir, err)
}
