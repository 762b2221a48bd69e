package fs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
)

// tmpfs mounts a file system in memory of that many bytes.
func tmpfs(t *testing.T, size int) string {
	t.Helper()
	needRoot(t, "mounts")
	at := t.TempDir()
	if err := unix.Mount("none", at, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skip("needs mounts: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return at
}

// TestExtractOfManyFolders jumps between more folders than are kept open, with hard links across them.
func TestExtractOfManyFolders(t *testing.T) {
	const folders, files = 150, 600
	r := rand.New(rand.NewPCG(1, 2))
	var all []entry
	for i := range folders {
		all = append(all, dir(fmt.Sprintf("d%d/sub", i)))
	}
	name := func(i int) string { return fmt.Sprintf("d%d/sub/f%d", i*7%folders, i) }
	for i := range files {
		all = append(all, file(name(i), fmt.Sprint(i)))
		if i > 0 {
			all = append(all, link(fmt.Sprintf("d%d/l%d", r.IntN(folders), i), name(r.IntN(i))))
		}
	}
	dest := t.TempDir()
	if _, err := extract(dest, pack(t, all...), fs.Options{}); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if b, err := os.ReadFile(filepath.Join(dest, name(i))); err != nil || string(b) != fmt.Sprint(i) {
			t.Fatalf("%s holds %q, %v", name(i), b, err)
		}
	}
}

func TestExtractTakesTheLastEntryOfAName(t *testing.T) {
	dest := t.TempDir()
	strict, late := dir("d"), dir("d/")
	strict.Mode, late.Mode = 0o700, 0o750
	_, err := extract(dest, pack(t, strict, file("d/f", "1"), file("d/f", "22"), symlink("x", "d"), dir("x"), late), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if st := look(t, filepath.Join(dest, "d")); st.Mode != unix.S_IFDIR|0o750 {
		t.Errorf("folder has mode %o", st.Mode)
	}
	if st := look(t, filepath.Join(dest, "x")); st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("x has mode %o", st.Mode)
	}
	if b, _ := os.ReadFile(filepath.Join(dest, "d/f")); string(b) != "22" {
		t.Errorf("file holds %q", b)
	}
}

func TestExtractPassesOnWhatTheSourceSays(t *testing.T) {
	refused := errs.Newf(errs.Forbidden, "not for you")
	_, err := fs.Extract(t.Context(), tar.NewReader(failing{refused}), t.TempDir(), fs.Options{})
	if !errs.Is(err, errs.Forbidden) {
		t.Errorf("error = %v", err)
	}
	_, err = fs.Extract(t.Context(), tar.NewReader(failing{errors.New("crc differs")}), t.TempDir(), fs.Options{})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "crc differs") {
		t.Errorf("error = %v", err)
	}
	if _, err := fs.Extract(t.Context(), nil, filepath.Join(t.TempDir(), "missing"), fs.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestFullDisk(t *testing.T) {
	small := tmpfs(t, 1<<20)
	_, err := extract(small, pack(t, file("f", strings.Repeat("x", 2<<20))), fs.Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("extract: %v", err)
	}
	if err := fs.RemoveAll(filepath.Join(small, "f")); err != nil {
		t.Error(err)
	}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "f"), bytes.Repeat([]byte("x"), 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	err = fs.CopyTree(t.Context(), from, filepath.Join(small, "copy"), fs.CopyOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("copy: %v", err)
	}
}

// TestCopyTreeBetweenFileSystems copies where the kernel can neither share nor copy by itself.
func TestCopyTreeBetweenFileSystems(t *testing.T) {
	from, to := tmpfs(t, 64<<20), filepath.Join(t.TempDir(), "copy")
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * 7 / 3)
	}
	f, err := os.Create(filepath.Join(from, "f"))
	if err != nil {
		t.Fatal(err)
	}
	_, one := f.WriteAt(content, 0)
	_, two := f.WriteAt(content, 20<<20)
	if err := errors.Join(one, two, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := fs.CopyTree(t.Context(), from, to, fs.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "f"))
	if err != nil || len(got) != 23<<20 || !bytes.Equal(got[:3<<20], content) || !bytes.Equal(got[20<<20:], content) || len(bytes.Trim(got[3<<20:20<<20], "\x00")) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if st := look(t, filepath.Join(to, "f")); st.Blocks*512 > 10<<20 {
		t.Errorf("the hole was filled: %d blocks", st.Blocks)
	}
}

func TestCopyTreeStops(t *testing.T) {
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fs.CopyTree(ctx, from, filepath.Join(t.TempDir(), "copy"), fs.CopyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("copy: %v", err)
	}
	if err := fs.Reown(ctx, from, func(id uint32) (uint32, error) { return id, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("reown: %v", err)
	}
	for _, missing := range []string{"nothing", "nothing/here"} {
		path := filepath.Join(from, missing)
		if err := fs.CopyTree(t.Context(), path, filepath.Join(t.TempDir(), "copy"), fs.CopyOptions{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("copy of %s: %v", missing, err)
		}
		if err := fs.Reown(t.Context(), path, nil); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("reown of %s: %v", missing, err)
		}
	}
}

// TestCopyTreeEntersNoMount: another file system in the source is an error, not copied unseen.
func TestCopyTreeEntersNoMount(t *testing.T) {
	from := t.TempDir()
	at := filepath.Join(from, "m")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	other := tmpfs(t, 1<<20)
	if err := unix.Mount(other, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := fs.CopyTree(t.Context(), from, filepath.Join(t.TempDir(), "copy"), fs.CopyOptions{}); !errors.Is(err, unix.EXDEV) {
		t.Errorf("error = %v", err)
	}
}

// TestCapabilitiesMoveBothWays: those of the host's own root have the older form, and get it back.
func TestCapabilitiesMoveBothWays(t *testing.T) {
	needRoot(t, "capabilities")
	f := filepath.Join(t.TempDir(), "f")
	own := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	if err := errors.Join(os.WriteFile(f, nil, 0o755), unix.Setxattr(f, "security.capability", []byte(own), 0)); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("v", 3000)
	if err := unix.Setxattr(f, "user.long", []byte(long), 0); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		by   int64
		want string
	}{{9, capabilityOf(9)}, {-9, own}} {
		if err := fs.Reown(t.Context(), f, func(id uint32) (uint32, error) { return uint32(int64(id) + step.by), nil }); err != nil {
			t.Fatal(err)
		}
		attrs(t, f, map[string]string{"security.capability": step.want, "user.long": long})
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := fs.CopyTree(t.Context(), filepath.Dir(f), to, fs.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	attrs(t, filepath.Join(to, "f"), map[string]string{"security.capability": own, "user.long": long})
}

// repeating is a tar stream that says the same again and again, as a small packed archive can.
type repeating struct {
	again []byte
	n     int
	rest  []byte
}

func (r *repeating) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.again
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestExtractBoundsWhatItKeeps(t *testing.T) {
	long := func(name string) []byte {
		b := pack(t, entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.user.a": strings.Repeat("a", 500_000)}}, ""})
		return b[:len(b)-1024] // without the end of the archive
	}
	t.Run("the same folder", func(t *testing.T) {
		if _, err := fs.Extract(t.Context(), tar.NewReader(&repeating{again: long("d"), n: 550}), t.TempDir(), fs.Options{Unprivileged: true}); errs.KindOf(err) == errs.Internal {
			t.Error(err)
		}
	})
	t.Run("many folders", func(t *testing.T) {
		var all []io.Reader
		for i := range 550 {
			all = append(all, bytes.NewReader(long(fmt.Sprintf("d%03d", i))))
		}
		_, err := fs.Extract(t.Context(), tar.NewReader(io.MultiReader(all...)), t.TempDir(), fs.Options{Unprivileged: true})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "MiB that are allowed") {
			t.Error(err)
		}
	})
}

// deep makes folders in each other, n of them, as a guest can that goes down step by step.
func deep(t *testing.T, top string, n int) {
	t.Helper()
	if err := os.MkdirAll(top, 0o700); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(top, unix.O_DIRECTORY, 0)
	for range n {
		if err == nil {
			err = unix.Mkdirat(at, "folder", 0o700)
		}
		next, e := unix.Openat(at, "folder", unix.O_DIRECTORY, 0)
		err = errors.Join(err, e, unix.Close(at))
		at = next
	}
	if err := errors.Join(err, unix.Close(at)); err != nil {
		t.Fatal(err)
	}
}

func TestTooDeepTrees(t *testing.T) {
	top := t.TempDir()
	from := filepath.Join(top, "from")
	deep(t, from, 2000)
	same := func(id uint32) (uint32, error) { return id, nil }
	for name, err := range map[string]error{
		"copy":  fs.CopyTree(t.Context(), from, filepath.Join(top, "to"), fs.CopyOptions{Unprivileged: true}),
		"reown": fs.Reown(t.Context(), from, same),
	} {
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "more than the") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, dir := range []string{from, filepath.Join(top, "to")} {
		// The names that folders are moved by on the way cannot be foreseen: these were those that were used once.
		for i := range 100 {
			if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf(".deep-%d-%d", os.Getpid(), i), "full"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := fs.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}
