package dir_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/idmap"
	"lxd/internal/storage"
)

// inContainer names the folder that the test program works in when it runs again as the root of a container.
const inContainer = "LXD_TEST_DIR_IN_CONTAINER"

// TestInAContainer: a daemon that runs in a container can neither map the owners of mounts nor set trusted attributes, and has fewer ids:
// its volumes are whole trees that belong to their instances from the start.
func TestInAContainer(t *testing.T) {
	if at := os.Getenv(inContainer); at != "" {
		useInContainer(t, at)
		return
	}
	needRoot(t)
	top := scratchDir(t)
	if err := os.Chown(top, 1000000, 1000000); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// others may not pass through the folders that lead to the program
	program, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	c := exec.Command("/proc/self/fd/3", "-test.run=^TestInAContainer$", "-test.v")
	c.ExtraFiles = []*os.File{program}
	c.Dir = "/"
	c.Env = append(os.Environ(), inContainer+"="+top, "TMPDIR="+top)
	ids := []syscall.SysProcIDMap{{HostID: 1000000, Size: 10000001}}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func useInContainer(t *testing.T, at string) {
	b := newBed(t, at)
	m := idmap.Map{{Host: 1000000, Size: 9000001}}
	owner := func(v storage.Volume, path string) uint32 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(b.mounted(t, v).Root, path), &st); err != nil {
			t.Fatal(err)
		}
		return st.Uid
	}
	fill := func(_ context.Context, root string) error {
		p := func(s string) string { return filepath.Join(root, "rootfs", s) }
		return errors.Join(os.MkdirAll(p("etc"), 0o755), os.WriteFile(p("etc/one"), nil, 0o644), os.Link(p("etc/one"), p("etc/two")),
			os.WriteFile(p("mine"), nil, 0o644), os.Chown(p("mine"), 1000, 1000))
	}
	if err := b.Create(t.Context(), image(), fill); err != nil {
		t.Fatal(err)
	}
	v := func(name string) storage.Volume {
		return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name, IDMap: m}
	}
	b.clone(t, image(), v("of-image"))
	b.clone(t, v("of-image"), v("copy"))
	if err := errors.Join(b.Create(t.Context(), v("filled"), fill), b.Create(t.Context(), v("empty"), nil)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"of-image", "copy", "filled"} {
		for path, want := range map[string]uint32{"": 1000000, "etc/one": 1000000, "etc/two": 1000000, "mine": 1001000} {
			if got := owner(v(name), path); got != want {
				t.Errorf("%s/%s belongs to %d, want %d", name, path, got, want)
			}
		}
	}
	if got := owner(v("empty"), ""); got != 1000000 {
		t.Error("the empty one belongs to", got)
	}
	for _, name := range []string{"of-image", "copy", "filled", "empty"} {
		b.unmount(t, v(name))
		if err := b.Delete(t.Context(), v(name)); err != nil {
			t.Error(err)
		}
	}
}
