package policy

import (
	"slices"

	"lxd/internal/instance"
	"lxd/internal/profile"
	"lxd/internal/storage"
	"lxd/internal/storage/depot"
	"lxd/internal/store"
)

// depots fails if a transaction would give anything else a hold on a volume in which the server keeps images or backups.
func depots(after store.Tx, touched []store.Ref) error {
	if slices.ContainsFunc(touched, func(r store.Ref) bool { return holds(after, r) }) {
		return depot.Check(after)
	}
	return nil
}

// holds tells whether a record is one that can refer to a custom volume, and does.
func holds(tx store.Tx, r store.Ref) bool {
	var refs []store.Ref
	switch r.Collection {
	case storage.Snapshots.Name:
		return storage.Snapshots.Has(tx, r.Key)
	case instance.Collection.Name:
		if i, err := instance.Collection.Get(tx, r.Key); err == nil {
			refs = profile.DeviceRefs(profile.Owners{}, i.Devices)
		}
	case profile.Collection.Name:
		if p, err := profile.Collection.Get(tx, r.Key); err == nil {
			refs = profile.DeviceRefs(profile.Owners{}, p.Devices)
		}
	}
	return slices.ContainsFunc(refs, func(r store.Ref) bool { return r.Collection == storage.Volumes.Name })
}
