package image

import (
	"cmp"
	"context"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Order is a request to make an image of something that the server is to fetch or to pack.
type Order struct {
	Project string
	Post    api.ImagesPost
	// Open lets the server fetch from anywhere; without it only from addresses that everybody can reach.
	Open bool
	// May fails unless whoever asks may view that object.
	May func(entity, project, url string) error
}

// Create answers a request to make an image of something that the server is to fetch or to pack.
func (s *Service) Create(ctx context.Context, o Order) (op.Spec, error) {
	src := o.Post.Source
	if src == nil {
		return op.Spec{}, errs.Newf(errs.Invalid, "the request has no source: name an instance, a snapshot, an image or a URL")
	}
	if src.Type == "" && src.Mode == "push" { // older clients name no type
		return s.invite(ctx, o)
	}
	switch src.Type {
	case "container", "instance", "snapshot", "virtual-machine":
		return s.publish(ctx, o)
	case "image":
		if src.Mode == "push" {
			return s.invite(ctx, o)
		}
		if src.Server == "" {
			return s.duplicate(ctx, o)
		}
		return s.fetch(ctx, o, placeOf(*src, o.Open))
	case "url":
		return s.fetch(ctx, o, source.Place{Server: src.URL, Protocol: source.Direct, Certificate: src.Certificate, Open: o.Open})
	}
	return op.Spec{}, errs.Newf(errs.Internal, "unknown source type %q: it is instance, snapshot, image or url", src.Type)
}

// placeOf is where a request says that an image is.
func placeOf(src api.ImagesPostSource, open bool) source.Place {
	return source.Place{
		Server: src.Server, Protocol: cmp.Or(src.Protocol, source.LXD), Certificate: src.Certificate, Alias: src.Alias, Fingerprint: src.Fingerprint,
		Type: src.ImageType, Secret: src.Secret, Project: src.Project, Open: open,
	}
}

// duplicate returns the work that gives a project an image of another one of this server. They share its files.
func (s *Service) duplicate(ctx context.Context, o Order) (op.Spec, error) {
	img, err := s.original(ctx, o)
	if err != nil {
		return op.Spec{}, err
	}
	d := &importing{s: s, project: o.Project, u: &Upload{Wish: wishOf(o.Post)}}
	err = s.view(ctx, o.Project, func(tx store.Tx, owner string) error {
		r, err := Collection.Get(tx, Key(img.Project, img.Fingerprint))
		if err != nil {
			return err
		}
		r.Project, r.Public, r.AutoUpdate, r.Cached, r.Profiles = owner, o.Post.Public, o.Post.AutoUpdate, false, o.Post.Profiles
		if r.Profiles == nil {
			r.Profiles = []string{"default"}
		}
		d.r = r
		if Collection.Has(tx, Key(owner, r.Fingerprint)) {
			return errs.Newf(errs.Conflict, "an image with fingerprint %s already exists in project %q", r.Fingerprint, owner)
		}
		return d.admit(tx)
	})
	return op.Spec{
		Kind: "image-duplicate", Description: api.OperationDownloadingImage.String(), Project: o.Project, Locks: []string{lock(d.r.Fingerprint)},
		Run: func(ctx context.Context, t *op.Task) error {
			if err := t.Step(ctx, "record", d.share, nil); err != nil {
				return err
			}
			d.tell(t)
			return nil
		},
	}, err
}

// original finds the image that a request wants a copy of. Who may not view it gets the same answer whether there is one or not.
func (s *Service) original(ctx context.Context, o Order) (img api.Image, err error) {
	src := o.Post.Source
	from, name := cmp.Or(src.Project, o.Project), cmp.Or(src.Fingerprint, src.Alias)
	owner := from
	missing := s.view(ctx, from, func(tx store.Tx, is string) error {
		owner = is
		r, err := resolve(tx, is, name)
		if err == nil {
			img = r.API(tx)
		}
		return err
	})
	may := func(name string) error { return o.May("image", owner, project.URL("", "images", name)) }
	switch {
	case missing != nil:
		return img, cmp.Or(may(name), missing)
	case img.Public || may(img.Fingerprint) == nil:
		return img, nil
	}
	return api.Image{}, cmp.Or(may(name), may(img.Fingerprint))
}

// share writes the record of an image whose files are there. They stay while it is written.
func (i *importing) share(ctx context.Context) error {
	return i.s.d.Store.Update(ctx, func(tx store.Tx) error {
		there, err := kept(tx, i.r.Fingerprint)
		if err != nil {
			return err
		}
		if !there {
			return errs.Newf(errs.NotFound, "image %s was deleted meanwhile", i.r.Fingerprint)
		}
		if err := i.admit(tx); err != nil {
			return err
		}
		tx.Announce(i.r.change(api.LifecycleImageCreated))
		if err := Collection.Insert(tx, i.r); err != nil {
			return err
		}
		return addAliases(tx, i.r, i.u.Aliases)
	})
}

// instanceOf splits the name of what is to be published.
func instanceOf(name string) (instance, snapshot string) {
	instance, snapshot, _ = strings.Cut(name, "/")
	return instance, snapshot
}
