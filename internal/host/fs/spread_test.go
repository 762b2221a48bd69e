package fs_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/fs"
)

// TestSpread marks a folder, where the file system knows the mark, as often as one likes, and what is made in it is not marked too.
func TestSpread(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := fs.Spread(dir); err != nil {
			t.Fatal(err)
		}
	}
	in := filepath.Join(dir, "in")
	if err := unix.Mkdir(in, 0o700); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	want := st.Type == unix.EXT4_SUPER_MAGIC
	for path, want := range map[string]bool{dir: want, in: false} {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		_ = unix.Close(fd)
		if got := err == nil && flags&0x20000 != 0; got != want {
			t.Errorf("%s: flags %#x, %v; marked should be %v", path, flags, err, want)
		}
	}
	if err := fs.Spread(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was marked")
	}
}
