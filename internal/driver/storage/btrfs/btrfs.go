// Package btrfs keeps volumes as subvolumes: copies and snapshots share all their bytes and take as long as an empty volume.
//
// A pool is the folder
//
//	.pool.json               says whose pool it is
//	.tmp/                    what is being made; emptied when the pool is opened
//	.trash/                  what is being removed; emptied likewise
//	containers/NAME/         a volume
//	  volume/                the subvolume with its content: rootfs/ and what else there is
//	  snapshots/NAME/        a read-only subvolume for each snapshot
//	images/FINGERPRINT/ custom/PROJECT_NAME/ virtual-machines/NAME/
//
// A volume comes and goes by one rename from .tmp or to .trash, so that whatever is killed halfway leaves either all of it or nothing.
// One image volume serves containers of any id map: their roots are mounted with other owners.
package btrfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/errs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/host/run"
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// Driver is the "btrfs" storage driver.
type Driver struct {
	keys, volumeKeys *schema.Schema
	namespaces       *idmap.Namespaces
	version          func() string
}

// New makes the driver; it has no effects.
func New() *Driver {
	return &Driver{keys: poolKeys(), volumeKeys: tree.VolumeKeys(), namespaces: &idmap.Namespaces{}, version: sync.OnceValue(version)}
}

// Available tells whether this host has what pools need: the file system in the kernel, and the programs that make one.
func Available() bool {
	_, ok := run.Look("mkfs.btrfs")
	list, err := os.ReadFile("/proc/filesystems")
	return ok && err == nil && bytes.Contains(list, []byte("\tbtrfs\n"))
}

// Name is "btrfs".
func (*Driver) Name() string { return "btrfs" }

// Keys are the keys of a pool.
func (d *Driver) Keys() *schema.Schema { return d.keys }

// VolumeKeys are the keys of a volume.
func (d *Driver) VolumeKeys() *schema.Schema { return d.volumeKeys }

// Version is that of the programs.
func (d *Driver) Version() string { return d.version() }

// version is empty without the programs.
func version() string {
	path, ok := run.Look("btrfs")
	if !ok {
		return ""
	}
	out, err := run.Output(context.Background(), run.Call{Path: path, Args: []string{"version"}})
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(strings.TrimPrefix(line, "btrfs-progs "), "v")
}

func poolKeys() *schema.Schema {
	return tree.PoolKeys(
		schema.Key{Name: "btrfs.mount_options", Type: schema.String, Default: "user_subvol_rm_allowed", Check: checkOptions, Short: "Mount options"},
		schema.Key{Name: "size", Type: schema.Size, Local: true, Default: "auto: 20% of the free space, from 5 GiB to 30 GiB", Short: "Size of the pool's file; it can grow"},
		schema.Key{Name: "source", Type: schema.String, Local: true, Short: "Path to a block device, file, folder or subvolume; empty is a file of the pool's own"},
		schema.Key{Name: "source.recover", Type: schema.Bool, Default: "false", Local: true, Short: "Whether to take over a source that has a pool on it"},
		schema.Key{Name: "source.wipe", Type: schema.Bool, Default: "false", Local: true, Short: "Whether to wipe the source first"},
	)
}

// Open makes the pool usable: its file system is there and mounted, its folders exist, and leftovers of a crash are on their way out.
func (d *Driver) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	if os.Geteuid() != 0 {
		return nil, errs.Newf(errs.Unsupported, "storage driver \"btrfs\" must set owners and mount: run the daemon as root")
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
	if err := s.check(cfg); err != nil {
		return nil, err
	}
	if err := s.show(ctx); err != nil {
		return nil, err
	}
	p := &pool{source: s, dir: s.dir, namespaces: d.namespaces}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	return p, nil
}

// Destroy removes an empty pool. A file of the pool's own goes; a device or file of the user's is wiped; a folder stays as the empty one
// that it was.
func (d *Driver) Destroy(ctx context.Context, dir string, cfg map[string]string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	s, err := d.source(dir, cfg)
	if err != nil {
		return err
	}
	n, err := s.readNote()
	if errors.Is(err, os.ErrNotExist) { // never got as far as making anything
		return errors.Join(mount.Unmount(s.dir), removeFolder(s.dir))
	}
	if err != nil {
		return err
	}
	if err := s.empty(ctx, n); err != nil {
		return err
	}
	return errors.Join(s.forget(n), removeFolder(s.dir))
}

// removeFolder removes the folder that the pool was shown at.
func removeFolder(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// clear removes the pool's own folders; a volume in one is an error. The mark goes last: until then the folder is known as ours.
func clear(dir string) error {
	for _, f := range tree.Folders {
		l, err := os.ReadDir(filepath.Join(dir, f))
		if err == nil && len(l) > 0 {
			return errs.Newf(errs.Invalid, "storage pool folder %s still has volumes in %s: delete them first", dir, f)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, f := range append([]string{tmp, trash}, tree.Folders...) {
		if err := remove(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	err := os.Remove(filepath.Join(dir, tree.Marker))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// remove deletes a folder of ours and the subvolumes in it; nobody else may be able to reach it. A missing one is no error.
func remove(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		if e.IsDir() {
			err = destroy(at)
		} else {
			err = os.Remove(at)
		}
		if err != nil {
			return err
		}
	}
	return os.Remove(path)
}
