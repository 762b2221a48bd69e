package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/fs"
)

// capabilityOf is a v3 file capability (cap_net_raw) that belongs to the user namespace whose root is root.
func capabilityOf(root byte) string {
	return "\x01\x00\x00\x03\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + string([]byte{root, 0, 0, 0})
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: " + why)
	}
}

// grove makes a tree with one of everything.
func grove(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "tree")
	p := func(s string) string { return filepath.Join(top, s) }
	hole, err := os.Create(filepath.Join(t.TempDir(), "hole"))
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	for _, err := range []error{
		os.MkdirAll(p("d/e"), 0o755),
		os.WriteFile(p("d/f"), bytes.Repeat([]byte("f"), 300_000), 0o640),
		os.Link(p("d/f"), p("d/e/same")),
		os.Symlink("/etc/passwd", p("l")),
		unix.Mkfifo(p("pipe"), 0o600),
		unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(p("sock"), unix.S_IFSOCK|0o666, 0),
		os.WriteFile(p("sparse"), nil, 0o600),
		os.Truncate(p("sparse"), 10<<20),
		os.WriteFile(p("suid"), []byte("x"), 0o600),
		os.Lchown(p("suid"), 5, 6), os.Lchown(p("l"), 7, 8), os.Chown(p("d"), 3, 4),
		os.Chmod(p("suid"), 0o755|os.ModeSetuid),
		unix.Setxattr(p("suid"), "security.capability", []byte(capabilityOf(5)), 0),
		unix.Setxattr(p("suid"), "user.note", []byte("hi"), 0),
		unix.UtimesNanoAt(unix.AT_FDCWD, p("d"), []unix.Timespec{{Sec: 1}, {Sec: 12345}}, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func look(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestCopyTreeKeepsEverything(t *testing.T) {
	needRoot(t, "owners, nodes, capabilities")
	from, to := grove(t), filepath.Join(t.TempDir(), "copy")
	if err := fs.CopyTree(t.Context(), from, to, fs.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "d", "d/e", "d/f", "l", "pipe", "null", "sock", "sparse", "suid"} {
		a, b := look(t, filepath.Join(from, name)), look(t, filepath.Join(to, name))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim || a.Rdev != b.Rdev || a.Nlink != b.Nlink {
			t.Errorf("%s: %+v became %+v", name, a, b)
		}
		if a.Mode&unix.S_IFMT == unix.S_IFREG && a.Size != b.Size {
			t.Errorf("%s has %d bytes, want %d", name, b.Size, a.Size)
		}
	}
	if look(t, filepath.Join(to, "d/f")).Ino != look(t, filepath.Join(to, "d/e/same")).Ino {
		t.Error("the hard link became a copy")
	}
	if look(t, filepath.Join(to, "sparse")).Blocks != 0 {
		t.Error("the hole was filled")
	}
	if b, err := os.ReadFile(filepath.Join(to, "d/f")); err != nil || len(b) != 300_000 || strings.Trim(string(b), "f") != "" {
		t.Errorf("content: %d bytes, %v", len(b), err)
	}
	if l, _ := os.Readlink(filepath.Join(to, "l")); l != "/etc/passwd" {
		t.Errorf("link to %q", l)
	}
	attrs(t, filepath.Join(to, "suid"), map[string]string{"security.capability": capabilityOf(5), "user.note": "hi"})
}

func TestCopyTreeSkips(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	for _, d := range []string{"a", "b", "c/a"} {
		if err := os.MkdirAll(filepath.Join(from, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.CopyTree(t.Context(), from, to, fs.CopyOptions{Skip: []string{"a"}, Unprivileged: true}); err != nil {
		t.Fatal(err)
	}
	_, gone := os.Stat(filepath.Join(to, "a"))
	_, kept := os.Stat(filepath.Join(to, "c", "a"))
	if !errors.Is(gone, os.ErrNotExist) || kept != nil {
		t.Errorf("a: %v, c/a: %v", gone, kept)
	}
}

func TestReown(t *testing.T) {
	needRoot(t, "owners")
	top := grove(t)
	shift := func(id uint32) (uint32, error) {
		if id >= 1000 {
			return id, nil
		}
		return id + 1000, nil
	}
	for range 2 { // the second run finds everything done
		if err := fs.Reown(t.Context(), top, shift); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][2]uint32{".": {1000, 1000}, "d": {1003, 1004}, "d/f": {1000, 1000}, "l": {1007, 1008}, "suid": {1005, 1006}, "sock": {1000, 1000}} {
		if st := look(t, filepath.Join(top, name)); st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, want %v", name, st.Uid, st.Gid, want)
		}
	}
	if st := look(t, filepath.Join(top, "suid")); st.Mode != unix.S_IFREG|unix.S_ISUID|0o755 {
		t.Errorf("suid has mode %o", st.Mode)
	}
	v3 := capabilityOf(5)
	attrs(t, filepath.Join(top, "suid"), map[string]string{"security.capability": v3[:20] + "\xed\x03\x00\x00", "user.note": "hi"})
	fail := func(id uint32) (uint32, error) { return 0, fmt.Errorf("no %d", id) }
	if err := fs.Reown(t.Context(), top, fail); err == nil || !strings.Contains(err.Error(), "no 10") {
		t.Errorf("an id without a value: %v", err)
	}
}

func TestReownMapsAccessLists(t *testing.T) {
	needRoot(t, "owners")
	f := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(f, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	acl := func(id byte) string {
		return "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00" + string([]byte{id, 0, 0, 0}) +
			"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"
	}
	if err := unix.Setxattr(f, "system.posix_acl_access", []byte(acl(9)), 0); err != nil {
		t.Skip("needs a file system with access lists: ", err)
	}
	if err := fs.Reown(t.Context(), f, func(id uint32) (uint32, error) { return id + 20, nil }); err != nil {
		t.Fatal(err)
	}
	attrs(t, f, map[string]string{"system.posix_acl_access": acl(29)})
}

func TestRemoveAllFollowsNothing(t *testing.T) {
	top := t.TempDir()
	tree := filepath.Join(top, "tree")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(top, "outside"), 0o755),
		os.MkdirAll(filepath.Join(tree, "a", "b"), 0o755),
		os.WriteFile(filepath.Join(top, "outside", "f"), nil, 0o600),
		os.WriteFile(filepath.Join(tree, "a", "b", "f"), nil, 0o600),
		os.Symlink("../../outside", filepath.Join(tree, "a", "l")),
		os.Symlink("outside", filepath.Join(top, "l")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"tree", "tree", "l", "missing/deeper"} {
		if err := fs.RemoveAll(filepath.Join(top, p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if l, _ := os.ReadDir(top); len(l) != 1 {
		t.Errorf("left: %v", l)
	}
	if _, err := os.Stat(filepath.Join(top, "outside", "f")); err != nil {
		t.Error(err)
	}
}

func TestRemoveAllOfDeepAndWideTrees(t *testing.T) {
	top := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(top, 0o700); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(top, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 { // far longer than any path may be
		if err := unix.Mkdirat(at, "d", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, "d", unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	for i := range 2500 {
		if err := os.WriteFile(filepath.Join(top, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.RemoveAll(top); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
		t.Error("still there")
	}
}

func TestRemoveAllEntersNoMount(t *testing.T) {
	needRoot(t, "mounts")
	top := t.TempDir()
	for _, d := range []string{"precious", "tree/m"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "precious", "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := filepath.Join(top, "tree", "m")
	if err := unix.Mount(filepath.Join(top, "precious"), m, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(m, unix.MNT_DETACH)
	if err := fs.RemoveAll(filepath.Join(top, "tree")); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(filepath.Join(top, "precious", "f")); err != nil {
		t.Error(err)
	}
}
