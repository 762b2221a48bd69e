package tree

import (
	"lxd/internal/schema"
	"lxd/internal/storage"
)

// PoolKeys are the keys of a pool: the driver's own, and the defaults of its volumes.
func PoolKeys(own ...schema.Key) *schema.Schema {
	keys := append(own, schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"})
	return schema.New("storage pool", append(keys, storage.DefaultKeys(storage.VolumeKeys())...)...)
}

// VolumeKeys are the keys of a volume.
func VolumeKeys() *schema.Schema { return schema.New("storage volume", storage.VolumeKeys()...) }
