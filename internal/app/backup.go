package app

import (
	"cmp"
	"context"

	"lxd/internal/backup"
	"lxd/internal/host/shelf"
	"lxd/internal/project"
	"lxd/internal/server"
	"lxd/internal/store"
)

// openBackups makes the service of backups; the instances that it backs up come later.
func (a *App) openBackups(ctx context.Context, d *domain) {
	d.backups = backup.New(context.WithoutCancel(ctx), backup.Deps{
		Store: a.store, Ops: a.ops, Volumes: d.pools, Files: shelf.New(a.dir.join("backups")), Announce: a.hub.Announce,
		Compression: func(ctx context.Context, name string) (string, error) { return a.compression(ctx, d, name) },
	})
	a.onClose("backups", func(context.Context) error { d.backups.Close(); return nil })
}

// compression is what backups of a project are packed with.
func (a *App) compression(ctx context.Context, d *domain, name string) (text string, err error) {
	err = a.store.View(ctx, func(tx store.Tx) error {
		p, err := project.Collection.Get(tx, name)
		text = p.Config[server.BackupCompression]
		return err
	})
	if err != nil || text != "" {
		return text, err
	}
	text, err = d.server.Get(ctx, server.BackupCompression)
	return cmp.Or(text, "none"), err
}
