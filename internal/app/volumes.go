package app

import (
	"context"
	"maps"

	volumebackup "lxd/internal/backup/volume"
	"lxd/internal/errs"
	"lxd/internal/host/shelf"
	"lxd/internal/instance"
	"lxd/internal/storage/custom"
	"lxd/internal/store"
)

// openVolumes makes the services of custom volumes and of their backups.
func (a *App) openVolumes(ctx context.Context, d *domain) {
	base := context.WithoutCancel(ctx)
	d.volumes = custom.New(base, custom.Deps{Store: a.store, Ops: a.ops, Pools: d.pools, Instances: disks{}, Location: standalone})
	a.onClose("custom volumes", func(context.Context) error { d.volumes.Close(); return nil })
	d.volumeBackups = volumebackup.New(base, volumebackup.Deps{
		Store: a.store, Ops: a.ops, Pools: d.pools, Volumes: d.volumes, Files: shelf.New(a.dir.join("volume-backups")), Announce: a.hub.Announce,
		Compression: func(ctx context.Context, name string) (string, error) { return a.compression(ctx, d, name) },
	})
	d.volumes.Use(d.volumeBackups)
	a.onClose("backups of volumes", func(context.Context) error { d.volumeBackups.Close(); return nil })
}

// disks is what custom volumes see of the instances that show them.
type disks struct{}

// Runs tells whether an instance runs.
func (disks) Runs(tx store.Tx, key string) (bool, error) {
	r, err := instance.Collection.Get(tx, key)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	return r.Run != nil, err
}

// ChangeDevices changes an instance's own devices.
func (disks) ChangeDevices(tx store.Tx, key string, change func(cfg map[string]string)) error {
	return instance.Collection.Modify(tx, key, func(r *instance.Record) error {
		r.Devices = maps.Clone(r.Devices)
		for name, cfg := range r.Devices {
			r.Devices[name] = maps.Clone(cfg)
			change(r.Devices[name])
		}
		return nil
	})
}
