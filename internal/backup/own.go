package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"lxd/internal/backup/index"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// headerFile says which streams a backup in the format of a driver has.
const headerFile = "backup/optimized_header.yaml"

// ownHeader is that file.
type ownHeader struct {
	// Root is the folder that holds the files of a custom volume; other servers have them at the top.
	Root       string      `yaml:"root,omitempty"`
	Subvolumes []subvolume `yaml:"subvolumes"`
}

type subvolume struct {
	Path     string `yaml:"path"`
	Snapshot string `yaml:"snapshot"`
	ReadOnly bool   `yaml:"readonly"`
}

// Exports is what backups in the format of a driver need of storage.
type Exports interface {
	Exports(ctx context.Context, pool string) (bool, error)
	Export(ctx context.Context, from storage.Place, snapshots []string, to storage.PartWriter) error
	Import(ctx context.Context, to storage.Place, driver string, next func() (storage.Part, io.Reader, error)) error
}

// Own writes a volume into an archive in the format of its pool's driver.
type Own struct {
	Layout
	From      storage.Place
	Snapshots []string
	// Scratch is a folder for a stream whose size is not known before it is complete.
	Scratch string
	// Progress, if set, is told how much was written.
	Progress func(bytes int64)
}

// file is the name of the file of a part. What is nested has its path in it, with - for each slash and -- for each -.
func (l Layout) file(p storage.Part) string {
	name := l.Whole
	if p.Snapshot != "" {
		name = l.Snapshots + "/" + p.Snapshot
	}
	if p.Path != "" {
		name += "_" + strings.ReplaceAll(strings.ReplaceAll(p.Path, "-", "--"), "/", "-")
	}
	return name + ".bin"
}

// Pack writes the header and the streams.
func (o Own) Pack(ctx context.Context, tw *tar.Writer, from Exports) error {
	var total int64
	return from.Export(ctx, o.From, o.Snapshots, storage.PartWriter{
		Begin: func(parts []storage.Part) error {
			h := ownHeader{Root: rootfs}
			for _, p := range parts {
				h.Subvolumes = append(h.Subvolumes, subvolume{Path: "/" + p.Path, Snapshot: p.Snapshot, ReadOnly: p.Snapshot != "" && p.Path == ""})
			}
			b, err := yaml.Marshal(h)
			if err != nil {
				return err
			}
			if err := entry(tw, headerFile, int64(len(b)), bytes.NewReader(b)); err != nil || len(o.Snapshots) == 0 {
				return err
			}
			return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: o.Layout.Snapshots + "/", Mode: 0o711, ModTime: time.Unix(0, 0)})
		},
		Put: func(p storage.Part, write func(io.Writer) error) error {
			n, err := o.put(tw, o.file(p), write)
			total += n
			if err == nil && o.Progress != nil {
				o.Progress(total)
			}
			return err
		},
	})
}

// put writes one stream, by way of a file that has no name.
func (o Own) put(tw *tar.Writer, name string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(o.Scratch, "stream-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return 0, err
	}
	if err := write(f); err != nil {
		return 0, noSpace(err, o.Scratch)
	}
	if size, err = f.Seek(0, io.SeekCurrent); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, err
	}
	return size, entry(tw, name, size, f)
}

func entry(tw *tar.Writer, name string, size int64, r io.Reader) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o400, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err := io.Copy(tw, r)
	return err
}

// UnpackOwn makes a volume and its snapshots of a backup in the format of a driver. It ends the reading.
func (in *Incoming) UnpackOwn(ctx context.Context, l Layout, to storage.Place, by Exports) (err error) {
	defer func() { err = errors.Join(err, in.Close()) }()
	if in.Interrupt != nil {
		defer context.AfterFunc(ctx, in.Interrupt)()
	}
	r := &ownReader{in: in, l: l, parts: map[string]storage.Part{}, custom: to.Volume.Type == storage.CustomVolume}
	if err := by.Import(ctx, to, in.Backend, r.next); err != nil {
		return err
	}
	if err := in.r.Rest(); err != nil {
		return broken(err)
	}
	return nil
}

// ownReader yields the streams of a backup.
type ownReader struct {
	in *Incoming
	l  Layout
	// parts are those that are still to come, by the name of their file; nil until it is known which.
	parts  map[string]storage.Part
	known  bool
	custom bool
}

func (r *ownReader) next() (storage.Part, io.Reader, error) {
	for {
		h, err := r.in.r.Next()
		if errors.Is(err, io.EOF) {
			return storage.Part{}, nil, r.end()
		}
		if err != nil {
			return storage.Part{}, nil, broken(err)
		}
		name := path.Clean(h.Name)
		if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeDir && name == r.l.Snapshots {
			continue
		}
		if h.Typeflag == tar.TypeReg && name == headerFile && !r.known {
			if err := r.header(); err != nil {
				return storage.Part{}, nil, err
			}
			continue
		}
		if err := r.plain(); err != nil {
			return storage.Part{}, nil, err
		}
		p, ok := r.parts[name]
		if !ok || h.Typeflag != tar.TypeReg {
			return storage.Part{}, nil, errs.Newf(errs.Invalid, "the backup has the entry %q, which it does not speak of before, or twice", h.Name)
		}
		delete(r.parts, name)
		return p, r.in.r, nil
	}
}

// header reads which streams there are.
func (r *ownReader) header() error {
	b, err := io.ReadAll(io.LimitReader(r.in.r, index.Max+1))
	if err != nil {
		return broken(err)
	}
	var h ownHeader
	if err := index.Decode(b, &h); err != nil {
		return errs.Newf(errs.Invalid, "optimized_header.yaml cannot be read: %w", err)
	}
	if r.custom && h.Root != rootfs {
		return errs.Newf(errs.Unsupported, "the optimized backup of a custom volume was made by a server that lays volumes out in another way: export it there without --optimized-storage")
	}
	for _, s := range h.Subvolumes {
		p := storage.Part{Snapshot: s.Snapshot, Path: strings.TrimPrefix(s.Path, "/")}
		if name := r.l.file(p); s.Snapshot != "" && !listed(r.in.Index, s.Snapshot) || r.parts[name] != (storage.Part{}) {
			return errs.Newf(errs.Invalid, "optimized_header.yaml has the snapshot %q that index.yaml does not list, or a path twice", s.Snapshot)
		}
		r.parts[r.l.file(p)] = p
	}
	return r.begin()
}

// plain is for a backup without header: each snapshot has one stream.
func (r *ownReader) plain() error {
	if r.known {
		return nil
	}
	if r.in.Header || r.custom {
		return errs.Newf(errs.Invalid, "the backup lacks optimized_header.yaml before its streams")
	}
	for _, name := range append(slices.Clone(r.in.Snapshots), "") {
		p := storage.Part{Snapshot: name}
		r.parts[r.l.file(p)] = p
	}
	return r.begin()
}

// begin checks that all are there that must be.
func (r *ownReader) begin() error {
	r.known = true
	for _, name := range append(slices.Clone(r.in.Snapshots), "") {
		if _, ok := r.parts[r.l.file(storage.Part{Snapshot: name})]; !ok {
			return errs.Newf(errs.Invalid, "the backup lacks the stream of what it is of, or of a snapshot (%q): get or make it again", name)
		}
	}
	return nil
}

// end is io.EOF once all have come.
func (r *ownReader) end() error {
	if !r.known || len(r.parts) > 0 {
		return errs.Newf(errs.Invalid, "the backup ends before all of its streams: get or make it again")
	}
	return io.EOF
}
