package dir

import "lxd/internal/schema"

func poolKeys() *schema.Schema {
	keys := []schema.Key{
		{Name: "rsync.bwlimit", Type: schema.String, Default: "0", Short: "Upper limit on the socket I/O of rsync"},
		{Name: "rsync.compression", Type: schema.Bool, Default: "true", Short: "Whether rsync compresses what it migrates"},
		{Name: "source", Type: schema.String, Local: true, Short: "Path to an existing empty folder"},
		{Name: "source.recover", Type: schema.Bool, Default: "false", Local: true, Short: "Whether to take over a folder that has content"},
		{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"},
	}
	for _, k := range volumeKeys().Keys() {
		if !k.Volatile && k.Name != "user.*" {
			k.Name, k.Default, k.Short = "volume."+k.Name, "", "Default of new volumes: "+k.Short
			keys = append(keys, k)
		}
	}
	return schema.New("storage pool", keys...)
}

func volumeKeys() *schema.Schema {
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
