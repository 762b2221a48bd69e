package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/host/archive"
	"lxd/internal/host/fs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// newSum begins a fingerprint.
func newSum() hash.Hash { return sha256.New() }

// publishing is one image in the making from an instance or a snapshot.
type publishing struct {
	s       *Service
	project string
	owner   string
	name    string
	wish    Wish
	pack    archive.Compression
	content Content
}

// publish returns the work that makes an image of an instance that does not run, or of a snapshot.
func (s *Service) publish(ctx context.Context, o Order) (op.Spec, error) {
	src := o.Post.Source
	instance, snapshot := instanceOf(src.Name)
	switch {
	case instance == "":
		return op.Spec{}, errs.Newf(errs.Invalid, "the source names no instance")
	case (src.Type == "snapshot") != (snapshot != ""):
		return op.Spec{}, errs.Newf(errs.Invalid, "source %q of type %s: a snapshot is named INSTANCE/SNAPSHOT, an instance by its name alone", src.Name, src.Type)
	}
	if err := o.May("instance", o.Project, project.URL("", "instances", instance)); err != nil {
		return op.Spec{}, err
	}
	p := &publishing{s: s, project: o.Project, name: src.Name, wish: wishOf(o.Post)}
	setting := o.Post.CompressionAlgorithm
	if setting == "" {
		var err error
		if setting, err = s.setting(ctx, o.Project, Compression); err != nil {
			return op.Spec{}, err
		}
	}
	var err error
	if p.pack, err = archive.ParseCompression(cmp.Or(setting, "gzip")); err != nil {
		return op.Spec{}, err
	}
	err = s.view(ctx, o.Project, func(tx store.Tx, owner string) error {
		p.owner = owner
		i := importing{s: s, project: p.project, r: Record{Project: owner}, u: &Upload{Wish: p.wish}}
		return i.admit(tx)
	})
	if err == nil {
		p.content, err = p.look(ctx)
	}
	spec := op.Spec{
		Kind: publishKind, Description: api.OperationDownloadingImage.String(), Project: o.Project,
		Resources: map[string][]string{string(api.EntityTypeInstance): {project.URL(o.Project, "instances", instance)}},
		Args:      target{p.owner, ""},
		Run:       p.run,
	}
	if p.content.Lock != "" {
		spec.Locks = []string{p.content.Lock}
	}
	return spec, err
}

// look finds what is to be published, as it is now.
func (p *publishing) look(ctx context.Context) (Content, error) {
	c, err := p.s.d.Contents.Content(ctx, p.project, p.name)
	switch {
	case err != nil:
		return c, err
	case c.Type != string(api.InstanceTypeContainer):
		return c, errs.Newf(errs.Unsupported, "images can only be made of containers yet: %q is a %s", p.name, c.Type)
	case c.Running:
		return c, errs.Newf(errs.Invalid, "instance %q is running: stop it first, publish a snapshot of it, or use: lxc publish --force", p.name)
	}
	return c, nil
}

func (p *publishing) run(ctx context.Context, t *op.Task) (err error) {
	if p.content, err = p.look(ctx); err != nil { // the lock is held now, so that it stays so
		return err
	}
	i := &importing{s: p.s, project: p.project}
	err = t.Step(ctx, "pack", func(ctx context.Context) (err error) {
		i.u, err = p.write(ctx, t)
		return err
	}, nil)
	if i.u != nil {
		defer i.u.Discard()
	}
	if err != nil {
		return err
	}
	meta := p.metadata(nil)
	name := cmp.Or(p.wish.Filename, i.u.Filename)
	i.u.Wish = p.wish
	i.u.Filename = name
	i.r = Record{Project: p.owner, Fingerprint: i.u.fingerprint()}
	i.describe(facts{metadata: meta, kind: p.content.Type})
	i.r.CreatedAt = i.r.UploadedAt.Truncate(time.Second)
	return i.place(ctx, t)
}

// metadata is what the image says of itself: what the instance has, if anything, with what the request changes.
func (p *publishing) metadata(have []byte) (m api.ImageMetadata) {
	if len(have) > 0 {
		if parsed, err := ParseMetadata(bytes.NewReader(have)); err == nil {
			m = parsed
		}
	}
	m.Architecture, m.CreationDate, m.ExpiryDate = p.content.Architecture, time.Now().Unix(), 0
	if isSet(p.wish.ExpiresAt) {
		m.ExpiryDate = p.wish.ExpiresAt.Unix()
	}
	m.Properties = maps.Clone(p.wish.Properties)
	if len(m.Properties) == 0 {
		m.Properties = maps.Clone(p.content.Properties)
	}
	return m
}

// write packs the instance into a file of the folder of uploads, in one pass.
func (p *publishing) write(ctx context.Context, t *op.Task) (u *Upload, err error) {
	tree, err := p.content.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	f, err := os.CreateTemp(p.s.d.Tmp, "image-publish-")
	if err != nil {
		return nil, err
	}
	u = &Upload{sum: newSum(), meta: f.Name()}
	count := &counted{f: f, sum: u.sum}
	err = p.archive(ctx, t, tree, count)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		u.Discard()
		if fullDisk(p.s.d.Tmp) {
			err = errs.Newf(errs.Unavailable, "no space left in %s for the image: free some and try again: %w", p.s.d.Tmp, err)
		}
		return nil, err
	}
	u.size, u.Filename = count.n, u.fingerprint()+string(p.pack.Format())
	return u, nil
}

// counted counts and hashes what is written to a file. The kernel begins early to write it to disk, as in fill.
type counted struct {
	f          *os.File
	sum        hash.Hash
	n, flushed int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.f.Write(b)
	_, _ = c.sum.Write(b[:n]) // a hash takes everything
	c.n += int64(n)
	if c.n-c.flushed >= flushSize {
		_ = unix.SyncFileRange(int(c.f.Fd()), c.flushed, c.n-c.flushed, unix.SYNC_FILE_RANGE_WRITE) // a hint
		c.flushed = c.n
	}
	return n, err
}

func (p *publishing) archive(ctx context.Context, t *op.Task, tree Tree, w io.Writer) (err error) {
	packed, err := p.pack.Writer(ctx, w)
	if err != nil {
		return err
	}
	out := tar.NewWriter(packed)
	err = p.entries(ctx, t, tree, out)
	if err == nil {
		err = out.Close()
	}
	return errors.Join(err, packed.Close())
}

// entries writes metadata.yaml, templates/ and rootfs/.
func (p *publishing) entries(ctx context.Context, t *op.Task, tree Tree, out *tar.Writer) error {
	top, err := fs.OpenRoot(tree.Path)
	if err != nil {
		return err
	}
	defer top.Close()
	have, err := top.ReadFile(metadataFile, maxMetadata)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("metadata.yaml of the instance: %w", err)
	}
	text, err := yaml.Marshal(p.metadata(have))
	if err != nil {
		return err
	}
	h := &tar.Header{Name: metadataFile, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: time.Now().Truncate(time.Second)}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	if st, err := top.Lstat(templatesFolder); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := fs.Pack(ctx, out, filepath.Join(tree.Path, templatesFolder), fs.PackOptions{Prefix: templatesFolder}); err != nil {
			return err
		}
	}
	show := func(n int64) {
		t.Progress("create_image_from_container_pack_progress", fmt.Sprintf("Image pack: %.2fMiB", float64(n)/(1<<20)))
	}
	return fs.Pack(ctx, out, tree.Root, fs.PackOptions{Prefix: rootFolder, Owner: tree.Owner, Progress: show})
}
