package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
)

// Offers says which of these files of a controller groups below the root have, which for some the kernel's build decides. It looks at a group
// that it makes for that; what cannot be looked at is not offered.
func (t *Tree) Offers(controller string, files []string) (have []string) {
	version := t.Version(controller)
	if version == 0 {
		return nil
	}
	dir := t.legacy[controller]
	if version == 2 {
		dir = t.unified
		// Groups have a controller only if the one above hands it on; one that cannot be handed on is not offered.
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
	probe := filepath.Join(dir, fmt.Sprintf("lxd.probe.%d", os.Getpid()))
	if err := os.Mkdir(probe, 0o755); err != nil && !os.IsExist(err) {
		return nil
	}
	defer os.Remove(probe)
	for _, f := range files {
		if exists(filepath.Join(probe, f)) {
			have = append(have, f)
		}
	}
	return have
}
