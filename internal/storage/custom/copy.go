package custom

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/op"
	"lxd/internal/schema"
	"lxd/internal/storage"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// Source is a volume, or a snapshot of one, that is copied, as journals keep it.
type Source struct {
	Name
	// Snapshot is the snapshot that is copied; "" is the volume.
	Snapshot string `json:",omitempty"`
	// Kept are the snapshots that are copied along.
	Kept []string `json:",omitempty"`
}

// origin is what a volume is a copy of.
type origin struct {
	Source
	r    storage.VolumeRecord
	kept []storage.SnapshotRecord
	// quiet says that nobody can mount the volume, because it is being moved.
	quiet bool
}

// findOrigin finds what a request wants a copy of; pool and proj are where the copy is to be.
func (s *Service) findOrigin(ctx context.Context, pool, proj string, src api.StorageVolumeSource) (*origin, error) {
	name, snapshot, _ := strings.Cut(src.Name, "/")
	if name == "" {
		return nil, errs.Newf(errs.Invalid, "the source names no storage volume to copy")
	}
	o := &origin{}
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		o.r, err = storage.Find(tx, storage.Name{Pool: cmp.Or(src.Pool, pool), Project: cmp.Or(src.Project, proj), Type: storage.CustomVolume, Name: name})
		if err != nil {
			return err
		}
		o.Source = Source{Name: Name{o.r.Pool, o.r.Project, o.r.Name}, Snapshot: snapshot}
		if err := depot.Used(tx, o.key()); err != nil { // it holds what belongs to others
			return err
		}
		o.kept = nil
		switch {
		case snapshot != "":
			snap, err := findSnapshot(tx, o.Name, snapshot)
			o.r.Config, o.r.Description = snap.Config, cmp.Or(snap.Description, o.r.Description)
			return err
		case !src.VolumeOnly:
			o.kept = storage.SnapshotsOf(tx, o.key())
		}
		return nil
	})
	for _, snap := range o.kept {
		o.Kept = append(o.Kept, snap.Name)
	}
	return o, err
}

// inherit takes over what the request leaves open. Keys that the volume cannot have where it comes to, and what is true of the source
// alone, stay behind.
func (o *origin) inherit(r *storage.VolumeRecord, keys *schema.Schema) {
	r.Description = cmp.Or(r.Description, o.r.Description)
	cfg := known(o.r.Config, keys)
	maps.Copy(cfg, r.Config)
	maps.DeleteFunc(cfg, func(name, _ string) bool { return strings.HasPrefix(name, "volatile.") })
	r.Config = cfg
}

// known are the keys of a configuration that a volume can have and that can be true of more than one.
func known(config map[string]string, keys *schema.Schema) map[string]string {
	cfg := map[string]string{}
	for name, v := range config {
		if k, ok := keys.Lookup(name); ok && !k.Volatile {
			cfg[name] = v
		}
	}
	return cfg
}

// at is the source as its pool knows it.
func (o Source) at() storage.Volume { return o.volume().At(o.Snapshot) }

// copyTo makes the volume to of the source, with its snapshots, and returns their records. On failure nothing is left.
func (o *origin) copyTo(ctx context.Context, s *Service, to Name) (kept []storage.SnapshotRecord, err error) {
	if err := s.copyOne(ctx, o, o.at(), place{to.Pool, to.volume(), false}); err != nil {
		return nil, err
	}
	for _, snap := range o.kept {
		if err := s.copyOne(ctx, o, o.volume().At(snap.Name), place{to.Pool, to.volume().At(snap.Name), true}); err != nil {
			return nil, s.dropped(ctx, to.Pool, to.volume(), err)
		}
		kept = append(kept, moved(snap, to))
	}
	return kept, nil
}

// moved is the record of a snapshot that comes to another volume.
func moved(snap storage.SnapshotRecord, to Name) storage.SnapshotRecord {
	snap.Pool, snap.Project, snap.Volume = to.Pool, to.Project, to.Name
	snap.Config = storage.WithUUID(snap.Config)
	return snap
}

// place is where a copy comes to. Part says that it is a snapshot or the new content of a volume that is there.
type place struct {
	pool string
	v    storage.Volume
	part bool
}

// copyOne copies one volume or snapshot. On failure nothing of it is left.
func (s *Service) copyOne(ctx context.Context, o *origin, from storage.Volume, to place) error {
	if o.Pool == to.pool && (!to.part || to.v.Snapshot != "") {
		done := false
		err := s.d.Pools.With(ctx, to.pool, func(p storage.Pool) error {
			c, ok := p.(storage.Cloner)
			if done = ok; !ok {
				return nil
			}
			_, err := c.Clone(ctx, from, to.v)
			return err
		})
		if done || err != nil {
			return err
		}
	}
	show := s.borrow
	if o.quiet {
		show = s.show
	}
	return show(ctx, o.Name, from.Snapshot, func(root string) error {
		fill := func(ctx context.Context, stage string) error {
			return fs.CopyTree(ctx, root, filepath.Join(stage, "rootfs"), fs.CopyOptions{Unprivileged: os.Geteuid() != 0})
		}
		if to.part {
			return s.d.Pools.Fill(ctx, to.pool, to.v, fill)
		}
		return s.d.Pools.With(ctx, to.pool, func(p storage.Pool) error { return p.Create(ctx, to.v, fill) })
	})
}

// borrowed begins the names of those who have a source mounted while it is copied.
const borrowed = "a copy "

// Visit shows a volume, or a snapshot of it, to fn; it cannot be deleted, renamed or restored meanwhile.
func (s *Service) Visit(ctx context.Context, n Name, snapshot string, fn func(root string) error) error {
	return s.borrow(ctx, n, snapshot, fn)
}

// borrow shows a volume or snapshot to fn; it cannot be deleted, renamed or restored meanwhile.
func (s *Service) borrow(ctx context.Context, n Name, snapshot string, fn func(root string) error) (err error) {
	name := n.Name
	if snapshot != "" {
		name += "/" + snapshot
	}
	user := borrowed + op.NewUUID()
	m, err := s.d.Pools.MountCustom(ctx, n.Project, n.Pool, name, user)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.d.Pools.UnmountCustom(context.WithoutCancel(ctx), n.Project, n.Pool, name, user))
	}()
	return fn(m.Root)
}

// show is borrow for a volume that nobody else can have mounted, nor its snapshots.
func (s *Service) show(ctx context.Context, n Name, snapshot string, fn func(root string) error) (err error) {
	v := n.volume().At(snapshot)
	m, err := s.d.Pools.Mount(ctx, n.Pool, v)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.d.Pools.Unmount(context.WithoutCancel(ctx), n.Pool, v)) }()
	return fn(m.Root)
}

// Release undoes after a crash what Visit did for an operation whose journal holds a Source.
func (s *Service) Release(ctx context.Context, j op.Journal) error {
	var o Source
	if err := unmarshal(j, &o); err != nil {
		return err
	}
	return s.hide(ctx, o.Name)
}

// release undoes borrow after a crash.
func (s *Service) release(ctx context.Context, o Source) error {
	err := s.d.Pools.UnmountCustom(ctx, o.Project, o.Pool, strings.TrimSuffix(o.Name.Name+"/"+o.Snapshot, "/"), borrowed)
	for _, snap := range o.Kept {
		err = errors.Join(err, s.d.Pools.UnmountCustom(ctx, o.Project, o.Pool, o.Name.Name+"/"+snap, borrowed))
	}
	return err
}
