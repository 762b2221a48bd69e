// Package all is the only list of drivers.
package all

import (
	"lxd/internal/driver/storage/btrfs"
	"lxd/internal/driver/storage/dir"
	"lxd/internal/storage"
)

// Storage is the drivers that storage pools can have.
func Storage() []storage.Driver { return []storage.Driver{dir.New(), btrfs.New()} }

// usable is those of them that work on this host.
func usable() []storage.Driver {
	all := []storage.Driver{dir.New()}
	if btrfs.Available() {
		all = append(all, btrfs.New())
	}
	return all
}
