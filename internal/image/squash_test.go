package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// squashOf packs a folder.
func squashOf(t testing.TB, dir string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "root.squashfs")
	out, err := exec.Command("mksquashfs", dir, file, "-quiet", "-noappend", "-no-progress").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs mksquashfs of the package squashfs-tools")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	must(t, err)
	return b
}

// TestSquashfs has owners, links, capabilities, and nodes that must not come along.
func TestSquashfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners and nodes")
	}
	dir := t.TempDir()
	p := func(s string) string { return filepath.Join(dir, s) }
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, err := range []error{
		os.MkdirAll(p("etc"), 0o755), os.MkdirAll(p("dev"), 0o755), os.WriteFile(p("etc/hostname"), []byte("c1\n"), 0o640), os.Chown(p("etc/hostname"), 100005, 6),
		os.Symlink("/etc/passwd", p("etc/alias")), os.Link(p("etc/hostname"), p("etc/hard")), unix.Mkfifo(p("pipe"), 0o600),
		unix.Mknod(p("dev/sda"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))), unix.Mknod(p("dev/mem"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))),
		os.WriteFile(p("etc/ping"), []byte("x"), 0o600), os.Chmod(p("etc/ping"), 0o755|os.ModeSetuid),
		unix.Setxattr(p("etc/ping"), "security.capability", []byte(capability), 0),
	} {
		must(t, err)
	}
	w := newWorld(t)
	meta, root := pack(t, goodMeta()), squashOf(t, dir)
	_, err := w.sendSplit(t, meta, root, "rootfs")
	must(t, err)
	got, err := w.unpack(t, fingerprintOf(meta, root))
	must(t, err)
	at := func(s string) string { return filepath.Join(got, "rootfs", s) }
	var st unix.Stat_t
	must(t, unix.Lstat(at("etc/hostname"), &st))
	if st.Uid != 100005 || st.Gid != 6 || st.Nlink != 2 || st.Mode&0o7777 != 0o640 {
		t.Errorf("%+v", st)
	}
	must(t, unix.Lstat(at("etc/ping"), &st))
	buf := make([]byte, 64)
	n, err := unix.Getxattr(at("etc/ping"), "security.capability", buf)
	if err != nil || string(buf[:n]) != capability || st.Mode&unix.S_ISUID == 0 {
		t.Errorf("capability %q %v, mode %o", buf[:max(n, 0)], err, st.Mode)
	}
	for _, name := range []string{"dev/sda", "dev/mem"} {
		if err := unix.Lstat(at(name), &st); err == nil {
			t.Errorf("node %s was made", name)
		}
	}
	if to, err := os.Readlink(at("etc/alias")); err != nil || to != "/etc/passwd" {
		t.Errorf("%s %v", to, err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(mounts, []byte(w.tmp)) {
		t.Error("a mount was left over")
	}
}

// TestBrokenSquashfs flips bytes all over a file: each is unpacked or refused, and nothing else happens.
func TestBrokenSquashfs(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, 5000*i), 0o644))
	}
	good := squashOf(t, dir)
	w := newWorld(t)
	meta := pack(t, goodMeta())
	for i := range 12 {
		bad := bytes.Clone(good)
		for at := 100 + i; at < len(bad); at += 37 + 11*i {
			bad[at] ^= byte(1 << (at % 8))
		}
		if _, err := w.sendSplit(t, meta, bad, "rootfs"); err != nil {
			continue
		}
		if _, err := w.unpack(t, fingerprintOf(meta, bad)); err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%d: %v", i, err)
		} else if err == nil && i == 0 {
			t.Log("unpacked in spite of all")
		}
	}
	if left, _ := filepath.Glob(w.tmp + "/*"); len(left) > 0 {
		t.Errorf("left over: %s", strings.Join(left, " "))
	}
}
