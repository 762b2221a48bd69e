package app

import (
	"context"
	"maps"

	"lxd/internal/errs"
	"lxd/internal/instance"
	"lxd/internal/storage"
	"lxd/internal/storage/custom"
	"lxd/internal/store"
)

// openVolumes makes the service of custom volumes.
func (a *App) openVolumes(ctx context.Context, pools *storage.Service) *custom.Service {
	s := custom.New(context.WithoutCancel(ctx), custom.Deps{Store: a.store, Ops: a.ops, Pools: pools, Instances: disks{}, Location: standalone})
	a.onClose("custom volumes", func(context.Context) error { s.Close(); return nil })
	return s
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
