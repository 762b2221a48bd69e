package dir_test

import (
	"os"
	"testing"

	"lxd/internal/driver/storage/dir"
	"lxd/internal/storage"
	"lxd/internal/storage/storagetest"
)

// scratch is a folder on a real disk: /tmp may be a file system that cannot map ids.
const scratch = "/var/tmp"

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
}

func TestContract(t *testing.T) {
	needRoot(t)
	storagetest.Run(t, func(*testing.T) storage.Driver { return dir.New() }, scratch)
}
