package dir

import (
	"lxd/internal/schema"
	"lxd/internal/storage"
)

func poolKeys() *schema.Schema {
	keys := []schema.Key{
		{Name: "rsync.bwlimit", Type: schema.String, Default: "0", Short: "Upper limit on the socket I/O of rsync"},
		{Name: "rsync.compression", Type: schema.Bool, Default: "true", Short: "Whether rsync compresses what it migrates"},
		{Name: "source", Type: schema.String, Local: true, Short: "Path to an existing empty folder"},
		{Name: "source.recover", Type: schema.Bool, Default: "false", Local: true, Short: "Whether to take over a folder that has content"},
		{Name: "user.*", Type: schema.Blob, Short: "Free-form keys of the user"},
	}
	return schema.New("storage pool", append(keys, storage.DefaultKeys(storage.VolumeKeys())...)...)
}

func volumeKeys() *schema.Schema { return schema.New("storage volume", storage.VolumeKeys()...) }
