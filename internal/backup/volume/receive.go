package volume

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"lxd/api"
	"lxd/internal/backup"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
	"lxd/internal/op"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
)

// Import returns the work that makes a volume of a backup; a name, unless empty, goes before that of the backup. The work reads the backup; if it
// is not run, the caller has to close it.
func (s *Service) Import(ctx context.Context, at storage.Name, in *backup.Incoming) (op.Spec, error) {
	vol, kept := described(in)
	switch {
	case in.Type != string(storage.CustomVolume) || vol == nil:
		return op.Spec{}, errs.Newf(errs.Invalid, "the backup is of type %q, not of a custom storage volume", in.Type)
	case vol.ContentType != "" && vol.ContentType != "filesystem":
		return op.Spec{}, errs.Newf(errs.Unsupported, "the backup is of a volume of content type %q, which this server does not have yet", vol.ContentType)
	}
	a := custom.Arrival{Description: vol.Description, Config: vol.Config}
	for _, name := range in.Snapshots {
		i := slices.IndexFunc(kept, func(k api.StorageVolumeSnapshot) bool { return k.Name == name })
		if i < 0 {
			return op.Spec{}, errs.Newf(errs.Invalid, "index.yaml lists the snapshot %q but does not describe it", name)
		}
		a.Snapshots = append(a.Snapshots, kept[i])
	}
	at.Name = cmp.Or(at.Name, in.Name)
	a.Fill = func(ctx context.Context, t *op.Task, pool string, v storage.Volume) error {
		if in.Optimized {
			return in.UnpackOwn(ctx, backup.Layout{Whole: whole, Snapshots: snapshots}, storage.Place{Pool: pool, Volume: v}, s.d.Pools)
		}
		return in.Unpack(ctx, backup.Layout{Whole: whole, Snapshots: snapshots}, func(snapshot string, part fs.Archive) error {
			return s.fill(ctx, t, place{pool, v.At(snapshot)}, part)
		})
	}
	return s.d.Volumes.Receive(ctx, at, a)
}

// described is the volume and the snapshots that a backup speaks of.
func described(in *backup.Incoming) (*api.StorageVolume, []api.StorageVolumeSnapshot) {
	if c := in.Config; len(c.Volumes) > 0 {
		return &c.Volumes[0].StorageVolume, c.Volumes[0].Snapshots
	}
	return in.Config.Volume, in.Config.VolumeSnapshots
}

// place is where a part comes to.
type place struct {
	pool string
	v    storage.Volume
}

// fill makes the content of a volume or snapshot of an archive.
func (s *Service) fill(ctx context.Context, t *op.Task, to place, a fs.Archive) error {
	o := fs.Options{Holes: true, Select: below, Progress: func(n int64) {
		t.Progress("unpack_progress", fmt.Sprintf("%.2fMB", float64(n)/1e6))
	}}
	return s.d.Pools.Fill(ctx, to.pool, to.v, func(ctx context.Context, dir string) error {
		_, err := fs.Extract(ctx, a, dir, o)
		return err
	})
}

// below puts all of an archive below the folder that is the volume's root.
func below(name string) (string, bool) {
	if name == "." || name == "" {
		return "rootfs", true
	}
	return "rootfs/" + name, true
}

// Tarball is a tar archive of files on its way in.
type Tarball struct {
	r        *archive.Reader
	finished chan struct{}
	// Interrupt, if set, ends a read that waits for the sender.
	Interrupt func()
}

// ReadTar begins to read a tar archive of any compression. The caller ends it with Close.
func ReadTar(ctx context.Context, body io.Reader) (*Tarball, error) {
	r, err := archive.Open(ctx, body)
	if err != nil {
		return nil, err
	}
	return &Tarball{r: r, finished: make(chan struct{})}, nil
}

// Finished is closed when nothing more of the body is read.
func (b *Tarball) Finished() <-chan struct{} { return b.finished }

// Close ends the reading.
func (b *Tarball) Close() error {
	select {
	case <-b.finished:
	default:
		close(b.finished)
	}
	return b.r.Close()
}

// ImportTar returns the work that makes a volume that holds the files of a tar archive.
func (s *Service) ImportTar(ctx context.Context, at storage.Name, b *Tarball) (op.Spec, error) {
	return s.d.Volumes.Receive(ctx, at, custom.Arrival{Fill: func(ctx context.Context, t *op.Task, pool string, v storage.Volume) (err error) {
		defer closing(b, &err)
		if b.Interrupt != nil {
			defer context.AfterFunc(ctx, b.Interrupt)()
		}
		if err := s.fill(ctx, t, place{pool, v}, b.r); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
				err = errs.Newf(errs.Invalid, "the tar archive is damaged or ends in the middle: %w", err)
			}
			return err
		}
		return b.r.Rest()
	}})
}
