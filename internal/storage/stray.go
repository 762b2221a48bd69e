package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"lxd/internal/errs"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Stray is a volume that a pool holds and the database does not know.
type Stray struct {
	Pool string
	// Volume is in its pool under that name; its project is never empty.
	Volume Volume
	// Snapshots is how many it has.
	Snapshots int
	// Homeless says that there is no such project.
	Homeless bool
}

// Strays looks through pools, which have to be open, for volumes without a record. Images are left out: they are made again when they are
// needed. Nothing is changed. What an operation is making at the time may be among them.
func (s *Service) Strays(ctx context.Context, pools []string) (all []Stray, err error) {
	for _, name := range pools {
		err := s.With(ctx, name, func(p Pool) error {
			found, err := p.Volumes(ctx)
			if err != nil {
				return err
			}
			for _, v := range found {
				v.Project = cmp.Or(v.Project, project.Default)
				if v.Type == ImageVolume {
					continue
				}
				stray := Stray{Pool: name, Volume: v}
				if keeper, ok := p.(Snapshotter); ok {
					names, err := keeper.Snapshots(ctx, v)
					if err != nil && !errs.Is(err, errs.NotFound) { // a folder that somebody put there may be no whole volume
						return err
					}
					stray.Snapshots = len(names)
				}
				all = append(all, stray)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking through storage pool %q: %w", name, err)
		}
	}
	return s.unknown(ctx, all)
}

// unknown leaves out what has a record.
func (s *Service) unknown(ctx context.Context, found []Stray) ([]Stray, error) {
	known, projects := map[string]bool{}, map[string]bool{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		for e := range Volumes.AllRev(tx, "") {
			known[e.Key] = true
		}
		for e := range project.Collection.AllRev(tx, "") {
			projects[e.Key] = true
		}
		return nil
	})
	for i := range found {
		found[i].Homeless = !projects[found[i].Volume.Project]
	}
	return slices.DeleteFunc(found, func(f Stray) bool {
		return known[volumeKey(f.Pool, f.Volume.Type, f.Volume.Project, f.Volume.Name)]
	}), err
}
