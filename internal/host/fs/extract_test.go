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
	"time"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
)

// entry is one entry of a test archive; Body is its content.
type entry struct {
	tar.Header
	Body string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func symlink(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}, ""}
}

func link(name, to string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}, ""}
}

func node(name string, typ byte, major, minor int64) entry {
	return entry{tar.Header{Name: name, Typeflag: typ, Mode: 0o666, Devmajor: major, Devminor: minor}, ""}
}

func pack(t testing.TB, all ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		e.ModTime = time.Unix(1_700_000_000, 0)
		if os.Getuid() != 0 && e.Uid == 0 {
			e.Uid, e.Gid = os.Getuid(), os.Getgid()
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func extract(dest string, b []byte, o fs.Options) (fs.Report, error) {
	o.Unprivileged = os.Getuid() != 0
	return fs.Extract(context.Background(), tar.NewReader(bytes.NewReader(b)), dest, o)
}

// arena is a destination with something precious beside it.
func arena(t testing.TB) (dest string, intact func()) {
	t.Helper()
	top := t.TempDir()
	dest, outside := filepath.Join(top, "in", "dest"), filepath.Join(top, "outside")
	for _, d := range []string{dest, outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dest, func() {
		t.Helper()
		if b, err := os.ReadFile(secret); err != nil || string(b) != "precious" {
			t.Errorf("the file outside has %q, %v", b, err)
		}
		st, _ := os.Stat(secret)
		if st.Mode() != 0o600 {
			t.Errorf("the file outside has mode %v", st.Mode())
		}
		for _, d := range []string{outside, filepath.Dir(dest)} {
			if l, _ := os.ReadDir(d); len(l) != 1 {
				t.Errorf("%s has %v", d, l)
			}
		}
		if l, _ := os.ReadDir(top); len(l) != 2 {
			t.Errorf("beside the destination: %v", l)
		}
	}
}

func TestExtractRefusesWhatLeadsOut(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []entry
		want string
	}{
		{"dots", []entry{file("../../outside/evil", "x")}, `".."`},
		{"dots inside", []entry{dir("a"), file("a/../../../outside/evil", "x")}, `".."`},
		{"dots that would stay inside", []entry{file("a/../b", "x")}, `".."`},
		{"only dots", []entry{dir("..")}, `".."`},
		{"absolute", []entry{file("/outside/evil", "x")}, "absolute"},
		{"absolute folder", []entry{dir("/")}, "absolute"},
		{"through a link", []entry{symlink("l", "../../outside"), file("l/evil", "x")}, "symbolic link"},
		{"through an absolute link", []entry{symlink("l", "/"), file("l/tmp/evil", "x")}, "symbolic link"},
		{"through a link inside", []entry{dir("d"), symlink("l", "d"), file("l/evil", "x")}, "symbolic link"},
		{"folder through a link", []entry{symlink("l", "../../outside"), dir("l/evil")}, "symbolic link"},
		{"link through a link", []entry{symlink("l", "../../outside"), symlink("l/evil", "/etc/passwd")}, "symbolic link"},
		{"hard link out", []entry{link("l", "../../outside/secret")}, `".."`},
		{"absolute hard link", []entry{link("l", "/etc/passwd")}, "absolute"},
		{"hard link through a link", []entry{symlink("s", "../../outside"), link("l", "s/secret"), file("l", "x")}, "symbolic link"},
		{"hard link to nothing", []entry{link("l", "nothing")}, "no earlier file"},
		{"hard link to a folder", []entry{dir("d"), link("l", "d")}, "no earlier file"},
		{"file over a folder", []entry{dir("d"), file("d/x", ""), file("d", "x")}, "cannot be made"},
		{"below a file", []entry{file("f", "x"), file("f/x", "x")}, "cannot be made"},
		{"pipe named like the top", []entry{node(".", tar.TypeFifo, 0, 0)}, "named like the folder"},
		{"link named like the top", []entry{symlink(".", "/")}, "named like the folder"},
		{"unknown type", []entry{{tar.Header{Name: "x", Typeflag: 'Z'}, ""}}, "unknown type"},
		{"long name", []entry{file(strings.Repeat("a/", 2100)+"x", "")}, "bytes: the limit"},
		{"long part", []entry{file(strings.Repeat("a", 300), "")}, "cannot be made"},
		{"bad capability", []entry{{tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}, ""}}, "malformed"},
		{"owner out of range", []entry{{tar.Header{Name: "x", Typeflag: tar.TypeReg, Uid: 1 << 32, Format: tar.FormatPAX}, ""}}, "owner"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "malformed" && os.Getuid() != 0 {
				t.Skip("needs root: capabilities")
			}
			dest, intact := arena(t)
			_, err := extract(dest, pack(t, c.all...), fs.Options{})
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want Invalid with %q", err, c.want)
			}
			intact()
		})
	}
}

func TestExtractWritesThroughNoLink(t *testing.T) {
	for name, all := range map[string][]entry{
		"file over a link":          {symlink("l", "../../outside/secret"), file("l", "evil")},
		"folder over a link":        {symlink("l", "../../outside"), dir("l"), file("l/evil", "x")},
		"fifo over a link":          {symlink("l", "../../outside/secret"), node("l", tar.TypeFifo, 0, 0)},
		"file over a hard link":     {symlink("l", "../../outside/secret"), link("h", "l"), file("h", "evil")},
		"mode of a link":            {{tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../outside/secret", Mode: 0o4777}, ""}},
		"links only, never entered": {symlink("l", "../../outside"), symlink("m", "/etc")},
	} {
		t.Run(name, func(t *testing.T) {
			dest, intact := arena(t)
			if _, err := extract(dest, pack(t, all...), fs.Options{}); err != nil {
				t.Error(err)
			}
			intact()
		})
	}
}

func TestExtractKeepsWhatMatters(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners, nodes, capabilities")
	}
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	dest := t.TempDir()
	got, err := extract(dest, pack(t,
		dir("./"),
		entry{tar.Header{Name: "ping", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, Size: 3, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "hi",
			"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.security.selinux": "x",
		}}, "abc"},
		link("deep/er/hard", "ping"),
		file("deep/f", strings.Repeat("y", 700_000)),
		node("null", tar.TypeChar, 1, 3), node("sda", tar.TypeBlock, 8, 0), node("mem", tar.TypeChar, 1, 1), node("whiteout", tar.TypeChar, 0, 0),
		node("pipe", tar.TypeFifo, 0, 0),
		entry{tar.Header{Name: "sticky", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 3}, ""},
		file("sticky/f", ""),
		entry{tar.Header{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "/nowhere", Uid: 5}, ""},
	), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Skipped != 5 {
		t.Errorf("skipped %d, want 2 attributes and 3 nodes", got.Skipped)
	}
	stat := func(name string) (st unix.Stat_t) {
		if err := unix.Lstat(filepath.Join(dest, name), &st); err != nil {
			t.Error(name, err)
		}
		return st
	}
	ping, hard := stat("ping"), stat("deep/er/hard")
	if ping.Mode != unix.S_IFREG|0o4755 || ping.Uid != 7 || ping.Gid != 8 || ping.Mtim.Sec != 1_700_000_000 {
		t.Errorf("ping: %+v", ping)
	}
	if hard.Ino != ping.Ino {
		t.Error("the hard link is a copy")
	}
	if st := stat("sticky"); st.Mode != unix.S_IFDIR|0o1777 || st.Uid != 3 || st.Mtim.Sec != 1_700_000_000 {
		t.Errorf("sticky: %+v", st)
	}
	if st := stat("s"); st.Uid != 5 || st.Mtim.Sec != 1_700_000_000 {
		t.Errorf("link: %+v", st)
	}
	if st := stat("null"); st.Rdev != unix.Mkdev(1, 3) || st.Mode != unix.S_IFCHR|0o666 {
		t.Errorf("null: %+v", st)
	}
	if stat("pipe").Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Error("no pipe")
	}
	attrs(t, filepath.Join(dest, "ping"), map[string]string{"security.capability": capability, "user.note": "hi"})
}

func attrs(t *testing.T, path string, want map[string]string) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	if names := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00"); len(names) != len(want) {
		t.Errorf("%s has the attributes %q", path, names)
	}
	for name, v := range want {
		if n, err := unix.Lgetxattr(path, name, buf); err != nil || string(buf[:n]) != v {
			t.Errorf("%s: attribute %s = %q, %v; want %q", path, name, buf[:max(n, 0)], err, v)
		}
	}
}

func TestExtractKeepsHoles(t *testing.T) {
	// An old GNU sparse header: 1 MiB of which only the last block is stored.
	var h [512]byte
	copy(h[0:], "sparse")
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x000000000\x00")
	copy(h[124:], "00000001000\x00")
	copy(h[136:], "00000000000\x00")
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	copy(h[386:], "00003777000\x0000000001000\x00")
	copy(h[483:], "00004000000\x00")
	sum := 8 * int(' ')
	for i, c := range h {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(h[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	body := append(h[:], bytes.Repeat([]byte("z"), 512)...)
	dest := t.TempDir()
	if _, err := extract(dest, append(body, make([]byte, 1024)...), fs.Options{}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dest, "sparse"), &st); err != nil || st.Size != 1<<20 || st.Blocks > 64 {
		t.Fatalf("size %d in %d blocks, %v", st.Size, st.Blocks, err)
	}
	b, _ := os.ReadFile(filepath.Join(dest, "sparse"))
	if want := append(make([]byte, 1<<20-512), bytes.Repeat([]byte("z"), 512)...); !bytes.Equal(b, want) {
		t.Error("content differs")
	}
}

func TestExtractBounds(t *testing.T) {
	three := pack(t, file("a", "12345"), file("b", "12345"), file("c", "12345"))
	for name, c := range map[string]struct {
		o    fs.Options
		want string
	}{
		"entries": {fs.Options{Entries: 2}, "more than the 2 entries"},
		"bytes":   {fs.Options{Bytes: 12}, "larger than the 12 bytes"},
		"enough":  {fs.Options{Entries: 3, Bytes: 15}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := extract(t.TempDir(), three, c.o)
			if c.want == "" && err != nil || c.want != "" && (!errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}

func TestExtractTruncated(t *testing.T) {
	whole := pack(t, dir("d"), file("d/f", strings.Repeat("x", 5000)), file("g", "y"))
	for _, n := range []int{1, 511, 513, 1500, 2000, 5000, len(whole) - 1700} {
		if _, err := extract(t.TempDir(), whole[:n], fs.Options{}); !errs.Is(err, errs.Invalid) {
			t.Errorf("cut at %d of %d: %v", n, len(whole), err)
		}
	}
	flipped := bytes.Clone(whole)
	flipped[512+150] ^= 1
	if _, err := extract(t.TempDir(), flipped, fs.Options{}); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), `"d/"`) && !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("bad checksum: %v", err)
	}
}

func TestExtractSelectAndProgress(t *testing.T) {
	dest := t.TempDir()
	var told int64
	got, err := extract(dest, pack(t, file("./metadata.yaml", "m"), file("rootfs/big", strings.Repeat("b", 5<<20)), file("other", "o"), link("rootfs/l", "rootfs/big")), fs.Options{
		Select: func(name string) (string, bool) {
			to, ok := strings.CutPrefix(name, "rootfs/")
			return to, ok || name == "metadata.yaml"
		},
		Progress: func(n int64) { told = n },
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	l, _ := os.ReadDir(dest)
	for _, e := range l {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != "big l metadata.yaml" {
		t.Errorf("unpacked %q", names)
	}
	if told < 4<<20 || got.Bytes != 5<<20+1 {
		t.Errorf("told %d of %d", told, got.Bytes)
	}
}

func TestExtractStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := fs.Extract(ctx, tar.NewReader(bytes.NewReader(pack(t, file("a", "b")))), t.TempDir(), fs.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(pack(f, dir("d"), file("d/f", "x"), symlink("l", "d"), link("h", "d/f"), file("l/x", "y")))
	f.Add(pack(f, symlink("l", "../../outside"), dir("l"), file("l/../../x", "")))
	f.Add(pack(f, node("n", tar.TypeChar, 0, 0), node("p", tar.TypeFifo, 0, 0)))
	f.Add(pack(f, entry{tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "1"}, Size: 1}, "z"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dest, intact := arena(t)
		_, err := extract(dest, b, fs.Options{Bytes: 1 << 20, Entries: 1000})
		if err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("not a clear refusal: %v", err)
		}
		intact()
	})
}
