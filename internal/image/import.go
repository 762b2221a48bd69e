package image

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// Kinds of operations that are recovered.
const (
	importKind  = "image-import"
	fetchKind   = "image-fetch"
	publishKind = "image-publish"
	refreshKind = "image-refresh"
	deleteKind  = "image-delete"
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
		Run: func(ctx context.Context, t *op.Task) error {
			err := i.run(ctx, t)
			u.pushed(err)
			return err
		},
	}, err
}

// importing is one run of an import: of an upload, of what was fetched from another server, or of what was packed here.
type importing struct {
	s       *Service
	u       *Upload
	project string // of the request; r.Project is the one that owns the images
	r       Record
	// replaces is the image that this one is a newer version of; nil is none.
	replaces *Record
}

func (i *importing) run(ctx context.Context, t *op.Task) error {
	defer i.u.Discard()
	if err := i.check(ctx, t); err != nil {
		return err
	}
	return i.place(ctx, t)
}

// place makes the upload an image. Nobody else changes the files of the same image meanwhile.
func (i *importing) place(ctx context.Context, t *op.Task) (err error) {
	release, err := i.s.files.take(ctx, i.r.Fingerprint)
	if err != nil {
		return err
	}
	defer release()
	sc := scope{t: t}
	defer sc.Unwind(ctx, &err)
	if err := sc.step(ctx, "files", i.keep, i.drop); err != nil {
		return err
	}
	if err := sc.step(ctx, "record", i.record, i.forget); err != nil {
		return err
	}
	i.tell(t)
	return nil
}

// scope is a part of an operation that is complete by itself: what was done in it is undone when it fails, and stays when the operation
// fails later.
type scope struct {
	undo.Stack
	t *op.Task
}

func (s *scope) step(ctx context.Context, name string, do, back func(context.Context) error) error {
	return s.t.Step(ctx, name, func(ctx context.Context) error {
		err := do(ctx)
		if err == nil {
			s.Add(name, back)
		}
		return err
	}, nil)
}

// tell shows clients which image it is.
func (i *importing) tell(t *op.Task) {
	t.SetMetadata("fingerprint", i.r.Fingerprint)
	t.SetMetadata("size", strconv.FormatInt(i.r.Size, 10))
	t.SetMetadata("entity_url", i.r.URL())
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
		return i.admit(tx)
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

// admit fails on profiles that are not there, and on aliases that are.
func (i *importing) admit(tx store.Tx) error {
	if err := checkProfiles(tx, i.project, i.u.Profiles); err != nil {
		return err
	}
	for _, a := range i.u.Aliases {
		if err := CheckAlias(a.Name); err != nil {
			return err
		}
		if i.replaces == nil && Aliases.Has(tx, Key(i.r.Project, a.Name)) {
			return errs.Newf(errs.Conflict, "image alias %q already exists in project %q: delete it first, or choose another", a.Name, i.r.Project)
		}
	}
	return nil
}

// describe fills in the record: what the request says goes first, then what the server it comes from says, then what is in the image.
func (i *importing) describe(f facts) {
	r, u := &i.r, i.u
	r.Type, r.Architecture, r.Size = f.kind, f.metadata.Architecture, u.size
	r.Filename, r.Public, r.Profiles, r.AutoUpdate, r.Cached, r.Source = u.Filename, u.Public, u.Profiles, u.AutoUpdate, u.cached, u.origin
	r.CreatedAt, r.UploadedAt = time.Unix(f.metadata.CreationDate, 0).UTC(), time.Now().UTC()
	switch {
	case isSet(u.ExpiresAt):
		r.ExpiresAt = u.ExpiresAt.UTC()
	case isSet(u.told.ExpiresAt):
		r.ExpiresAt = u.told.ExpiresAt.UTC()
	case f.metadata.ExpiryDate != 0:
		r.ExpiresAt = time.Unix(f.metadata.ExpiryDate, 0).UTC()
	}
	r.Properties = maps.Clone(orEmpty(f.metadata.Properties))
	if len(u.told.Properties) > 0 {
		r.Properties = maps.Clone(u.told.Properties)
	}
	maps.Copy(r.Properties, u.Properties)
	if r.Profiles == nil {
		r.Profiles = []string{project.Default}
	}
}

// isSet tells whether a time was given: neither the zero time nor the epoch is, which stand for never.
func isSet(t time.Time) bool { return !t.IsZero() && t.Unix() > 0 }

// keep moves the files to where they stay. Those of an image that another project has already are left as they are: the same bytes can be
// cut into two files in another place, which that project must not get.
func (i *importing) keep(ctx context.Context) error {
	if there, err := i.shared(ctx); err != nil || there {
		return err
	}
	if i.u.root != "" {
		if err := i.s.d.Files.Put(ctx, i.u.root, i.r.Project, rootName(i.r.Fingerprint)); err != nil {
			return err
		}
	}
	if err := i.s.d.Files.Put(ctx, i.u.meta, i.r.Project, i.r.Fingerprint); err != nil {
		return errors.Join(err, i.drop(context.Background()))
	}
	return nil
}

// shared tells whether a project has the image, and its files are there.
func (i *importing) shared(ctx context.Context) (there bool, err error) {
	err = i.s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		there, err = kept(tx, i.r.Fingerprint)
		return err
	})
	if err != nil || !there {
		return false, err
	}
	_, err = os.Stat(i.s.metaFile(i.r.Fingerprint))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (i *importing) drop(ctx context.Context) error { return i.s.removeFiles(ctx, i.r.Fingerprint) }

func (i *importing) record(ctx context.Context) error {
	return i.s.d.Store.Update(ctx, func(tx store.Tx) error {
		if err := i.admit(tx); err != nil {
			return err
		}
		tx.Announce(i.r.change(api.LifecycleImageCreated))
		if err := Collection.Insert(tx, i.r); err != nil {
			return err
		}
		if i.replaces != nil {
			return i.supersede(tx)
		}
		return addAliases(tx, i.r, i.u.Aliases)
	})
}

// addAliases names an image.
func addAliases(tx store.Tx, r Record, aliases []api.ImageAlias) error {
	for _, a := range aliases {
		alias := Alias{Project: r.Project, Name: a.Name, Description: a.Description, Target: r.Fingerprint}
		tx.Announce(alias.change(api.LifecycleImageAliasCreated))
		if err := Aliases.Insert(tx, alias); err != nil {
			return err
		}
	}
	return nil
}

func (i *importing) forget(ctx context.Context) error {
	return i.s.d.Store.Update(ctx, func(tx store.Tx) error {
		_, err := removeRecord(tx, i.r.Project, i.r.Fingerprint)
		return err
	})
}

// dropFiles removes the files of an image that no project has, when it is its turn; missing ones are no error.
func (s *Service) dropFiles(ctx context.Context, fingerprint string) error {
	release, err := s.files.take(ctx, fingerprint)
	if err != nil {
		return err
	}
	defer release()
	return s.removeFiles(ctx, fingerprint)
}

// removeFiles removes the files of an image that no project has; the caller holds the turn.
func (s *Service) removeFiles(ctx context.Context, fingerprint string) error {
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
	return errors.Join(s.d.Files.Remove(fingerprint), s.d.Files.Remove(rootName(fingerprint)))
}
