package image

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/image/source"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Refresh returns the work that looks for a newer version of an image where it came from. The newer one takes over its aliases and what is
// set on it, and the older one goes.
func (s *Service) Refresh(ctx context.Context, proj, prefix string) (op.Spec, error) {
	var r Record
	err := s.view(ctx, proj, func(tx store.Tx, owner string) (err error) {
		r, err = find(tx, owner, prefix)
		return err
	})
	return s.refresh(proj, r), err
}

func (s *Service) refresh(proj string, r Record) op.Spec {
	return op.Spec{
		Kind: refreshKind, Description: api.OperationRefreshingImage.String(), Project: proj, Locks: []string{lock(r.Fingerprint)},
		Resources: map[string][]string{string(api.EntityTypeImage): {r.URL()}},
		Metadata:  map[string]any{"refreshed": false},
		Args:      target{r.Project, r.Fingerprint},
		Run:       func(ctx context.Context, t *op.Task) error { return s.renew(ctx, t, proj, r) },
	}
}

// renew replaces an image by the newest version of it.
func (s *Service) renew(ctx context.Context, t *op.Task, proj string, old Record) error {
	if old.Source == nil {
		return errs.Newf(errs.Unsupported, "image %s was uploaded or published and has no source to refresh it from: import the newer version", old.Fingerprint)
	}
	place := old.Source.place()
	if place.Alias == "" && place.Protocol != source.Direct {
		return errs.Newf(errs.Unsupported, "image %s was taken by its fingerprint, which has no newer version: copy it by its alias", old.Fingerprint)
	}
	var err error
	if place.Arch, err = s.setting(ctx, proj, DefaultArchitecture); err != nil {
		return err
	}
	found, err := s.d.Sources.Find(ctx, place)
	if err != nil {
		return err
	}
	if found.Info.Fingerprint == old.Fingerprint {
		t.SetMetadata("refreshed", false)
		return nil
	}
	if len(found.Info.Fingerprint) != maxPrefix || !isHex(found.Info.Fingerprint) {
		return errs.Newf(errs.Invalid, "image server %s names %.80q as a fingerprint, which is none", place.Server, found.Info.Fingerprint)
	}
	if err := s.replace(ctx, t, replacement{proj, old, place, found}); err != nil {
		return err
	}
	t.SetMetadata("refreshed", true)
	return s.clear(ctx, t, old)
}

// place is where the newest version is.
func (o *Origin) place() source.Place {
	return source.Place{Server: o.Server, Protocol: o.Protocol, Certificate: o.Certificate, Alias: o.Alias, Type: o.Type, Project: o.Project,
		Open: !o.Restricted}
}

// replacement is a newer version that was found.
type replacement struct {
	project string
	old     Record
	place   source.Place
	found   source.Found
}

// replace fetches the newer version and puts it into the place of the older, or does so with one that is there already.
func (s *Service) replace(ctx context.Context, t *op.Task, n replacement) error {
	old := n.old
	f := &fetching{s: s, project: n.project, owner: old.Project, place: n.place, cached: old.Cached, wish: Wish{
		Public: old.Public, AutoUpdate: old.AutoUpdate, Profiles: old.Profiles}}
	there := false
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		there = Collection.Has(tx, Key(old.Project, n.found.Info.Fingerprint))
		return nil
	})
	if err != nil {
		return err
	}
	if there {
		i := &importing{s: s, project: n.project, replaces: &old, r: Record{Project: old.Project, Fingerprint: n.found.Info.Fingerprint}}
		return t.Step(ctx, "record", func(ctx context.Context) error { return s.d.Store.Update(ctx, i.supersede) }, nil)
	}
	i, err := f.arrive(ctx, t, n.found)
	if err != nil {
		return err
	}
	i.replaces = &old
	return i.run(ctx, t)
}

// supersede moves the aliases of the older image to the newer, and removes the older one's record.
func (i *importing) supersede(tx store.Tx) error {
	old := *i.replaces
	if _, err := Collection.Get(tx, Key(old.Project, old.Fingerprint)); err != nil {
		return err // it was deleted meanwhile: so should be its successor
	}
	for _, user := range Collection.UsedBy(tx, Key(old.Project, old.Fingerprint)) {
		if user.Collection != Aliases.Name {
			continue
		}
		err := Aliases.Modify(tx, user.Key, func(a *Alias) error {
			a.Target = i.r.Fingerprint
			tx.Announce(a.change(api.LifecycleImageAliasUpdated))
			return nil
		})
		if err != nil {
			return err
		}
	}
	tx.Announce(i.r.change(api.LifecycleImageRefreshed))
	_, err := removeRecord(tx, old.Project, old.Fingerprint)
	return err
}

// clear removes what is left of an image without a record. From here on it is not cancelled.
func (s *Service) clear(ctx context.Context, t *op.Task, old Record) error {
	ctx = context.WithoutCancel(ctx)
	volumes := func(ctx context.Context) error { return s.dropVolumes(ctx, old.Fingerprint) }
	if err := t.Step(ctx, "volumes", volumes, nil); err != nil {
		return err
	}
	return t.Step(ctx, "drop", func(ctx context.Context) error { return s.dropFiles(ctx, old.Fingerprint) }, nil)
}

// recoverRefresh removes what is left of an image that was replaced, and of one that did not get as far as its record.
func (s *Service) recoverRefresh(ctx context.Context, j op.Journal) error {
	t, err := targetOf(j)
	if err != nil {
		return err
	}
	if err := s.dropVolumes(ctx, t.Fingerprint); err != nil {
		return err
	}
	if err := s.dropFiles(ctx, t.Fingerprint); err != nil {
		return err
	}
	return s.sweep()
}

// Tender does by itself what is due: it compares images with their sources, and removes cached ones that are not used.
type Tender struct {
	s    *Service
	ops  Starter
	last map[string]time.Time
}

// Tender makes the one who does what is due.
func (s *Service) Tender(ops Starter) *Tender {
	return &Tender{s: s, ops: ops, last: map[string]time.Time{}}
}

// pace is how often the Tender looks whether something is due.
const pace = time.Minute

// Run does what is due until ctx ends.
func (x *Tender) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-time.After(pace):
			x.Tend(ctx, now)
		}
	}
}

// Tend does what is due at a time, and waits for it.
func (x *Tender) Tend(ctx context.Context, now time.Time) {
	var all []Record
	err := x.s.d.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		for r, err := range Collection.All(tx, "") {
			if err != nil {
				return err
			}
			if r.Cached || r.AutoUpdate && r.Source != nil {
				all = append(all, r)
			}
		}
		return nil
	})
	if err != nil {
		slog.Error("Could not find out which images are due", "err", err)
		return
	}
	var updated []string
	for _, r := range all {
		if ctx.Err() != nil {
			return
		}
		if gone, err := x.expire(ctx, r, now); err != nil || gone {
			report(ctx, "Could not remove an image that is not used any more", r, err)
			continue
		}
		due, err := x.due(ctx, r, now)
		if err == nil && due {
			if !slices.Contains(updated, r.Project) {
				updated = append(updated, r.Project)
			}
			err = x.start(ctx, x.s.refresh(r.Project, r))
		}
		report(ctx, "Could not bring an image up to date", r, err)
	}
	for _, proj := range updated {
		x.last[proj] = now
	}
}

func report(ctx context.Context, what string, r Record, err error) {
	if err != nil && ctx.Err() == nil && !errs.Is(err, errs.Conflict) {
		slog.Warn(what, "project", r.Project, "image", r.Fingerprint, "err", err)
	}
}

func (x *Tender) start(ctx context.Context, spec op.Spec) error {
	o, err := x.ops.Start(ctx, spec)
	if err != nil {
		return err
	}
	err = o.Wait(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// expire removes a cached image that was not used for as long as the configuration says.
func (x *Tender) expire(ctx context.Context, r Record, now time.Time) (gone bool, err error) {
	if !r.Cached {
		return false, nil
	}
	days, err := x.s.number(ctx, r.Project, RemoteCacheExpiry)
	if err != nil || days <= 0 {
		return false, err
	}
	used := r.LastUsedAt
	if used.Before(r.UploadedAt) {
		used = r.UploadedAt
	}
	if now.Sub(used) < time.Duration(min(days, 1<<16))*24*time.Hour {
		return false, nil
	}
	spec, err := x.s.Delete(ctx, r.Project, r.Fingerprint)
	if err != nil {
		return false, err
	}
	spec.Description = api.OperationCleaningUpExpiredImages.String()
	return true, x.start(ctx, spec)
}

// due tells whether an image is to be compared with its source.
func (x *Tender) due(ctx context.Context, r Record, now time.Time) (bool, error) {
	if !r.AutoUpdate || r.Source == nil || r.Source.Alias == "" && r.Source.Protocol != source.Direct {
		return false, nil
	}
	if r.Cached {
		if wanted, err := x.s.updatesCached(ctx, r.Project); err != nil || !wanted {
			return false, err
		}
	}
	every, err := x.s.interval(ctx, r.Project)
	if err != nil || every == 0 {
		return false, err
	}
	if last, ok := x.last[r.Project]; ok && now.Sub(last) < every {
		return false, nil
	}
	return true, nil
}
