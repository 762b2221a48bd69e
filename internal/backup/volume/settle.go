package volume

import (
	"context"

	"lxd/internal/host/shelf"
	"lxd/internal/store"
)

// Files are the folders of the backups.
func (s *Service) Files() *shelf.Shelf { return s.d.Files }

// Settle brings every complete backup to the folder of its project.
func (s *Service) Settle(ctx context.Context) error {
	homes := map[string]string{}
	err := s.d.Store.View(ctx, func(tx store.Tx) error {
		clear(homes)
		for _, r := range Collection.AllRev(tx, "") {
			homes[r.File] = r.Volume.Project
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.d.Files.Keep(ctx, homes)
}
