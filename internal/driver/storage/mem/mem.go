// Package mem is a storage driver of plain folders that needs no rights and keeps its records in memory: for tests of what lies above.
package mem

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// Driver is the "mem" driver. It calls itself "dir" if it is to stand in for that.
type Driver struct {
	name string
	mu   sync.Mutex
	open map[string]*pool
}

// New makes a driver that goes by the given name.
func New(name string) *Driver { return &Driver{name: name, open: map[string]*pool{}} }

// Name is the name that it was made with.
func (d *Driver) Name() string { return d.name }

// Keys are the keys of a pool.
func (*Driver) Keys() *schema.Schema {
	return schema.New("storage pool", append(storage.DefaultKeys(storage.VolumeKeys()),
		schema.Key{Name: "source", Type: schema.String, Local: true, Short: "Where the pool's files are"},
		schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"})...)
}

// VolumeKeys are the keys of a volume.
func (*Driver) VolumeKeys() *schema.Schema {
	return schema.New("storage volume", storage.VolumeKeys()...)
}

// Open makes the pool's folder. The volumes of a pool that was open before are still known.
func (d *Driver) Open(_ context.Context, dir string, _ map[string]string) (storage.Pool, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[dir] == nil {
		d.open[dir] = &pool{dir: dir, all: map[string]*volume{}, making: map[string]bool{}}
	}
	return d.open[dir], nil
}

// Destroy removes an empty pool.
func (d *Driver) Destroy(_ context.Context, dir string, _ map[string]string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.open[dir]; p != nil && p.busy() {
		return errs.Newf(errs.Invalid, "storage pool folder %s still has volumes: delete them first", dir)
	}
	delete(d.open, dir)
	return os.RemoveAll(dir)
}

type pool struct {
	dir string
	mu  sync.Mutex
	all map[string]*volume
	// making are the folders that are being filled.
	making map[string]bool
}

func (p *pool) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all) > 0
}

type volume struct {
	storage.Volume
	hidden bool
}

func (p *pool) path(v storage.Volume) string {
	path := filepath.Join(p.dir, string(v.Type), cmp.Or(v.Project, "default")+"_"+filepath.Base(v.Name))
	if v.Snapshot != "" {
		path += mark + filepath.Base(v.Snapshot)
	}
	return path
}

// Create makes v with what fill writes, or with an empty root.
func (p *pool) Create(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v.Name == "" || filepath.Base(v.Name) != v.Name || v.Name[0] == '.' {
		return errs.Newf(errs.Invalid, "volume name %q is not possible", v.Name)
	}
	path := p.path(v)
	if there := p.all[path]; there != nil && there.hidden {
		there.hidden = false
		return nil
	}
	return p.add(path, v, func() error { return filled(ctx, path, fill) })
}

// filled has the content of a volume written.
func filled(ctx context.Context, path string, fill func(ctx context.Context, root string) error) error {
	if fill != nil {
		if err := fill(ctx, path); err != nil {
			return err
		}
	}
	return settle(filepath.Join(path, "rootfs"))
}

// Fill gives a volume other content, or makes a snapshot of what fill writes.
func (p *pool) Fill(ctx context.Context, v storage.Volume, fill func(ctx context.Context, root string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.path(v)
	there := p.all[p.path(v.At(""))]
	if there == nil {
		return missing(v)
	}
	if v.Snapshot != "" {
		if err := checkName(v.Snapshot); err != nil {
			return err
		}
		return p.add(path, v, func() error { return filled(ctx, path, fill) })
	}
	fresh := path + ".new"
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	if err := p.aside(fresh, func() error { return filled(ctx, fresh, fill) }); err != nil {
		return errors.Join(err, fs.RemoveAll(fresh))
	}
	if err := errors.Join(fs.RemoveAll(path), os.Rename(fresh, path)); err != nil {
		return err
	}
	image := there.Source
	there.Source = ""
	return p.drop(image)
}

// settle makes the root if it is missing and refuses one that is no folder.
func settle(root string) error {
	err := os.Mkdir(root, 0o755)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if st, err := os.Lstat(root); err != nil || !st.IsDir() {
		return errs.Newf(errs.Invalid, "the content's top entry \"rootfs\" is no folder")
	}
	return nil
}

func (p *pool) add(path string, v storage.Volume, content func() error) error {
	if p.all[path] != nil || p.making[path] {
		return errs.Newf(errs.Conflict, "volume %q already exists in the storage pool", v.Name)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := p.aside(path, content); err != nil {
		return errors.Join(err, fs.RemoveAll(path))
	}
	p.all[path] = &volume{Volume: v}
	return nil
}

// aside has content made without keeping others from the pool: it may come from another volume of it.
func (p *pool) aside(path string, content func() error) error {
	p.making[path] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.making, path)
	}()
	return content()
}

// Clone copies from; a copy of an image depends on it, as on drivers that share its bytes.
func (p *pool) Clone(ctx context.Context, from, to storage.Volume) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	source := p.all[p.path(from)]
	if source == nil || source.hidden {
		return false, errs.Newf(errs.NotFound, "volume %q is not in the storage pool", from.Name)
	}
	if to.Snapshot != "" && p.all[p.path(to.At(""))] == nil {
		return false, errs.Newf(errs.NotFound, "volume %q is not in the storage pool", to.Name)
	}
	to.Source = source.Source
	if from.Type == storage.ImageVolume && !to.Plain {
		to.Source = from.Name
	}
	path := p.path(to)
	err := p.add(path, to, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return fs.CopyTree(ctx, p.path(from), path, fs.CopyOptions{Unprivileged: os.Getuid() != 0})
	})
	return to.Source != "", err
}

// Delete removes v.
func (p *pool) Delete(_ context.Context, v storage.Volume) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.path(v)
	there := p.all[path]
	switch {
	case there == nil:
		return fs.RemoveAll(path)
	case v.Type == storage.ImageVolume && p.used(v.Name):
		there.hidden = true
		return nil
	}
	err := p.remove(path)
	for _, s := range p.kept(path) {
		err = errors.Join(err, p.remove(path+mark+s))
	}
	return err
}

func (p *pool) remove(path string) error {
	image := p.all[path].Source
	delete(p.all, path)
	return errors.Join(fs.RemoveAll(path), p.drop(image))
}

// drop removes a deleted image that nothing depends on any more.
func (p *pool) drop(image string) error {
	path := p.path(storage.Volume{Type: storage.ImageVolume, Name: image})
	if i := p.all[path]; i == nil || !i.hidden || p.used(image) {
		return nil
	}
	delete(p.all, path)
	return fs.RemoveAll(path)
}

func (p *pool) used(image string) bool {
	for v := range maps.Values(p.all) {
		if v.Source == image {
			return true
		}
	}
	return false
}

// Mount says where v is.
func (p *pool) Mount(_ context.Context, v storage.Volume) (storage.Mounted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := p.all[p.path(v)]
	if there == nil || there.hidden {
		return storage.Mounted{}, errs.Newf(errs.NotFound, "volume %q is not in the storage pool", v.Name)
	}
	var err error
	if v.Plain && there.Source != "" {
		image := there.Source
		there.Source = ""
		err = p.drop(image)
	}
	return storage.Mounted{Path: p.path(v), Root: filepath.Join(p.path(v), "rootfs")}, err
}

// Unmount does nothing.
func (*pool) Unmount(context.Context, storage.Volume) error { return nil }

// Volumes lists what is there.
func (p *pool) Volumes(context.Context) ([]storage.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []storage.Volume
	for _, path := range slices.Sorted(maps.Keys(p.all)) {
		if v := p.all[path]; !v.hidden && v.Snapshot == "" {
			out = append(out, v.Volume)
		}
	}
	return out, nil
}

// Usage counts the volumes, as if each were one byte of a thousand.
func (p *pool) Usage(context.Context) (used, total uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return uint64(len(p.all)), 1000, nil
}

// Resize takes note of nothing, as on a file system without quotas.
func (*pool) Resize(context.Context, storage.Volume, int64) error { return nil }

// Close does nothing: the volumes stay known to the driver.
func (*pool) Close() error { return nil }
