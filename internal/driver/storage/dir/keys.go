package dir

import (
	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/schema"
)

func poolKeys() *schema.Schema {
	return tree.PoolKeys(
		schema.Key{Name: "rsync.bwlimit", Type: schema.String, Default: "0", Short: "Upper limit on the socket I/O of rsync"},
		schema.Key{Name: "rsync.compression", Type: schema.Bool, Default: "true", Short: "Whether rsync compresses what it migrates"},
		schema.Key{Name: "source", Type: schema.String, Local: true, Short: "Path to an existing empty folder"},
		schema.Key{Name: "source.recover", Type: schema.Bool, Default: "false", Local: true, Short: "Whether to take over a folder that has content"},
	)
}
