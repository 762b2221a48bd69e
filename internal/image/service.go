package image

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/shelf"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/profile"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Volumes is what images need of storage.
type Volumes interface {
	// DeleteImage removes the volumes that pools keep of an image. One that instances depend on goes with the last of them. That there
	// is none is no error.
	DeleteImage(ctx context.Context, fingerprint string) error
}

// Contents is what images need of instances.
type Contents interface {
	// Content describes the instance of a name, or the snapshot of NAME/SNAPSHOT.
	Content(ctx context.Context, proj, name string) (Content, error)
}

// Content is an instance or a snapshot that an image can be made of.
type Content struct {
	Type, Architecture string
	// Properties are those of the image that it was made from.
	Properties map[string]string
	// Running instances cannot be published.
	Running bool
	// Lock is the name under which operations keep it as it is; "" needs none.
	Lock string
	// Open mounts it.
	Open func(context.Context) (Tree, error)
}

// Tree is a mounted volume. Close gives it back.
type Tree struct {
	// Path has metadata.yaml and templates/ in it; Root is the root file system.
	Path, Root string
	// Owner gives the owners inside of those on the host; nil says that they are the same.
	Owner fs.Mapping
	Close func() error
}

// Starter runs operations.
type Starter interface {
	Start(ctx context.Context, s op.Spec) (*op.Operation, error)
}

// Deps is what the service needs.
type Deps struct {
	Store store.Store
	// Setting reads a key of the server's configuration; nil is for servers that have none.
	Setting func(ctx context.Context, key string) (string, error)
	// Sources finds images on other servers.
	Sources *source.Sources
	// Contents is set by Publish once it exists.
	Contents Contents
	// Volumes is set by Use once it exists.
	Volumes Volumes
	// Files are the folders of the image files; Tmp holds uploads, and is emptied at every start. A file is best kept on the same file system.
	Files *shelf.Shelf
	Tmp   string
}

// Service is the use cases of images.
type Service struct {
	d       Deps
	secrets secrets
	reading reading
	// files is held, by fingerprint, by who changes the files of an image; arrivals, by place, by who fetches one.
	files, arrivals turns
	pushes          pushes
}

// New makes the service; it has no effects.
func New(d Deps) *Service {
	return &Service{d: d, reading: reading{cond: sync.NewCond(new(sync.Mutex))}}
}

// Publish tells the service who has the instances that images are made of; it must be called before the first request.
func (s *Service) Publish(c Contents) { s.d.Contents = c }

// Use tells the service who keeps the volumes of images; it must be called before the first request.
func (s *Service) Use(v Volumes) { s.d.Volumes = v }

// Start makes the folders and says who recovers operations on images.
func (s *Service) Start(m *op.Manager) error {
	if err := errors.Join(s.d.Files.Make(), os.MkdirAll(s.d.Tmp, 0o700)); err != nil {
		return err
	}
	for _, kind := range []string{importKind, fetchKind, publishKind} {
		m.Register(kind, s.recoverImport)
	}
	m.Register(refreshKind, s.recoverRefresh)
	m.Register(deleteKind, s.recoverDelete)
	return s.sweep()
}

// sweep removes the files that no image has: those of operations that a crash cut short before they had a record.
func (s *Service) sweep() error {
	names, err := s.d.Files.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		fingerprint, _, _ := strings.Cut(name, ".")
		if len(fingerprint) != maxPrefix || !isHex(fingerprint) {
			continue
		}
		if err := s.dropFiles(context.Background(), fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// metaFile and rootFile are where the files of an image lie. A fingerprint never reaches them unchecked.
func (s *Service) metaFile(fingerprint string) string { return s.d.Files.Path("", fingerprint) }
func (s *Service) rootFile(fingerprint string) string {
	return s.d.Files.Path("", rootName(fingerprint))
}

func rootName(fingerprint string) string { return fingerprint + ".rootfs" }

// view runs fn with the project whose images proj sees.
func (s *Service) view(ctx context.Context, proj string, fn func(tx store.Tx, owner string) error) error {
	return s.d.Store.View(ctx, owned(proj, fn))
}

func (s *Service) update(ctx context.Context, proj string, fn func(tx store.Tx, owner string) error) error {
	return s.d.Store.Update(ctx, owned(proj, fn))
}

func owned(proj string, fn func(tx store.Tx, owner string) error) func(store.Tx) error {
	return func(tx store.Tx) error {
		owner, err := project.Owner(tx, proj, project.Images)
		if err != nil {
			return err
		}
		return fn(tx, owner)
	}
}

// List loads the images that a project sees, or those of all projects, in order of project and fingerprint.
func (s *Service) List(ctx context.Context, proj string, all bool) (out []api.Image, err error) {
	err = s.view(ctx, proj, func(tx store.Tx, owner string) error {
		prefix := owner + "/"
		if all {
			prefix = ""
		}
		for r, err := range Collection.All(tx, prefix) {
			if err != nil {
				return err
			}
			out = append(out, r.API(tx))
		}
		return nil
	})
	return out, err
}

// Get loads the image whose fingerprint begins with prefix, and what If-Match guards of it.
func (s *Service) Get(ctx context.Context, proj, prefix string) (img api.Image, etag any, err error) {
	err = s.view(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, prefix)
		if err == nil {
			img, etag = r.API(tx), r.ETag()
		}
		return err
	})
	return img, etag, err
}

// Named is the address of an image that an object names by the beginning of its fingerprint; other objects keep theirs.
func (s *Service) Named(ctx context.Context, o auth.Object) string {
	prefix, ok := strings.CutPrefix(o.URL, "/1.0/images/")
	if o.Entity != "image" || !ok || len(prefix) == maxPrefix {
		return o.URL
	}
	img, _, err := s.Get(ctx, o.Project, prefix)
	if err != nil {
		return o.URL
	}
	return "/1.0/images/" + img.Fingerprint
}

// Resolve finds the image that an alias or the beginning of a fingerprint names.
func (s *Service) Resolve(ctx context.Context, proj, ref string) (img api.Image, err error) {
	err = s.view(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := resolve(tx, owner, ref)
		if err == nil {
			img = r.API(tx)
		}
		return err
	})
	return img, err
}

func resolve(tx store.Tx, owner, ref string) (Record, error) {
	if a, err := Aliases.Get(tx, Key(owner, ref)); err == nil {
		return Collection.Get(tx, Key(owner, a.Target))
	}
	if CheckPrefix(ref) != nil {
		return Record{}, errs.Newf(errs.NotFound, "image %q not found: it is neither an alias nor a fingerprint in project %q", ref, owner)
	}
	return find(tx, owner, ref)
}

// Update replaces what can be changed of an image.
func (s *Service) Update(ctx context.Context, proj, prefix string, put api.ImagePut) error {
	return s.update(ctx, proj, func(tx store.Tx, owner string) error {
		r, err := find(tx, owner, prefix)
		if err != nil {
			return err
		}
		profiles := r.Profiles
		if put.Profiles != nil {
			profiles = slices.Clone(put.Profiles)
		}
		if err := checkProfiles(tx, proj, profiles); err != nil {
			return err
		}
		tx.Announce(r.change(api.LifecycleImageUpdated))
		return Collection.Modify(tx, Key(owner, r.Fingerprint), func(r *Record) error {
			r.Public, r.AutoUpdate, r.Properties = put.Public, put.AutoUpdate, put.Properties
			r.ExpiresAt, r.Profiles = put.ExpiresAt, profiles
			return nil
		})
	})
}

// checkProfiles fails with Invalid and names each profile that does not exist.
func checkProfiles(tx store.Tx, proj string, names []string) error {
	owner, err := project.Owner(tx, proj, project.Profiles)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range names {
		if !profile.Collection.Has(tx, profile.Key(owner, name)) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return errs.Newf(errs.Invalid, "no profile is named %q in project %q: create it first, or leave it out", missing, owner)
	}
	return nil
}

// usedPace is how exact the time of the last use is, so that a series of launches does not make each other wait.
const usedPace = time.Minute

// Used notes within tx that an instance was made from an image at that time; an image that is gone is no error.
func (s *Service) Used(tx store.Tx, proj, fingerprint string, at time.Time) error {
	return owned(proj, func(tx store.Tx, owner string) error {
		key := Key(owner, fingerprint)
		if r, err := Collection.Get(tx, key); err != nil || at.Sub(r.LastUsedAt) < usedPace {
			return nil //nolint:nilerr // the image may go while instances are made from it
		}
		return Collection.Modify(tx, key, func(r *Record) error { r.LastUsedAt = at; return nil })
	})(tx)
}
