package image

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// fetching is one fetch of an image from another server.
type fetching struct {
	s *Service
	// project is that of the request, owner the one that owns its images.
	project, owner string
	place          source.Place
	wish           Wish
	// cached says that the image is wanted for an instance only.
	cached bool
}

// fetch returns the work that makes an image of one on another server.
func (s *Service) fetch(ctx context.Context, o Order, place source.Place) (op.Spec, error) {
	f := &fetching{s: s, project: o.Project, place: place, wish: wishOf(o.Post)}
	if err := place.Check(); err != nil {
		return op.Spec{}, err
	}
	err := s.view(ctx, o.Project, func(tx store.Tx, owner string) error {
		f.owner = owner
		i := importing{s: s, project: f.project, r: Record{Project: owner}, u: &Upload{Wish: f.wish}}
		return i.admit(tx)
	})
	return op.Spec{
		Kind: fetchKind, Description: api.OperationDownloadingImage.String(), Project: o.Project,
		Resources: map[string][]string{string(api.EntityTypeProject): {project.URL("", "projects", o.Project)}},
		Args:      target{f.owner, ""},
		Run: func(ctx context.Context, t *op.Task) error {
			_, err := f.run(ctx, t)
			return err
		},
	}, err
}

// wishOf is what a request in JSON wants of an image.
func wishOf(post api.ImagesPost) Wish {
	return Wish{Filename: post.Filename, Public: post.Public, AutoUpdate: post.AutoUpdate, ExpiresAt: post.ExpiresAt, Properties: post.Properties,
		Aliases: post.Aliases, Profiles: post.Profiles}
}

// run finds the image, and fetches it unless it is there. Requests for the same image wait for each other.
func (f *fetching) run(ctx context.Context, t *op.Task) (r Record, err error) {
	release, err := f.s.arrivals.take(ctx, fmt.Sprintf("%s %+v", f.owner, f.place))
	if err != nil {
		return r, err
	}
	defer release()
	if r, ok, err := f.present(ctx, t); ok || err != nil {
		return r, err
	}
	found, err := f.find(ctx)
	if err != nil {
		return r, err
	}
	if r, ok, err := f.adopt(ctx, t, found.Info.Fingerprint); ok || err != nil {
		return r, err
	}
	i, err := f.arrive(ctx, t, found)
	if err != nil {
		return r, err
	}
	if err = i.run(ctx, t); errs.Is(err, errs.Conflict) { // somebody else fetched it meanwhile
		if r, ok, e := f.adopt(ctx, t, found.Info.Fingerprint); ok && e == nil {
			return r, nil
		}
	}
	return i.r, err
}

// find asks the server for the image.
func (f *fetching) find(ctx context.Context) (found source.Found, err error) {
	if f.place.Arch, err = f.s.setting(ctx, f.project, DefaultArchitecture); err != nil {
		return found, err
	}
	if found, err = f.s.d.Sources.Find(ctx, f.place); err != nil {
		return found, err
	}
	if len(found.Info.Fingerprint) != maxPrefix || !isHex(found.Info.Fingerprint) {
		return found, errs.Newf(errs.Invalid, "image server %s names %.80q as a fingerprint, which is none", f.place.Server, found.Info.Fingerprint)
	}
	names := found.Info.Aliases
	if f.place.Protocol == source.Simplestreams && f.place.Alias == "" && f.wish.AutoUpdate && len(names) > 0 {
		f.place.Alias = names[0].Name // older clients name the fingerprint alone of what is to be kept up to date
	}
	return found, nil
}

// present finds the image without asking the server, if that can be told.
func (f *fetching) present(ctx context.Context, t *op.Task) (Record, bool, error) {
	if fp := f.place.Fingerprint; len(fp) == maxPrefix && isHex(fp) {
		if r, ok, err := f.adopt(ctx, t, fp); ok || err != nil {
			return r, ok, err
		}
	}
	if !f.cached {
		return Record{}, false, nil
	}
	return f.remembered(ctx)
}

// origin is what is kept of the place.
func (f *fetching) origin() *Origin {
	p := f.place
	return &Origin{Server: p.Server, Protocol: p.Protocol, Certificate: p.Certificate, Alias: p.Alias, Type: p.Type, Project: p.Project, Restricted: !p.Open}
}

// remembered finds the image of an earlier fetch from the same place. As long as it is kept up to date, the server need not be asked.
func (f *fetching) remembered(ctx context.Context) (found Record, ok bool, err error) {
	every, err := f.s.interval(ctx, f.project)
	if err != nil || every == 0 || f.place.Alias == "" {
		return found, false, err
	}
	want := f.origin()
	err = f.s.d.Store.View(ctx, func(tx store.Tx) error {
		for r, err := range Collection.All(tx, f.owner+"/") {
			if err != nil {
				return err
			}
			if r.Source != nil && *r.Source == *want && r.AutoUpdate && (!ok || r.UploadedAt.After(found.UploadedAt)) {
				found, ok = r, true
			}
		}
		return nil
	})
	return found, ok, err
}

// adopt takes an image that the project has already for the one that is asked for: one that was only cached is now there to stay.
func (f *fetching) adopt(ctx context.Context, t *op.Task, fingerprint string) (r Record, ok bool, err error) {
	key := Key(f.owner, fingerprint)
	err = f.s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		if ok = Collection.Has(tx, key); ok {
			r, err = Collection.Get(tx, key)
		}
		return err
	})
	if err != nil || !ok || f.cached {
		return r, ok, err
	}
	i := importing{s: f.s, u: &Upload{Wish: f.wish}, project: f.project, r: r}
	err = t.Step(ctx, "adopt", func(ctx context.Context) error {
		return f.s.d.Store.Update(ctx, func(tx store.Tx) error {
			if err := i.admit(tx); err != nil {
				return err
			}
			err := Collection.Modify(tx, key, func(r *Record) error {
				r.Cached, r.Public = false, r.Public || f.wish.Public
				if f.wish.AutoUpdate {
					r.AutoUpdate, r.Source = true, f.origin()
				}
				if f.wish.Profiles != nil {
					r.Profiles = f.wish.Profiles
				}
				i.r = *r
				return nil
			})
			if err != nil {
				return err
			}
			tx.Announce(i.r.change(api.LifecycleImageUpdated))
			return addAliases(tx, i.r, f.wish.Aliases)
		})
	}, nil)
	if err == nil {
		i.tell(t)
	}
	return i.r, true, err
}

// arrive fetches the files.
func (f *fetching) arrive(ctx context.Context, t *op.Task, found source.Found) (*importing, error) {
	i := &importing{s: f.s, project: f.project}
	err := t.Step(ctx, "download", func(ctx context.Context) (err error) {
		i.u, err = f.s.receive(ctx, t, found)
		return err
	}, nil)
	if err != nil {
		if i.u != nil {
			i.u.Discard()
		}
		return nil, err
	}
	i.u.Wish, i.u.told, i.u.cached = f.wish, found.Info, f.cached
	i.u.Fingerprint, i.u.Filename = found.Info.Fingerprint, cmp.Or(f.wish.Filename, found.Info.Filename, i.u.Filename)
	i.u.told.Properties = sayable(i.u.told.Properties)
	if i.u.origin = f.origin(); f.place.Secret != "" {
		i.u.origin = nil // the secret is good for once
	}
	i.r = Record{Project: f.owner, Fingerprint: i.u.fingerprint()}
	return i, nil
}

// sayable drops properties from elsewhere that have control characters in them.
func sayable(props map[string]string) map[string]string {
	props = maps.Clone(props)
	maps.DeleteFunc(props, func(k, v string) bool { return k == "" || !oneLine(k) || !oneLine(v) })
	return props
}

func oneLine(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// receive takes in the files of an image from another server. On an error nothing is left.
func (s *Service) receive(ctx context.Context, t *op.Task, found source.Found) (u *Upload, err error) {
	u = &Upload{sum: newSum()}
	show := &arrival{t: t, size: found.Info.Size, begun: time.Now()}
	u.watch = show.watch
	err = found.Receive(ctx, func(p source.Part) (err error) {
		switch {
		case u.meta == "" && p.Name == metaPart:
			u.Filename = p.Filename
			u.meta, err = s.spool(u, p.Body)
		case u.meta != "" && u.root == "" && (p.Name == rootPart || p.Name == diskPart):
			u.rootName = p.Name
			u.root, err = s.spool(u, p.Body)
		default:
			err = errs.Newf(errs.Invalid, "the image server sends a file %q: an image is metadata, and then perhaps rootfs or rootfs.img", p.Name)
		}
		return err
	})
	if err == nil && u.meta == "" {
		err = errs.Newf(errs.Invalid, "the image server sends no files")
	}
	if err == nil {
		return u, nil
	}
	u.Discard()
	if ctx.Err() == nil && errs.KindOf(err) == errs.Internal {
		err = errs.Newf(errs.Unavailable, "the image could not be fetched: %w", err)
	}
	return nil, err
}

// arrival shows how far a download is, and ends one that is larger than announced.
type arrival struct {
	t       *op.Task
	size, n int64
	begun   time.Time
	toldAt  time.Time
	from    io.Reader
}

func (a *arrival) watch(r io.Reader) io.Reader {
	a.from = r
	return a
}

// Read reads on.
func (a *arrival) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	a.n += int64(n)
	if a.size > 0 && a.n > a.size {
		return n, errs.Newf(errs.Invalid, "the image server sends more than the %d bytes that it announced", a.size)
	}
	now := time.Now()
	if a.t == nil || now.Sub(a.toldAt) < 200*time.Millisecond {
		return n, err
	}
	a.toldAt = now
	speed := float64(a.n) / (1 << 20) / max(now.Sub(a.begun).Seconds(), 0.001)
	text := fmt.Sprintf("image: %.2fMiB (%.2fMiB/s)", float64(a.n)/(1<<20), speed)
	if a.size > 0 {
		text = fmt.Sprintf("image: %d%% (%.2fMiB/s)", a.n*100/a.size, speed)
	}
	a.t.Progress("download_progress", text)
	return n, err
}

// Fetch sees to it that a project has the image that an instance is to be made from, and returns it. One that it gets from another server
// is cached: it goes when it is not used for long.
func (s *Service) Fetch(ctx context.Context, t *op.Task, proj string, src api.ImagesPostSource) (img api.Image, err error) {
	f := &fetching{s: s, project: proj, cached: true, place: placeOf(src, !op.CallerOf(ctx).Restricted)}
	if f.wish.AutoUpdate, err = s.updatesCached(ctx, proj); err != nil {
		return img, err
	}
	err = s.view(ctx, proj, func(_ store.Tx, owner string) error { f.owner = owner; return nil })
	if err != nil {
		return img, err
	}
	r, err := f.run(ctx, t)
	if err != nil {
		return img, err
	}
	return s.Resolve(ctx, proj, r.Fingerprint)
}
