package image

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Kinds of operations that are recovered.
const (
	importKind = "image-import"
	deleteKind = "image-delete"
)

// target is what the journals of operations on an image hold.
type target struct{ Project, Fingerprint string }

// lock is the name under which only one operation works on the files of an image.
func lock(fingerprint string) string { return "image " + fingerprint }

// Import returns the work that makes an image of an upload. The work removes the upload, however it ends; if it is not run, the
// caller has to.
func (s *Service) Import(ctx context.Context, proj string, u *Upload) (op.Spec, error) {
	i := &importing{s: s, u: u, project: proj, r: Record{Fingerprint: u.fingerprint()}}
	err := s.view(ctx, proj, func(_ store.Tx, owner string) error { i.r.Project = owner; return nil })
	return op.Spec{
		Kind: importKind, Description: api.OperationDownloadingImage.String(), Project: proj, Locks: []string{lock(i.r.Fingerprint)},
		Resources: map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", proj)}},
		Args:      target{i.r.Project, i.r.Fingerprint},
		Run:       i.run,
	}, err
}

// importing is one run of an import.
type importing struct {
	s       *Service
	u       *Upload
	project string // of the request; r.Project is the one that owns the images
	r       Record
}

func (i *importing) run(ctx context.Context, t *op.Task) error {
	defer i.u.Discard()
	if err := i.check(ctx, t); err != nil {
		return err
	}
	if err := t.Step(ctx, "files", i.keep, i.drop); err != nil {
		return err
	}
	record := func(ctx context.Context) error { return i.record(ctx, t) }
	if err := t.Step(ctx, "record", record, i.forget); err != nil {
		return err
	}
	t.SetMetadata("fingerprint", i.r.Fingerprint)
	t.SetMetadata("size", strconv.FormatInt(i.r.Size, 10))
	t.SetMetadata("entity_url", i.r.URL())
	return nil
}

// check finds out what the upload is, and whether it can become an image. It has no effects.
func (i *importing) check(ctx context.Context, t *op.Task) error {
	if i.u.flaw != nil {
		return i.u.flaw
	}
	if want := i.u.Wish.Fingerprint; want != "" && want != i.r.Fingerprint {
		return errs.Newf(errs.Invalid, "the image has the fingerprint %s, not %s as announced: it was changed or cut short on the way", i.r.Fingerprint, want)
	}
	err := i.s.d.Store.View(ctx, func(tx store.Tx) error {
		if Collection.Has(tx, Key(i.r.Project, i.r.Fingerprint)) {
			return errs.Newf(errs.Conflict, "an image with fingerprint %s already exists in project %q", i.r.Fingerprint, i.r.Project)
		}
		return checkProfiles(tx, i.project, i.u.Profiles)
	})
	if err != nil {
		return err
	}
	look := inspection{ctx: ctx, size: i.u.size, progress: func(s string) { t.Progress("import_progress", s) }}
	f, err := look.inspect(i.u.meta, i.u.root, i.u.rootName)
	if err != nil {
		return err
	}
	i.describe(f)
	return nil
}

// describe fills in the record.
func (i *importing) describe(f facts) {
	r, u := &i.r, i.u
	r.Type, r.Architecture, r.Size = f.kind, f.metadata.Architecture, u.size
	r.Filename, r.Public, r.Profiles = u.Filename, u.Public, u.Profiles
	r.CreatedAt, r.UploadedAt = time.Unix(f.metadata.CreationDate, 0).UTC(), time.Now().UTC()
	if f.metadata.ExpiryDate != 0 {
		r.ExpiresAt = time.Unix(f.metadata.ExpiryDate, 0).UTC()
	}
	r.Properties = maps.Clone(orEmpty(f.metadata.Properties))
	maps.Copy(r.Properties, u.Properties)
	if r.Profiles == nil {
		r.Profiles = []string{project.Default}
	}
}

// keep moves the files to where they stay.
func (i *importing) keep(context.Context) error {
	if i.u.root != "" {
		if err := os.Rename(i.u.root, i.s.rootFile(i.r.Fingerprint)); err != nil {
			return err
		}
	}
	if err := os.Rename(i.u.meta, i.s.metaFile(i.r.Fingerprint)); err != nil {
		return errors.Join(err, i.drop(context.Background()))
	}
	return syncFolder(i.s.d.Dir)
}

func (i *importing) drop(ctx context.Context) error { return i.s.dropFiles(ctx, i.r.Fingerprint) }

func (i *importing) record(ctx context.Context, t *op.Task) error {
	return i.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := checkProfiles(tx, i.project, i.u.Profiles); err != nil {
			return err
		}
		tx.Announce(i.r.change(api.LifecycleImageCreated))
		return Collection.Insert(tx, i.r)
	})
}

func (i *importing) forget(ctx context.Context) error {
	return i.s.d.Store.Update(ctx, func(tx store.Tx) error {
		_, err := removeRecord(tx, i.r.Project, i.r.Fingerprint)
		return err
	})
}

// dropFiles removes the files of an image that no project has; missing ones are no error.
func (s *Service) dropFiles(ctx context.Context, fingerprint string) error {
	if len(fingerprint) != maxPrefix || !isHex(fingerprint) {
		return errs.Newf(errs.Internal, "%q is no fingerprint", fingerprint)
	}
	used := false
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		used, err = kept(tx, fingerprint)
		return err
	})
	if err != nil || used {
		return err
	}
	for _, f := range []string{s.metaFile(fingerprint), s.rootFile(fingerprint)} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
