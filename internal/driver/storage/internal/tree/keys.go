package tree

import "lxd/internal/schema"

// PoolKeys are the keys of a pool: the driver's own, and the defaults of its volumes.
func PoolKeys(own ...schema.Key) *schema.Schema {
	keys := append(own, schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"})
	for _, k := range VolumeKeys().Keys() {
		if !k.Volatile && k.Name != "user.*" {
			k.Name, k.Default, k.Short = "volume."+k.Name, "", "Default of new volumes: "+k.Short
			keys = append(keys, k)
		}
	}
	return schema.New("storage pool", keys...)
}

// VolumeKeys are the keys of a volume.
func VolumeKeys() *schema.Schema {
	return schema.New("storage volume",
		schema.Key{Name: "security.shared", Type: schema.Bool, Default: "false", Condition: "virtual-machine or custom block volume", Short: "Whether several instances may use the volume"},
		schema.Key{Name: "security.shifted", Type: schema.Bool, Default: "false", Condition: "custom volume", Short: "Whether instances with other id maps may use the volume"},
		schema.Key{Name: "security.unmapped", Type: schema.Bool, Default: "false", Condition: "custom volume", Short: "Whether the volume's owners are left as they are"},
		schema.Key{Name: "size", Type: schema.Size, Condition: "appropriate driver", Short: "Size or quota of the volume"},
		schema.Key{Name: "snapshots.expiry", Type: schema.String, Condition: "custom volume", Short: "When snapshots are deleted"},
		schema.Key{Name: "snapshots.pattern", Type: schema.String, Default: "snap%d", Condition: "custom volume", Short: "Name of new snapshots"},
		schema.Key{Name: "snapshots.schedule", Type: schema.String, Condition: "custom volume", Short: "When snapshots are made"},
		schema.Key{Name: "volatile.devlxd.owner", Type: schema.String, Volatile: true, Short: "Identity that owns the volume"},
		schema.Key{Name: "volatile.idmap.last", Type: schema.Blob, Volatile: true, Condition: "filesystem", Short: "Id map that the volume has"},
		schema.Key{Name: "volatile.idmap.next", Type: schema.Blob, Volatile: true, Condition: "filesystem", Short: "Id map that the volume is to have"},
		schema.Key{Name: "volatile.uuid", Type: schema.String, Volatile: true, Short: "UUID of the volume"},
		schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"},
	)
}
