// Package tree is what drivers share that keep volumes as trees of files.
package tree

import (
	"cmp"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/storage"
)

// Folders hold the volumes of each type; this is the order of their lists.
var Folders = []string{"containers", "virtual-machines", "images", "custom"}

// Folder is where the volumes of a type are; "" is no type.
func Folder(t storage.VolumeType) string {
	switch t {
	case storage.ContainerVolume:
		return "containers"
	case storage.VMVolume:
		return "virtual-machines"
	case storage.ImageVolume:
		return "images"
	case storage.CustomVolume:
		return "custom"
	}
	return ""
}

// Name is where a volume is in the folder of its pool. It fails with Invalid on a name that could be something else.
func Name(v storage.Volume) (string, error) {
	f := Folder(v.Type)
	name := v.Name
	switch {
	case v.Type == storage.CustomVolume, v.Project != "" && v.Project != "default" && v.Type != storage.ImageVolume:
		name = cmp.Or(v.Project, "default") + "_" + v.Name
	}
	if f == "" || v.Name == "" || !Plain(name) {
		return "", errs.Newf(errs.Invalid, "volume name %q of type %q is not possible in a storage pool", name, v.Type)
	}
	return filepath.Join(f, name), nil
}

// Plain tells whether name can be that of a file which is no file of the driver's.
func Plain(name string) bool {
	return name != "" && name[0] != '.' && filepath.Base(name) == name && len(name) <= unix.NAME_MAX
}

// Sort orders volumes by type, project and name.
func Sort(all []storage.Volume) {
	slices.SortStableFunc(all, func(a, b storage.Volume) int {
		return cmp.Or(cmp.Compare(slices.Index(Folders, Folder(a.Type)), slices.Index(Folders, Folder(b.Type))),
			cmp.Compare(a.Project, b.Project), cmp.Compare(a.Name, b.Name))
	})
}
