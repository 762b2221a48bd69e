package image

import (
	"context"
	"encoding/json"
	"sync"

	"lxd/api"
	"lxd/internal/op"
	"lxd/internal/store"
)

// Delete returns the work that removes an image of a project with its aliases and, when no other project has it, its files and
// the volumes that pools keep of it. Instances made from it stay.
func (s *Service) Delete(ctx context.Context, proj, prefix string) (op.Spec, error) {
	var r Record
	err := s.view(ctx, proj, func(tx store.Tx, owner string) (err error) {
		r, err = find(tx, owner, prefix)
		return err
	})
	return op.Spec{
		Kind: deleteKind, Description: api.OperationDeletingImage.String(), Project: proj, Locks: []string{lock(r.Fingerprint)},
		Resources: map[string][]string{string(api.EntityTypeImage): {r.URL()}},
		Args:      target{r.Project, r.Fingerprint},
		Run:       func(ctx context.Context, t *op.Task) error { return s.remove(ctx, t, r) },
	}, err
}

// remove takes the record away first, so that nothing new is made from the image. From then on it is not cancelled.
func (s *Service) remove(ctx context.Context, t *op.Task, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	record := func(ctx context.Context) error {
		return s.d.Store.Update(ctx, func(tx store.Tx) error {
			// one that is gone by now is an error here, not when the work is recovered
			if _, err := Collection.Get(tx, Key(r.Project, r.Fingerprint)); err != nil {
				return err
			}
			_, err := removeRecord(tx, r.Project, r.Fingerprint)
			return err
		})
	}
	if err := t.Step(ctx, "record", record, nil); err != nil {
		return err
	}
	volumes := func(ctx context.Context) error { return s.dropVolumes(ctx, r.Fingerprint) }
	if err := t.Step(ctx, "volumes", volumes, nil); err != nil {
		return err
	}
	files := func(ctx context.Context) error { return s.dropFiles(ctx, r.Fingerprint) }
	return t.Step(ctx, "files", files, nil)
}

// removeRecord removes an image and its aliases within tx, and tells whether it was there.
func removeRecord(tx store.Tx, project, fingerprint string) (bool, error) {
	key := Key(project, fingerprint)
	r, err := Collection.Get(tx, key)
	if err != nil {
		return false, nil
	}
	for _, user := range Collection.UsedBy(tx, key) {
		if user.Collection != Aliases.Name {
			continue
		}
		if a, err := Aliases.Get(tx, user.Key); err == nil {
			tx.Announce(a.change(api.LifecycleImageAliasDeleted))
		}
		if err := Aliases.Delete(tx, user.Key); err != nil {
			return false, err
		}
	}
	tx.Announce(r.change(api.LifecycleImageDeleted))
	return true, Collection.Delete(tx, key)
}

// dropVolumes removes the volumes of an image that no project has any more, once nobody is making one.
func (s *Service) dropVolumes(ctx context.Context, fingerprint string) error {
	used := false
	err := s.d.Store.View(ctx, func(tx store.Tx) (err error) {
		used, err = kept(tx, fingerprint)
		return err
	})
	if err != nil || used || s.d.Volumes == nil {
		return err
	}
	s.reading.wait(fingerprint)
	return s.d.Volumes.DeleteImage(ctx, fingerprint)
}

// recoverImport removes the files of an import that did not get as far as its record. With the record it was done.
func (s *Service) recoverImport(ctx context.Context, j op.Journal) error {
	t, err := targetOf(j)
	if err != nil {
		return err
	}
	if t.Fingerprint == "" {
		return s.sweep() // it was not known yet
	}
	return s.dropFiles(ctx, t.Fingerprint)
}

// recoverDelete finishes a deletion.
func (s *Service) recoverDelete(ctx context.Context, j op.Journal) error {
	t, err := targetOf(j)
	if err != nil {
		return err
	}
	err = s.d.Store.Update(ctx, func(tx store.Tx) error {
		_, err := removeRecord(tx, t.Project, t.Fingerprint)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.dropVolumes(ctx, t.Fingerprint); err != nil {
		return err
	}
	return s.dropFiles(ctx, t.Fingerprint)
}

func targetOf(j op.Journal) (t target, err error) { return t, json.Unmarshal(j.Args, &t) }

// reading counts who reads the files of which image.
type reading struct {
	cond *sync.Cond
	who  map[string]int
	// moving is the image whose files are being moved: nobody begins to read them.
	moving string
}

func (r *reading) begin(fingerprint string) (end func()) {
	r.cond.L.Lock()
	defer r.cond.L.Unlock()
	for r.moving == fingerprint {
		r.cond.Wait()
	}
	if r.who == nil {
		r.who = map[string]int{}
	}
	r.who[fingerprint]++
	return func() {
		r.cond.L.Lock()
		defer r.cond.L.Unlock()
		if r.who[fingerprint]--; r.who[fingerprint] == 0 {
			delete(r.who, fingerprint)
		}
		r.cond.Broadcast()
	}
}

// wait blocks until nobody reads the files of the image.
func (r *reading) wait(fingerprint string) {
	r.cond.L.Lock()
	defer r.cond.L.Unlock()
	for r.who[fingerprint] > 0 {
		r.cond.Wait()
	}
}

// hold blocks until nobody reads the files of the image, and lets nobody begin until it is released. One image is held at a time.
func (r *reading) hold(fingerprint string) (release func()) {
	r.cond.L.Lock()
	defer r.cond.L.Unlock()
	for r.moving != "" {
		r.cond.Wait()
	}
	r.moving = fingerprint
	for r.who[fingerprint] > 0 {
		r.cond.Wait()
	}
	return func() {
		r.cond.L.Lock()
		defer r.cond.L.Unlock()
		r.moving = ""
		r.cond.Broadcast()
	}
}
