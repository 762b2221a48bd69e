package app

import (
	"context"
	"log/slog"

	"lxd/internal/storage/depot"
)

// openDepots makes the service of the volumes in which images and backups can be kept.
func (a *App) openDepots(d *domain) {
	d.depots = depot.New(depot.Deps{Store: a.store, Volumes: d.pools, Keepers: []depot.Keeper{
		{Sort: depot.Images, Folder: "images", Files: d.images.Files(), Settle: d.images.Settle},
		{Sort: depot.Backups, Folder: "backups", Files: d.backups.Files(), Settle: d.backups.Settle},
		{Sort: depot.Backups, Folder: "volume-backups", Files: d.volumeBackups.Files(), Settle: d.volumeBackups.Settle},
	}})
	a.onClose("volumes of images and backups", d.depots.Close)
}

// startDepots mounts the volumes in use, before anybody looks for what is in them.
func (a *App) startDepots(ctx context.Context) error {
	config, err := a.domain.server.Config(ctx)
	if err != nil {
		return err
	}
	return a.domain.depots.Start(ctx, config)
}

// settleDepots finishes what a crash cut short.
func (a *App) settleDepots(ctx context.Context) error {
	config, err := a.domain.server.Config(ctx)
	if err != nil {
		return err
	}
	a.tidyDepots(ctx, config)
	return nil
}

// tidyDepots makes everything as the configuration says. What does not work now is tried again at the next start; nothing is lost.
func (a *App) tidyDepots(ctx context.Context, config map[string]string) {
	if err := a.domain.depots.Tidy(ctx, config); err != nil {
		slog.Error("Images or backups are not all in the volumes that the configuration names: mend the cause and restart the daemon", "err", err)
	}
}
