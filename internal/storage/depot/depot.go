// Package depot keeps images and backups in custom volumes: those of the whole server, or of one project.
//
// What lies in such a volume is files on a shelf (host/shelf), which are found wherever they lie. So a volume comes into use by a record,
// a mount, and the move of one file after the other; it goes out of use the same way. A crash in between leaves files in two places,
// which the next start brings to the one that the configuration names then.
package depot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"lxd/internal/host/shelf"
	"lxd/internal/project"
	"lxd/internal/storage"
	"lxd/internal/store"
	"lxd/internal/undo"
)

// Keeper is who keeps files of a sort.
type Keeper struct {
	Sort Sort
	// Folder is the name of their folder in a volume.
	Folder string
	Files  *shelf.Shelf
	// Settle brings each file to where the shelf wants it; it must be idempotent.
	Settle func(context.Context) error
}

// Volumes is what depots need of storage.
type Volumes interface {
	MountCustom(ctx context.Context, proj, pool, name, user string) (storage.Mounted, error)
	UnmountCustom(ctx context.Context, proj, pool, name, user string) error
}

// Deps is what the service needs.
type Deps struct {
	Store   store.Store
	Volumes Volumes
	Keepers []Keeper
}

// Service puts volumes into use, and out of it. Its methods may be called at the same time.
type Service struct {
	d Deps

	mu sync.Mutex
	// roots are the folders of the volumes that are mounted, by the key of their record.
	roots map[string]Root
}

// Root is a record whose volume is mounted at Path.
type Root struct {
	Record
	Path string
}

// New makes the service; it has no effects.
func New(d Deps) *Service { return &Service{d: d, roots: map[string]Root{}} }

// Start mounts the volumes in use. One that cannot be is logged: what lies in it is missing until the next start, and new things go
// to the server's own folder.
func (s *Service) Start(ctx context.Context, config map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := wanted(config)
	if err != nil {
		return err
	}
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := s.mount(ctx, r); err != nil {
			slog.Error("A volume with images or backups cannot be mounted: mend the cause and restart the daemon", "key", r.Place.Key(), "err", err)
		}
	}
	return s.arrange(next)
}

func (s *Service) records(ctx context.Context) (all []Record, err error) {
	err = s.d.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		for _, r := range Collection.AllRev(tx, "") {
			all = append(all, r)
		}
		return nil
	})
	return all, err
}

func (s *Service) mount(ctx context.Context, r Record) error {
	at, err := s.d.Volumes.MountCustom(ctx, project.Default, r.Pool, r.Volume, r.user())
	if err != nil {
		return err
	}
	s.roots[r.key()] = Root{r, at.Root}
	return nil
}

func (s *Service) unmount(ctx context.Context, r Record) error {
	delete(s.roots, r.key())
	return s.d.Volumes.UnmountCustom(ctx, project.Default, r.Pool, r.Volume, r.user())
}

// arrange tells each shelf which folders there are.
func (s *Service) arrange(next map[Place]Record) (err error) {
	for _, k := range s.d.Keepers {
		homes, others := map[string]string{}, []string{}
		for _, r := range s.roots {
			switch dir := filepath.Join(r.Path, k.Folder); {
			case r.Sort != k.Sort:
			case next[r.Place] == r.Record:
				homes[r.Project] = dir
			default:
				others = append(others, dir)
			}
		}
		k.Files.Set(homes, others...)
		err = errors.Join(err, k.Files.Make())
	}
	return err
}

func (s *Service) settle(ctx context.Context) error {
	for _, k := range s.d.Keepers {
		if err := k.Settle(ctx); err != nil {
			return fmt.Errorf("%s: %w", k.Folder, err)
		}
	}
	return nil
}

// Apply brings images and backups to where a new configuration wants them, before it is kept; what u gets brings them back. Tidy has to
// follow once the configuration is kept, or was not.
func (s *Service) Apply(ctx context.Context, u *undo.Stack, old, next map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, err := wanted(old)
	if err != nil {
		return err
	}
	will, err := wanted(next)
	if err != nil || maps.Equal(was, will) {
		return err
	}
	// On the way back it is Tidy's work to give up the volumes that are not wanted.
	u.Add("volumes of images and backups", func(ctx context.Context) error { return s.Tidy(ctx, old) })
	for p, r := range will {
		if was[p] == r {
			continue
		}
		if err := s.take(ctx, r); err != nil {
			return err
		}
	}
	if err := s.arrange(will); err != nil {
		return err
	}
	return s.settle(ctx)
}

// take brings a volume into use. One that cannot be mounted, and was not in use before, is left alone: nothing is in it, and who gives
// a volume up would first have to mount it.
func (s *Service) take(ctx context.Context, r Record) error {
	isNew, err := s.claim(ctx, r)
	if err != nil {
		return err
	}
	if err = s.mount(ctx, r); err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", r.Place.Key(), err)
	if isNew {
		err = errors.Join(err, s.forget(context.WithoutCancel(ctx), r))
	}
	return err
}

// claim notes that a volume is in use from now on, and tells whether it was not before.
func (s *Service) claim(ctx context.Context, r Record) (isNew bool, err error) {
	err = s.d.Store.Update(ctx, func(tx store.Tx) error {
		isNew = !Collection.Has(tx, r.key())
		if err := admit(tx, r); err != nil || !isNew {
			return err
		}
		return Collection.Insert(tx, r)
	})
	return isNew, err
}

// Tidy makes everything as the configuration says: it brings what lies elsewhere to its place, and gives up volumes in which nothing
// is left. One that something is left in, since a backup is being written there, is given up another time.
func (s *Service) Tidy(ctx context.Context, config map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := wanted(config)
	if err != nil {
		return err
	}
	records, err := s.records(ctx)
	if err != nil || len(records) == 0 {
		return err
	}
	for _, r := range records {
		if _, mounted := s.roots[r.key()]; !mounted {
			err = errors.Join(err, s.mount(ctx, r))
		}
	}
	if err = errors.Join(err, s.arrange(next)); err == nil {
		err = s.settle(ctx)
	}
	if err != nil {
		return err
	}
	for _, r := range records {
		if next[r.Place] != r {
			err = errors.Join(err, s.giveUp(ctx, r))
		}
	}
	return errors.Join(err, s.arrange(next))
}

// giveUp unmounts a volume in which no files are left.
func (s *Service) giveUp(ctx context.Context, r Record) error {
	for _, k := range s.d.Keepers {
		if k.Sort != r.Sort {
			continue
		}
		if err := os.Remove(filepath.Join(s.roots[r.key()].Path, k.Folder)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: something is still in volume %q of pool %q, which stays in use until that is gone: %w", r.Place.Key(), r.Volume, r.Pool, err)
		}
	}
	if err := s.unmount(ctx, r); err != nil {
		return err
	}
	return s.forget(ctx, r)
}

func (s *Service) forget(ctx context.Context, r Record) error {
	return s.d.Store.Update(ctx, func(tx store.Tx) error { return Collection.Delete(tx, r.key()) })
}

// Close unmounts the volumes; they stay in use.
func (s *Service) Close(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range maps.Clone(s.roots) {
		err = errors.Join(err, s.unmount(ctx, r.Record))
	}
	return err
}
