package storage

import (
	"lxd/internal/schema"
	"lxd/internal/storage/snapshot"
)

// VolumeKeys are the configuration keys that the volumes of every driver have.
func VolumeKeys() []schema.Key {
	return []schema.Key{
		{Name: "security.shared", Type: schema.Bool, Default: "false", Condition: "virtual-machine or custom block volume", Short: "Whether several instances may use the volume"},
		{Name: "security.shifted", Type: schema.Bool, Default: "false", Condition: "custom volume", Short: "Whether instances with other id maps may use the volume"},
		{Name: "security.unmapped", Type: schema.Bool, Default: "false", Condition: "custom volume", Short: "Whether the volume's owners are left as they are"},
		{Name: "size", Type: schema.Size, Condition: "appropriate driver", Short: "Size or quota of the volume"},
		{Name: "snapshots.expiry", Type: schema.Expiry, Condition: "custom volume", Short: "After how long snapshots are deleted, such as 1d 12H"},
		{Name: "snapshots.pattern", Type: schema.String, Check: snapshot.CheckPattern, Default: "snap%d", Condition: "custom volume", Short: "Template for the names of snapshots"},
		{Name: "snapshots.schedule", Type: schema.String, Check: snapshot.CheckSchedule, Condition: "custom volume", Short: "When snapshots are taken, as a cron expression or @daily and the like"},
		{Name: "volatile.devlxd.owner", Type: schema.String, Volatile: true, Short: "Identity that owns the volume"},
		{Name: "volatile.idmap.last", Type: schema.Blob, Volatile: true, Condition: "filesystem", Short: "Id map that the volume has"},
		{Name: "volatile.idmap.next", Type: schema.Blob, Volatile: true, Condition: "filesystem", Short: "Id map that the volume is to have"},
		{Name: "volatile.uuid", Type: schema.String, Volatile: true, Short: "UUID of the volume"},
		{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"},
	}
}

// DefaultKeys are the keys of a pool that give its new volumes their defaults.
func DefaultKeys(volume []schema.Key) (keys []schema.Key) {
	for _, k := range volume {
		if !k.Volatile && k.Name != "user.*" {
			k.Name, k.Default, k.Short = "volume."+k.Name, "", "Default of new volumes: "+k.Short
			keys = append(keys, k)
		}
	}
	return keys
}
