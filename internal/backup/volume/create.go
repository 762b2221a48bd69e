package volume

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/backup/index"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// Folders in a backup.
const (
	whole     = "backup/volume"
	snapshots = "backup/volume-snapshots"
)

// Recoverers say, by kind of operation, how to deal with one that a crash cut short: what a backup needed besides its file is taken away, and
// the file goes when the service starts.
func (s *Service) Recoverers() map[string]op.Recoverer {
	return map[string]op.Recoverer{"volume-backup": func(ctx context.Context, j op.Journal) error { return s.d.Volumes.Release(ctx, j) }}
}

// spec begins the description of an operation on a backup.
func spec(kind string, what api.OperationType, r Record) op.Spec {
	return op.Spec{Kind: kind, Description: what.String(), Project: r.Volume.Project, Locks: []string{"backup " + r.key()},
		Resources: map[string][]string{
			string(api.EntityTypeStorageVolume):       {r.Volume.URL()},
			string(api.EntityTypeStorageVolumeBackup): {r.url()},
		}}
}

// packing is one run of writing a volume into an archive.
type packing struct {
	s           *Service
	r           Record
	version     int64
	compression archive.Compression
	// kept are the snapshots that it holds.
	kept []api.StorageVolumeSnapshot
	done bool
}

// Create returns the work that makes a backup. Without a name one is made up.
func (s *Service) Create(ctx context.Context, at storage.Name, post api.StoragePoolVolumeBackupsPost) (op.Spec, error) {
	n, err := s.d.Volumes.Resolve(ctx, at)
	if err != nil {
		return op.Spec{}, err
	}
	p := &packing{s: s, version: post.Version, r: Record{Volume: n, Name: post.Name, File: op.NewUUID(), CreatedAt: s.d.Now(), ExpiresAt: post.ExpiresAt.UTC(),
		VolumeOnly: post.VolumeOnly}}
	switch {
	case p.version == 0:
		p.version = index.Old
	case p.version < index.Old || p.version > index.Current:
		return op.Spec{}, errs.Newf(errs.Invalid, "backup format version %d is unknown: this server writes %d and %d", p.version, index.Old, index.Current)
	}
	text := post.CompressionAlgorithm
	if text == "" {
		if text, err = s.d.Compression(ctx, n.Project); err != nil {
			return op.Spec{}, err
		}
	}
	if p.compression, err = archive.ParseCompression(text); err != nil {
		return op.Spec{}, err
	}
	if err := s.d.Store.Update(store.Trial(ctx), p.insert); err != nil {
		return op.Spec{}, err
	}
	if post.OptimizedStorage {
		if p.r.Optimized, err = s.d.Pools.Exports(ctx, n.Pool); err != nil {
			return op.Spec{}, err
		}
	}
	o := spec("volume-backup", api.OperationCreatingCustomVolumeBackup, p.r)
	o.Resources["backups"] = []string{"/1.0/backups/" + p.r.Name} // all after this prefix is the name to clients before 6
	o.Metadata = map[string]any{"entity_url": p.r.url()}
	o.Locks = append(o.Locks, n.Lock())
	o.Args, o.Run = custom.Source{Name: n}, p.run
	return o, nil
}

func (p *packing) run(ctx context.Context, t *op.Task) error {
	defer p.s.make(p.r.File)()
	err := t.Step(ctx, "file", func(ctx context.Context) error { return p.file(ctx, t) }, func(context.Context) error {
		if p.done {
			return nil
		}
		return p.s.drop(p.r.File)
	})
	if err != nil {
		return err
	}
	return t.Step(ctx, "record", func(ctx context.Context) error {
		err := p.s.d.Store.Update(ctx, func(tx store.Tx) error {
			if _, err := storage.Volumes.Get(tx, p.r.Volume.Key()); err != nil {
				return err
			}
			tx.Announce(p.r.change(ctx, api.LifecycleStorageVolumeBackupCreated))
			if err := p.insert(tx); err != nil {
				return err
			}
			return t.EndJournal(tx)
		})
		p.done = err == nil
		return err
	}, nil)
}

func (p *packing) insert(tx store.Tx) error {
	if err := depot.Used(tx, p.r.Volume.Key()); err != nil { // it holds what belongs to others
		return err
	}
	if err := admit(tx, &p.r); err != nil {
		return err
	}
	return Collection.Insert(tx, p.r)
}

// file writes the backup; on failure nothing is left.
func (p *packing) file(ctx context.Context, t *op.Task) (err error) {
	f, err := os.OpenFile(p.s.d.Files.Path(p.r.Volume.Project, p.r.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return p.noSpace(err)
	}
	from := time.Now()
	err = p.pack(ctx, f, func(n int64) {
		rate := float64(n) / max(time.Since(from).Seconds(), 0.001)
		t.Progress("create_backup_progress", fmt.Sprintf("%.2fMB (%.2fMB/s)", float64(n)/1e6, rate/1e6))
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(p.noSpace(err), p.s.drop(p.r.File))
	}
	return nil
}

// noSpace explains a full disk.
func (p *packing) noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("no space left in %s for the backup: free some: %w", p.s.d.Files.Folder(p.r.Volume.Project), err)
	}
	return err
}

// pack writes the volume, as it is now, to out.
func (p *packing) pack(ctx context.Context, out io.Writer, progress func(int64)) (err error) {
	z, err := p.compression.Writer(ctx, out)
	if err != nil {
		return err
	}
	defer closing(z, &err)
	tw := tar.NewWriter(z)
	if err := p.index(ctx, tw); err != nil {
		return err
	}
	if p.r.Optimized {
		if err := p.own(ctx, tw, progress); err != nil {
			return err
		}
		return tw.Close()
	}
	if err := p.part(ctx, tw, "", progress); err != nil {
		return err
	}
	for i, snap := range p.kept {
		if i == 0 {
			if err := folder(tw, snapshots); err != nil {
				return err
			}
		}
		if err := p.part(ctx, tw, snap.Name, progress); err != nil {
			return err
		}
	}
	return tw.Close()
}

// own writes the volume and its snapshots in the format of the storage driver.
func (p *packing) own(ctx context.Context, tw *tar.Writer, progress func(int64)) error {
	n := p.r.Volume
	v := storage.Volume{Type: storage.CustomVolume, Project: n.Project, Name: n.Name}
	o := backup.Own{Layout: backup.Layout{Whole: whole, Snapshots: snapshots}, From: storage.Place{Pool: n.Pool, Volume: v}, Scratch: p.s.d.Files.Base(), Progress: progress}
	for _, snap := range p.kept {
		o.Snapshots = append(o.Snapshots, snap.Name)
	}
	return o.Pack(ctx, tw, p.s.d.Pools)
}

func folder(tw *tar.Writer, name string) error {
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o711, ModTime: time.Unix(0, 0)})
}

// part writes what the volume holds, or the snapshot.
func (p *packing) part(ctx context.Context, tw *tar.Writer, snapshot string, progress func(int64)) error {
	top := whole
	if snapshot != "" {
		top = snapshots + "/" + snapshot
	}
	return p.s.d.Volumes.Visit(ctx, p.r.Volume, snapshot, func(root string) error {
		return fs.Pack(ctx, tw, root, fs.PackOptions{Prefix: top, Progress: progress})
	})
}

// index writes the first entry.
func (p *packing) index(ctx context.Context, tw *tar.Writer) error {
	n := p.r.Volume
	at := storage.Name{Pool: n.Pool, Project: n.Project, Type: storage.CustomVolume, Name: n.Name}
	pool, _, err := p.s.d.Pools.GetPool(ctx, n.Pool)
	if err != nil {
		return err
	}
	vol, _, err := p.s.d.Pools.GetVolume(ctx, n.Pool, n.Project, at.Type, n.Name)
	if err != nil {
		return err
	}
	if !p.r.VolumeOnly {
		if p.kept, _, err = p.s.d.Volumes.Snapshots(ctx, at); err != nil {
			return err
		}
	}
	pool.UsedBy, vol.UsedBy = []string{}, []string{} // others are nobody's business
	i := index.Index{Name: n.Name, Backend: pool.Driver, Pool: n.Pool, Type: string(storage.CustomVolume),
		Optimized: p.r.Optimized, Header: p.r.Optimized}
	for _, snap := range p.kept {
		i.Snapshots = append(i.Snapshots, snap.Name)
	}
	kept := append([]api.StorageVolumeSnapshot{}, p.kept...)
	i.Config = &index.Config{Snapshots: []api.InstanceSnapshot{}}
	if p.version == index.Old {
		i.Config.Pool, i.Config.Volume, i.Config.VolumeSnapshots = &pool, &vol, kept
	} else {
		i.Config.Version, i.Config.Pools = index.Current, []api.StoragePool{pool}
		i.Config.Volumes = []index.Volume{{StorageVolume: vol, Snapshots: kept}}
	}
	b, err := i.Marshal()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "backup/index.yaml", Mode: 0o400, Size: int64(len(b)), ModTime: p.s.d.Now().Truncate(time.Second)}
	if err := errors.Join(folder(tw, "backup"), tw.WriteHeader(h)); err != nil {
		return err
	}
	_, err = tw.Write(b)
	return err
}

// Delete returns the work that removes a backup.
func (s *Service) Delete(ctx context.Context, at storage.Name, name string) (op.Spec, error) {
	r, err := s.find(ctx, at, name)
	return s.removal(r), err
}

// removal removes the record first; a file that stays goes at the next start.
func (s *Service) removal(r Record) op.Spec {
	o := spec("volume-backup-delete", api.OperationDeletingCustomVolumeBackup, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		err := t.Step(ctx, "record", func(ctx context.Context) error {
			return s.d.Store.Update(ctx, func(tx store.Tx) error {
				if !Collection.Has(tx, r.key()) {
					return errs.Newf(errs.NotFound, "backup %q of storage volume %q not found", r.Name, r.Volume.Name)
				}
				tx.Announce(r.change(ctx, api.LifecycleStorageVolumeBackupDeleted))
				return Collection.Delete(tx, r.key())
			})
		}, func(context.Context) error { return s.drop(r.File) }) // there is no way back
		if err != nil {
			return err
		}
		return t.Step(context.WithoutCancel(ctx), "file", func(context.Context) error { return s.drop(r.File) }, nil)
	}
	return o
}

// Rename returns the work that gives a backup a new name.
func (s *Service) Rename(ctx context.Context, at storage.Name, name string, post api.StoragePoolVolumeBackupPost) (op.Spec, error) {
	r, err := s.find(ctx, at, name)
	if err != nil {
		return op.Spec{}, err
	}
	to := r
	if to.Name = post.Name; to.Name == "" {
		return op.Spec{}, errs.Newf(errs.Invalid, "the new name of the backup is missing")
	}
	if err := s.d.Store.View(ctx, func(tx store.Tx) error { return admit(tx, &to) }); err != nil {
		return op.Spec{}, err
	}
	o := spec("volume-backup-rename", api.OperationRenamingCustomVolumeBackup, r)
	o.Run = func(ctx context.Context, t *op.Task) error {
		return t.Step(ctx, "record", func(ctx context.Context) error {
			return s.d.Store.Update(ctx, func(tx store.Tx) error {
				e := to.change(ctx, api.LifecycleStorageVolumeBackupRenamed)
				e.Context = map[string]any{"old_name": r.Volume.Name + "/" + name}
				tx.Announce(e)
				return errors.Join(admit(tx, &to), Collection.Delete(tx, r.key()), Collection.Insert(tx, to))
			})
		}, nil)
	}
	return o, nil
}
