package storage

import (
	"context"
	"errors"
	"slices"
	"sync"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/op"
	"lxd/internal/project"
	"lxd/internal/store"
)

// progressKey is where clients look for how far the unpacking is.
const progressKey = "create_instance_from_image_unpack_progress"

func imageKey(pool, fingerprint string) string {
	return volumeKey(pool, ImageVolume, project.Default, fingerprint)
}

// EnsureImage makes the image's volume in the pool if it is not there yet. However many want it at the same time, it is unpacked once, and
// all of them see the progress on their t (which may be nil). One that gives up does not take the others along.
func (s *Service) EnsureImage(ctx context.Context, t *op.Task, pool, fingerprint string) error {
	for {
		there, err := s.hasImage(ctx, pool, fingerprint)
		if err != nil || there {
			return err
		}
		f, leader := s.flights.join(imageKey(pool, fingerprint), t)
		if leader {
			return s.lead(ctx, f, pool, fingerprint)
		}
		select {
		case <-f.done:
			f.leave(t)
		case <-ctx.Done():
			f.leave(t)
			return ctx.Err()
		}
		if f.err != nil && !errs.Is(f.err, errs.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.err
		}
	}
}

// lead unpacks for all who are aboard; a panic lets them go too.
func (s *Service) lead(ctx context.Context, f *flight, pool, fingerprint string) (err error) {
	err = errs.Newf(errs.Internal, "unpacking image %s ended unexpectedly", fingerprint)
	defer func() { s.flights.land(imageKey(pool, fingerprint), f, err) }()
	err = s.unpack(ctx, pool, fingerprint, f.show)
	return err
}

func (s *Service) hasImage(ctx context.Context, pool, fingerprint string) (there bool, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		there = Volumes.Has(tx, imageKey(pool, fingerprint))
		return nil
	})
	return there, err
}

// unpack makes the volume, then its record: a volume without one is removed at the next start.
func (s *Service) unpack(ctx context.Context, pool, fingerprint string, show func(string)) error {
	if there, err := s.hasImage(ctx, pool, fingerprint); err != nil || there {
		return err // the flight before this one landed in between
	}
	p, err := s.pool(ctx, pool)
	if err != nil {
		return err
	}
	v := Volume{Type: ImageVolume, Name: fingerprint}
	err = p.Create(ctx, v, func(ctx context.Context, root string) error {
		if err := s.d.Unpack(ctx, fingerprint, root, show); err != nil {
			return err
		}
		return fs.Sync(root) // or a loss of power could leave a record of a tree that is not whole
	})
	if err != nil && !errs.Is(err, errs.Conflict) { // one that is there already is whole
		return err
	}
	r := VolumeRecord{Pool: pool, Type: ImageVolume, Project: project.Default, Name: fingerprint, ContentType: "filesystem", Config: WithUUID(nil),
		Location: s.d.Location, CreatedAt: s.d.Now()}
	err = s.d.Store.Update(ctx, func(tx store.Tx) error { return s.insertImage(tx, r) })
	if err != nil {
		return errors.Join(err, p.Delete(context.WithoutCancel(ctx), v))
	}
	return nil
}

// insertImage writes the record of an image's volume unless the image was deleted meanwhile: nothing would remove it then.
func (s *Service) insertImage(tx store.Tx, r VolumeRecord) error {
	if s.d.Kept != nil {
		kept, err := s.d.Kept(tx, r.Name)
		if err != nil {
			return err
		}
		if !kept {
			return errs.Newf(errs.NotFound, "image %s was deleted while it was unpacked", r.Name)
		}
	}
	return InsertVolume(tx, r)
}

// DeleteImage removes the image's volume from all pools. What was cloned from it is not harmed.
func (s *Service) DeleteImage(ctx context.Context, fingerprint string) error {
	var pools []string
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		pools = nil
		for e, r := range Pools.AllRev(tx, "") {
			if Volumes.Has(tx, imageKey(e.Key, fingerprint)) {
				pools = append(pools, r.Name)
			}
		}
		return nil
	})
	for _, p := range pools {
		err = errors.Join(err, s.Delete(ctx, p, Volume{Type: ImageVolume, Name: fingerprint}))
	}
	return err
}

// flights are the unpackings under way, by key. The zero value is ready.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
}

// flight is one unpacking; err may be read once done is closed.
type flight struct {
	done chan struct{}
	err  error

	mu    sync.Mutex
	last  string
	tasks []*op.Task
}

// join finds the flight of that key, or begins it: then the caller leads it.
func (l *flights) join(key string, t *op.Task) (f *flight, leader bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f = l.all[key]; f == nil {
		if l.all == nil {
			l.all = map[string]*flight{}
		}
		f, leader = &flight{done: make(chan struct{})}, true
		l.all[key] = f
	}
	f.board(t)
	return f, leader
}

func (l *flights) land(key string, f *flight, err error) {
	l.mu.Lock()
	delete(l.all, key)
	l.mu.Unlock()
	f.err = err
	close(f.done)
}

func (f *flight) board(t *op.Task) {
	if t == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks = append(f.tasks, t)
	if f.last != "" {
		t.Progress(progressKey, f.last)
	}
}

func (f *flight) leave(t *op.Task) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks = slices.DeleteFunc(f.tasks, func(x *op.Task) bool { return x == t })
}

// show tells all tasks aboard how far it is.
func (f *flight) show(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = text
	for _, t := range f.tasks {
		t.Progress(progressKey, text)
	}
}
