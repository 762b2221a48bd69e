package dir_test

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"lxd/internal/driver/storage/dir"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
	"lxd/internal/host/mount"
	"lxd/internal/storage"
)

// bed is one open pool of a test, in a scratch folder.
type bed struct {
	storage.Pool
	driver *dir.Driver
	top    string
	dir    string
	cfg    map[string]string
}

// newBed makes a pool below top, or in a scratch folder if top is "".
func newBed(t testing.TB, top string) *bed {
	t.Helper()
	needRoot(t)
	if top == "" {
		top = scratchDir(t)
	}
	b := &bed{driver: dir.New(), top: top, dir: filepath.Join(top, "lxd", "storage-pools", "p"), cfg: map[string]string{}}
	b.open(t)
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), mount.UnmountBelow(b.dir)); err != nil {
			t.Error(err)
		}
	})
	return b
}

func scratchDir(t testing.TB) string {
	t.Helper()
	top, err := os.MkdirTemp(scratch, "dirtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(mount.UnmountBelow(top), fs.RemoveAll(top)); err != nil {
			t.Error(err)
		}
	})
	// The folders above a pool let everybody through.
	if err := os.Chmod(top, 0o711); err != nil {
		t.Fatal(err)
	}
	return top
}

func (b *bed) open(t testing.TB) {
	t.Helper()
	p, err := b.driver.Open(context.Background(), b.dir, b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Pool = p
}

func (b *bed) mounted(t testing.TB, v storage.Volume) storage.Mounted {
	t.Helper()
	m, err := b.Mount(context.Background(), v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *bed) clone(t testing.TB, from, to storage.Volume) {
	t.Helper()
	if _, err := b.Pool.(storage.Cloner).Clone(context.Background(), from, to); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) unmount(t testing.TB, v storage.Volume) {
	t.Helper()
	if err := b.Unmount(context.Background(), v); err != nil {
		t.Fatal(err)
	}
}

func image() storage.Volume { return storage.Volume{Type: storage.ImageVolume, Name: "i"} }

func instance(name string) storage.Volume {
	return storage.Volume{Type: storage.ContainerVolume, Project: "default", Name: name, IDMap: idmap.Default()}
}

// debian fills an image with the Debian tree, a folder or tar file, that LXD_TEST_ROOTFS names; tests that need one skip without it.
func debian(t testing.TB) func(context.Context, string) error {
	t.Helper()
	path := os.Getenv("LXD_TEST_ROOTFS")
	st, err := os.Stat(path)
	if err != nil {
		t.Skip("needs a Debian root file system: set LXD_TEST_ROOTFS to its folder or tar file (mmdebstrap --variant=minbase bookworm rootfs.tar)")
	}
	return func(ctx context.Context, root string) error {
		to := filepath.Join(root, "rootfs")
		if st.IsDir() {
			return fs.CopyTree(ctx, path, to, fs.CopyOptions{})
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		_, err = fs.Extract(ctx, tar.NewReader(bufio.NewReaderSize(f, 1<<20)), to, fs.Options{})
		return err
	}
}

// small fills an image with a little of everything.
func small(_ context.Context, root string) error {
	p := func(s string) string { return filepath.Join(root, "rootfs", s) }
	return errors.Join(
		os.MkdirAll(p("usr/share/doc/sub"), 0o755),
		os.WriteFile(p("usr/share/doc/a"), []byte("a"), 0o644),
		os.Link(p("usr/share/doc/a"), p("usr/share/doc/b")),
		os.WriteFile(p("usr/ping"), []byte("ping"), 0o755),
		os.Chmod(p("usr/ping"), 0o755|os.ModeSetuid),
		os.WriteFile(p("usr/mine"), []byte("x"), 0o644),
		os.Chown(p("usr/mine"), 1000, 1000),
		os.Chmod(p(""), 0o751),
		os.WriteFile(filepath.Join(root, "metadata.yaml"), nil, 0o644))
}

// inside runs a shell script as the root of a user namespace with the map of v, on the tree at root, and fails the test if it fails.
func inside(t testing.TB, root, script string) string {
	t.Helper()
	out, err := runInside(root, script)
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	return out
}

func runInside(root, script string) (string, error) {
	c := exec.Command("/usr/sbin/chroot", root, "/bin/sh", "-euc", script)
	ids := []syscall.SysProcIDMap{{HostID: 1000000, Size: 1000000000}}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	}
	c.Dir = "/"
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "HOME=/root", "LC_ALL=C"}
	out, err := c.CombinedOutput()
	return string(out), err
}

// asUser runs a shell script as an ordinary user of the host.
func asUser(uid int, script string) (string, error) {
	c := exec.Command("/bin/sh", "-c", script)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	return string(out), err
}

// loop makes a file system of that size in a file and mounts it.
func loop(t testing.TB, mib int, mkfs ...string) string {
	t.Helper()
	needRoot(t)
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skipf("needs %s", mkfs[0])
	}
	top := scratchDir(t)
	img, at := filepath.Join(top, "img"), filepath.Join(top, "at")
	for _, c := range [][]string{
		{"truncate", "-s", fmt.Sprintf("%dM", mib), img}, append(mkfs, img), {"mkdir", at}, {"mount", "-o", "loop", img, at},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs loop devices: %v: %v %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return at
}
