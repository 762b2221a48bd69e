// Package all is the only list of drivers.
package all

import (
	"lxd/internal/driver/storage/dir"
	"lxd/internal/storage"
)

// Storage is the drivers that storage pools can have.
func Storage() []storage.Driver { return []storage.Driver{dir.New()} }
