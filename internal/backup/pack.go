package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/backup/index"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/instance"
	"lxd/internal/storage"
)

// Names in a backup.
const (
	indexFile  = "backup/index.yaml"
	whole      = "backup/container"
	snapshots  = "backup/snapshots"
	configFile = "backup.yaml"
)

// Names in a volume's folder.
const (
	rootfs    = "rootfs"
	metadata  = "metadata.yaml"
	templates = "templates"
)

// Wish is how a backup is to be.
type Wish struct {
	// InstanceOnly leaves snapshots out.
	InstanceOnly bool
	// Compression is as archive.ParseCompression reads it; "" is the project's, or the server's.
	Compression string
	// Version is that of the format; 0 is the one that all servers read.
	Version int64
	// Optimized asks for the format of the storage driver; those that have none write the one that all read.
	Optimized bool
}

// check reads the wish.
func (s *Service) check(ctx context.Context, proj string, w *Wish) (archive.Compression, error) {
	switch {
	case w.Version == 0:
		w.Version = index.Old
	case w.Version < index.Old || w.Version > index.Current:
		return archive.Compression{}, errs.Newf(errs.Invalid, "backup format version %d is unknown: this server writes %d and %d", w.Version, index.Old, index.Current)
	}
	if w.Compression == "" {
		var err error
		if w.Compression, err = s.d.Compression(ctx, proj); err != nil {
			return archive.Compression{}, err
		}
	}
	return archive.ParseCompression(w.Compression)
}

// packing is one run of writing an instance into an archive.
type packing struct {
	s        *Service
	o        instance.Original
	w        Wish
	progress func(bytes int64)
	tw       *tar.Writer
	config   []byte
}

// pack writes the instance, as it is now, to out. The instance's lock is held, so that it stays so.
func (m *making) pack(ctx context.Context, out io.Writer, progress func(int64)) (err error) {
	o, err := m.s.d.Instances.Original(ctx, m.r.Project, m.r.Instance)
	if err != nil {
		return err
	}
	z, err := m.compression.Writer(ctx, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if m.w.InstanceOnly {
		o.Snapshots = nil
	}
	p := &packing{s: m.s, o: o, w: m.w, progress: progress, tw: tar.NewWriter(z)}
	if err := p.index(ctx); err != nil {
		return err
	}
	err = m.s.d.Instances.Apart(ctx, o, func(apart string) error {
		if m.w.Optimized {
			return p.own(ctx, apart)
		}
		return p.volume(ctx, whole, apart)
	})
	if err != nil {
		return err
	}
	if m.w.Optimized {
		return p.tw.Close()
	}
	if len(o.Snapshots) > 0 {
		if err := p.folder(snapshots); err != nil {
			return err
		}
	}
	for _, snap := range o.Snapshots {
		if err := p.volume(ctx, snapshots+"/"+snap.Name, snap.Name); err != nil {
			return err
		}
	}
	return p.tw.Close()
}

// index writes the first entry, and keeps backup.yaml for later.
func (p *packing) index(ctx context.Context) error {
	pool, _, err := p.s.d.Volumes.GetPool(ctx, p.o.Pool)
	if err != nil {
		return err
	}
	vol, _, err := p.s.d.Volumes.GetVolume(ctx, p.o.Pool, p.o.Instance.Project, p.o.Volume.Type, p.o.Instance.Name)
	if err != nil {
		return err
	}
	pool.UsedBy, vol.UsedBy = []string{}, []string{} // others are nobody's business
	v := index.Volume{StorageVolume: vol, Snapshots: []api.StorageVolumeSnapshot{}}
	i := index.Index{Name: p.o.Instance.Name, Backend: pool.Driver, Pool: p.o.Pool, Type: p.o.Instance.Type,
		Optimized: p.w.Optimized, Header: p.w.Optimized}
	in := p.o.Instance
	in.Config = p.portable(in.Config)
	var kept []api.InstanceSnapshot
	for _, snap := range p.o.Snapshots {
		i.Snapshots = append(i.Snapshots, snap.Name)
		snap.Config = p.portable(snap.Config)
		kept = append(kept, snap)
		expires := snap.ExpiresAt
		v.Snapshots = append(v.Snapshots, api.StorageVolumeSnapshot{Name: snap.Name, ContentType: vol.ContentType, CreatedAt: snap.CreatedAt,
			ExpiresAt: &expires, Config: map[string]string{}})
	}
	i.Config = index.Content{Instance: in, Snapshots: kept, Profiles: p.o.Profiles, Pool: pool, Volume: v}.Config(int(p.w.Version))
	b, err := i.Marshal()
	if err == nil {
		p.config, err = i.Config.Marshal()
	}
	if err != nil {
		return err
	}
	return errors.Join(p.folder("backup"), p.file(indexFile, b))
}

// lastMap is the key that says by which map the owners of the files are shifted.
const lastMap = "volatile.last_state.idmap"

// generation is a key that servers which read the older format alone refuse; it is made anew without it.
const generation = "volatile.uuid.generation"

// portable is a configuration that says that the owners in the backup are those inside, however they are on disk.
func (p *packing) portable(config map[string]string) map[string]string {
	config = maps.Clone(config)
	if config == nil {
		config = map[string]string{}
	}
	config[lastMap] = "[]"
	if p.w.Version == index.Old {
		delete(config, generation)
	}
	return config
}

// own writes the instance and its snapshots in the format of the storage driver.
func (p *packing) own(ctx context.Context, apart string) error {
	o := Own{Layout: Layout{whole, snapshots}, From: storage.Place{Pool: p.o.Pool, Volume: p.o.Volume.At(apart)}, Scratch: p.s.d.Files.Base(), Progress: p.progress}
	for _, snap := range p.o.Snapshots {
		o.Snapshots = append(o.Snapshots, snap.Name)
	}
	return o.Pack(ctx, p.tw, p.s.d.Volumes)
}

func (p *packing) folder(name string) error {
	return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o711, ModTime: time.Unix(0, 0)})
}

func (p *packing) file(name string, b []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o400, Size: int64(len(b)), ModTime: p.s.d.Now().Truncate(time.Second)}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.tw.Write(b)
	return err
}

// volume writes what the instance holds, or the snapshot.
func (p *packing) volume(ctx context.Context, top, snapshot string) error {
	return p.s.d.Instances.Visit(ctx, p.o, snapshot, func(at storage.Mounted, ids idmap.Map) error {
		if err := p.folder(top); err != nil {
			return err
		}
		if top == whole {
			if err := p.file(top+"/"+configFile, p.config); err != nil {
				return err
			}
		}
		if err := p.about(ctx, at.Path, top); err != nil {
			return err
		}
		o := fs.PackOptions{Prefix: top + "/" + rootfs, Progress: p.progress}
		if len(ids) > 0 {
			o.Owner = ids.ToInside
		}
		return fs.Pack(ctx, p.tw, at.Root, o)
	})
}

// about writes what lies beside the root, as far as it is what it should be.
func (p *packing) about(ctx context.Context, path, top string) error {
	root, err := fs.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	b, err := root.ReadFile(metadata, index.Max)
	if err == nil {
		err = p.file(top+"/"+metadata, b)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", metadata, err)
	}
	st, err := os.Lstat(filepath.Join(path, templates))
	if err != nil || !st.IsDir() {
		return nil //nolint:nilerr // there are none
	}
	return fs.Pack(ctx, p.tw, filepath.Join(path, templates), fs.PackOptions{Prefix: top + "/" + templates})
}

// listed tells whether a backup says that it has the snapshot.
func listed(i index.Index, name string) bool { return slices.Contains(i.Snapshots, name) }

// within is the rest of a name below a folder.
func within(name, folder string) (rest string, ok bool) {
	if name == folder {
		return "", true
	}
	return strings.CutPrefix(name, folder+"/")
}
