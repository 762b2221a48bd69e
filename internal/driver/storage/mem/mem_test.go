package mem_test

import (
	"testing"

	"lxd/internal/driver/storage/mem"
	"lxd/internal/storage"
	"lxd/internal/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Driver { return mem.New("mem") }, "")
}

func TestName(t *testing.T) {
	if n := mem.New("dir").Name(); n != "dir" {
		t.Errorf("name %q", n)
	}
}
