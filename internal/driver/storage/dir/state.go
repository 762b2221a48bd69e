package dir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lxd/internal/driver/storage/internal/tree"
	"lxd/internal/storage"
)

// Names in a volume's folder that are the driver's.
const (
	stateFile = "volume.json"
	rootfs    = "rootfs"
	upper     = "upper"
	work      = "work"
	// flat is the tree that a layered volume is being turned into.
	flat = "flat"
)

// state is what the driver must know of a volume after a crash.
type state struct {
	Type    storage.VolumeType `json:"type"`
	Project string             `json:"project,omitempty"`
	Name    string             `json:"name"`
	// ID is the name of the folder that holds the volume's snapshots; "" means that it never had any.
	ID string `json:"id,omitempty"`
	// Source is the image volume that the layer lies on; only a layered volume has one.
	Source string `json:"source,omitempty"`
	tree.Owners
	// Hidden says that the image volume was deleted and stays for those that depend on it.
	Hidden bool `json:"hidden,omitempty"`
}

func (s state) layered() bool { return s.Source != "" }

func (s state) volume() storage.Volume {
	return storage.Volume{Type: s.Type, Project: s.Project, Name: s.Name, IDMap: s.Map, Source: s.Source}
}

// tree is the folder that holds the volume's own files: its layer, or all of it.
func (s state) tree() string {
	if s.layered() {
		return upper
	}
	return rootfs
}

// spare is the attribute of a volume's folder that holds its state a second time: unlike a young file's content it survives a loss of
// power together with the folder, and costs no wait for the disk. Inside of a container the kernel does not give such an attribute.
const spare = "trusted.lxd.volume"

func readState(path string) (s state, err error) {
	b, err := os.ReadFile(filepath.Join(path, stateFile))
	if err != nil {
		return s, err
	}
	damage := json.Unmarshal(b, &s)
	if damage == nil {
		return s, nil
	}
	b = make([]byte, 64<<10)
	n, err := unix.Lgetxattr(path, spare, b)
	if err == nil && json.Unmarshal(b[:n], &s) == nil {
		return s, nil
	}
	return s, fmt.Errorf("volume folder %s: %s is damaged: %w", path, stateFile, damage)
}

// write replaces the volume's state at once or not at all.
func (s state) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	err = unix.Lsetxattr(path, spare, b, 0)
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EPERM):
	default:
		return fmt.Errorf("volume folder %s: %w", path, err)
	}
	return tree.ReplaceFile(filepath.Join(path, stateFile), b)
}
