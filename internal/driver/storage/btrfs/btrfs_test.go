package btrfs_test

import (
	"context"
	"maps"
	"os"
	"testing"

	"lxd/internal/driver/storage/btrfs"
	"lxd/internal/storage"
	"lxd/internal/storage/storagetest"
)

// scratch is a folder on a real disk.
const scratch = "/var/tmp"

func needBtrfs(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
	if !btrfs.Available() {
		t.Skip("needs btrfs in the kernel, and btrfs-progs")
	}
}

func TestContract(t *testing.T) {
	needBtrfs(t)
	storagetest.Run(t, func(*testing.T) storage.Driver { return small{btrfs.New()} }, scratch)
}

// small makes pools of a size for tests.
type small struct{ *btrfs.Driver }

func (d small) Open(ctx context.Context, dir string, cfg map[string]string) (storage.Pool, error) {
	sized := map[string]string{"size": "300MiB"}
	maps.Copy(sized, cfg)
	return d.Driver.Open(ctx, dir, sized)
}
