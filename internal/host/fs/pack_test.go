package fs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/host/idmap"
)

func packTree(t testing.TB, dir string, o fs.PackOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := fs.Pack(t.Context(), w, dir, o); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t testing.TB, b []byte) (out []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Name)
	}
}

func TestPackAndExtractKeepEverything(t *testing.T) {
	needRoot(t, "owners, nodes, capabilities")
	from, to := grove(t), t.TempDir()
	b := packTree(t, from, fs.PackOptions{Exact: true})
	if len(b) < 10<<20 {
		t.Errorf("%d bytes: the sparse file is not there as a whole", len(b))
	}
	if _, err := extract(to, b, fs.Options{Holes: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "d", "d/e", "d/f", "l", "pipe", "null", "sparse", "suid"} {
		a, b := look(t, filepath.Join(from, name)), look(t, filepath.Join(to, name))
		a.Nlink, b.Nlink = uint64(min(a.Nlink, 2)), uint64(min(b.Nlink, 2))
		if name == "." { // its socket is missing
			a.Size, b.Size = 0, 0
		}
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Mtim != b.Mtim || a.Rdev != b.Rdev || a.Size != b.Size {
			t.Errorf("%s: %+v became %+v", name, a, b)
		}
	}
	if got := look(t, filepath.Join(to, "sparse")); got.Blocks > 64 {
		t.Errorf("the sparse file has %d blocks", got.Blocks)
	}
	if a, b := look(t, filepath.Join(to, "d/f")), look(t, filepath.Join(to, "d/e/same")); a.Ino != b.Ino {
		t.Error("the hard link became a file of its own")
	}
	attr := make([]byte, 64)
	n, err := unix.Getxattr(filepath.Join(to, "suid"), "security.capability", attr)
	if err != nil || string(attr[:n]) != capabilityOf(5) {
		t.Errorf("capability %q, %v", attr[:max(n, 0)], err)
	}
	if _, err := os.Lstat(filepath.Join(to, "sock")); err == nil {
		t.Error("a socket was packed")
	}
}

func TestPackShowsOwnersAsInside(t *testing.T) {
	needRoot(t, "owners")
	m := idmap.Map{{Host: 5, Inside: 0, Size: 10}}
	from, to := grove(t), t.TempDir()
	b := packTree(t, from, fs.PackOptions{Owner: m.ToInside, Prefix: "backup/x"})
	r := tar.NewReader(bytes.NewReader(b))
	seen := map[string]*tar.Header{}
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		seen[h.Name] = h
	}
	suid := seen["backup/x/suid"]
	if suid == nil || suid.Uid != 0 || suid.Gid != 1 || suid.Mode != 0o4755 {
		t.Errorf("suid: %+v", suid)
	} else if c := suid.PAXRecords["SCHILY.xattr.security.capability"]; c[3] != 2 || len(c) != 20 {
		t.Errorf("the capability names an owner still: %q", c)
	}
	if h := seen["backup/x/d/"]; h == nil || h.Uid != 65534 {
		t.Errorf("what nobody inside owns: %+v", h)
	}
	if h := seen["backup/x/d/e/same"]; h == nil && seen["backup/x/d/f"] == nil {
		t.Error("the file with two names is missing")
	}
	strip := func(name string) (string, bool) {
		return strings.TrimPrefix(strings.TrimPrefix(name, "backup/x"), "/"), name != "backup"
	}
	if _, err := extract(to, b, fs.Options{Owner: m.ToHost, Select: strip}); !errs.Is(err, errs.Invalid) {
		t.Fatalf("an id that has no place: %v", err)
	}
	to = t.TempDir()
	wide := idmap.Map{{Host: 1000, Size: 1 << 16}}
	if _, err := extract(to, b, fs.Options{Owner: wide.ToHost, Select: strip}); err != nil {
		t.Fatal(err)
	}
	if st := look(t, filepath.Join(to, "suid")); st.Uid != 1000 || st.Gid != 1001 || st.Mode&0o7777 != 0o4755 {
		t.Errorf("suid: %+v", st)
	}
	attr := make([]byte, 64)
	n, err := unix.Getxattr(filepath.Join(to, "suid"), "security.capability", attr)
	if err != nil || n != 24 || attr[20] != 0xe8 || attr[21] != 3 {
		t.Errorf("capability %q, %v", attr[:max(n, 0)], err)
	}
}

func TestPackLeavesOut(t *testing.T) {
	top := t.TempDir()
	for _, err := range []error{os.MkdirAll(filepath.Join(top, "a/b"), 0o755), os.WriteFile(filepath.Join(top, "a/b/c"), nil, 0o600),
		os.WriteFile(filepath.Join(top, "d"), nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := names(t, packTree(t, top, fs.PackOptions{Prefix: "x", Keep: func(name string, _ unix.Stat_t) bool { return name != "a/b" }}))
	if strings.Join(got, " ") != "x/ x/a/ x/d" && strings.Join(got, " ") != "x/ x/d x/a/" {
		t.Errorf("packed %q", got)
	}
}

// TestPackOfWhatChanges: somebody swaps folders for links and files for shorter ones all the time; the archive stays whole, and nothing of
// what lies outside gets into it.
func TestPackOfWhatChanges(t *testing.T) {
	top := t.TempDir()
	out := filepath.Join(t.TempDir(), "out")
	for _, err := range []error{os.MkdirAll(out, 0o755), os.WriteFile(filepath.Join(out, "secret"), []byte("precious"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		dir, file := filepath.Join(top, "dir"), filepath.Join(top, "file")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Mkdir(dir, 0o755)
			_ = os.WriteFile(filepath.Join(dir, "secret"), []byte("mine"), 0o600)
			_ = os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o600)
			_ = os.Truncate(file, 10)
			_ = os.RemoveAll(dir)
			_ = os.Symlink(out, dir)
			_ = os.Remove(file)
			_ = os.Symlink(filepath.Join(out, "secret"), file)
			_ = os.Remove(file)
			_ = os.Remove(dir)
		}
	}()
	defer func() { close(stop); <-ended }()
	for range 300 {
		b := packTree(t, top, fs.PackOptions{})
		if bytes.Contains(b, []byte("precious")) {
			t.Fatal("the file outside was packed")
		}
		names(t, b)
	}
}

func TestPackEndsWhenItIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fs.Pack(ctx, tar.NewWriter(io.Discard), dir, fs.PackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
