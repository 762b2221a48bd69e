package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/op"
)

func fingerprintOf(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// through packs data with a writer of the library.
func through[W io.WriteCloser](t testing.TB, data []byte, open func(io.Writer) (W, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	must(t, err)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func compressions(t testing.TB) map[string]func([]byte) []byte {
	return map[string]func([]byte) []byte{
		".tar": func(b []byte) []byte { return b },
		".tar.gz": func(b []byte) []byte {
			return through(t, b, func(w io.Writer) (*gzip.Writer, error) { return gzip.NewWriter(w), nil })
		},
		".tar.xz": func(b []byte) []byte {
			return through(t, b, func(w io.Writer) (*xz.Writer, error) { return xz.NewWriter(w) })
		},
		".tar.lzma": func(b []byte) []byte {
			return through(t, b, func(w io.Writer) (*lzma.Writer, error) { return lzma.NewWriter(w) })
		},
		".tar.zst": func(b []byte) []byte {
			return through(t, b, func(w io.Writer) (*zstd.Encoder, error) { return zstd.NewWriter(w) })
		},
		".tar.bz2": func(b []byte) []byte { return filter(t, b, "bzip2") },
	}
}

// filter packs data with a program, which must be there.
func filter(t testing.TB, data []byte, program string) []byte {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skipf("%s is not installed", program)
	}
	must(t, err)
	return out
}

func TestImportUnified(t *testing.T) {
	for ext, compress := range compressions(t) {
		t.Run(ext, func(t *testing.T) {
			w := newWorld(t)
			data := compress(pack(t, goodImage()))
			fp := fingerprintOf(data)
			o, err := w.send(t, bytes.NewReader(data), "X-LXD-fingerprint", fp, "X-LXD-filename", "img.tar", "X-LXD-public", "1",
				"X-LXD-properties", "os=Debian+GNU&kind=a%26b", "X-LXD-properties", "extra=1")
			must(t, err)
			if o.Metadata["fingerprint"] != fp || o.Metadata["size"] != fmt.Sprint(len(data)) {
				t.Fatalf("operation metadata %v", o.Metadata)
			}
			img, _, err := w.Get(t.Context(), "default", fp[:12])
			must(t, err)
			want := "container x86_64 true img.tar map[extra:1 kind:a&b os:Debian GNU release:12] [default] 1700000000 1900000000"
			if got := describe(img); got != want {
				t.Errorf("image is\n%s, want\n%s", got, want)
			}
			root, err := w.unpack(t, fp)
			must(t, err)
			checkTree(t, root)
			checkExport(t, w, fp, map[string][]byte{fp + ext: data})
		})
	}
}

func describe(i api.Image) string {
	return fmt.Sprintf("%s %s %v %s %v %v %d %d", i.Type, i.Architecture, i.Public, i.Filename, i.Properties, i.Profiles, i.CreatedAt.Unix(), i.ExpiresAt.Unix())
}

func checkTree(t *testing.T, root string) {
	t.Helper()
	for file, want := range map[string]string{"metadata.yaml": goodMetadata, "templates/hostname.tpl": "{{ instance.name }}\n", "rootfs/etc/hostname": "c1\n"} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "notes.txt")); err == nil {
		t.Error("something that is no part of an image was unpacked")
	}
}

func checkExport(t *testing.T, w *world, fp string, want map[string][]byte) {
	t.Helper()
	parts, err := w.Export(t.Context(), "default", fp)
	must(t, err)
	if len(parts) != len(want) {
		t.Fatalf("%d parts", len(parts))
	}
	for _, p := range parts {
		got, err := io.ReadAll(p.File)
		must(t, err)
		if !bytes.Equal(got, want[p.Filename]) {
			t.Errorf("part %s is called %q, or has other bytes", p.Name, p.Filename)
		}
		_ = p.Close()
	}
}

func TestImportSplit(t *testing.T) {
	for ext, compress := range compressions(t) {
		t.Run(ext, func(t *testing.T) {
			w := newWorld(t)
			meta, root := compress(pack(t, goodMeta())), compress(pack(t, goodRoot()))
			_, err := w.sendSplit(t, meta, root, "rootfs")
			must(t, err)
			fp := fingerprintOf(meta, root)
			img, _, err := w.Get(t.Context(), "default", fp)
			must(t, err)
			if img.Size != int64(len(meta)+len(root)) || img.Filename != "root.file" || img.Type != "container" {
				t.Fatalf("%+v", img)
			}
			tree, err := w.unpack(t, fp)
			must(t, err)
			checkTree(t, tree)
			checkExport(t, w, fp, map[string][]byte{"meta-" + fp + ext: meta, fp + ext: root})
		})
	}
}

func squash(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "in/etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "in/etc/hostname"), []byte("c1\n"), 0o644))
	for _, name := range []string{"trusted.overlay.opaque", "security.evil", "user.good"} {
		must(t, unix.Setxattr(filepath.Join(dir, "in/etc"), name, []byte("y"), 0))
	}
	out := filepath.Join(dir, "out")
	if b, err := exec.Command("mksquashfs", filepath.Join(dir, "in"), out, "-p", "etc/disk b 600 0 0 8 0").CombinedOutput(); err != nil {
		t.Skipf("mksquashfs: %v: %s", err, b)
	}
	data, err := os.ReadFile(out)
	must(t, err)
	return data
}

func TestImportSquashfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the image has a device node, which only root can unpack")
	}
	w := newWorld(t)
	meta, root := pack(t, goodMeta()), squash(t)
	_, err := w.sendSplit(t, meta, root, "rootfs")
	must(t, err)
	fp := fingerprintOf(meta, root)
	tree, err := w.unpack(t, fp)
	must(t, err)
	checkTree(t, tree)
	if _, err := os.Lstat(filepath.Join(tree, "rootfs/etc/disk")); err == nil {
		t.Error("a device node of the image is on the host")
	}
	var b [256]byte
	for name, want := range map[string]error{"trusted.overlay.opaque": unix.ENODATA, "security.evil": unix.ENODATA, "user.good": nil} {
		if _, err := unix.Getxattr(filepath.Join(tree, "rootfs/etc"), name, b[:]); !errors.Is(err, want) {
			t.Errorf("attribute %s: %v, want %v", name, err, want)
		}
	}
	_, err = w.sendSplit(t, meta, root[:200], "rootfs")
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "get or build it again") {
		t.Errorf("a squashfs cut short: %v", err)
	}
}

// TestImportRefuses: what is wrong is said in the operation's error, and nothing of the upload stays.
func TestImportRefuses(t *testing.T) {
	meta := func(yaml string) []entry {
		return []entry{{name: "metadata.yaml", body: yaml}, {name: "rootfs/", typ: tar.TypeDir}}
	}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"no metadata":        {[]entry{{name: "rootfs/", typ: tar.TypeDir}}, "no metadata.yaml"},
		"no rootfs":          {goodMeta(), "neither rootfs/ nor rootfs.img"},
		"no architecture":    {meta("creation_date: 1\n"), "names no architecture"},
		"bad architecture":   {meta("architecture: z80\ncreation_date: 1\n"), `unknown architecture "z80"`},
		"no date":            {meta("architecture: x86_64\n"), "no creation_date"},
		"not yaml":           {meta("\t{]"), "cannot be read"},
		"empty yaml":         {meta(""), "is empty"},
		"giant yaml":         {meta(goodMetadata + strings.Repeat("# padding\n", 200_000)), "larger than 1 MiB"},
		"yaml bomb":          {meta(bomb()), "cannot be read"},
		"metadata is a link": {[]entry{{name: "metadata.yaml", link: "/etc/shadow", typ: tar.TypeSymlink}}, "not a plain file"},
		"template outside":   {meta("architecture: x86_64\ncreation_date: 1\ntemplates: {/a: {template: ../../etc/shadow}}\n"), "file in templates/"},
		"dots":               {append(goodImage(), entry{name: "rootfs/../../evil", body: "x"}), `by ".."`},
		"absolute":           {append(goodImage(), entry{name: "/etc/evil", body: "x"}), "absolute name"},
		"hard link outside":  {append(goodImage(), entry{name: "rootfs/x", link: "../../etc/passwd", typ: tar.TypeLink}), "links out of the image"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.send(t, bytes.NewReader(pack(t, c.entries)))
			if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			w.clean(t)
		})
	}
}

func bomb() string {
	s := "architecture: x86_64\ncreation_date: 1\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 12 {
		s += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return s + "properties: {x: *a12}\n"
}

// TestImportBrokenFiles: damaged in every format, at several places.
func TestImportBrokenFiles(t *testing.T) {
	big := append(goodImage(), entry{name: "rootfs/big", body: strings.Repeat("some text that is long enough\n", 20_000)})
	for ext, compress := range compressions(t) {
		t.Run(ext, func(t *testing.T) {
			w := newWorld(t)
			data := compress(pack(t, big))
			for _, part := range []int{2, 3, 5} {
				if _, err := w.send(t, bytes.NewReader(data[:len(data)*(part-1)/part])); !errs.Is(err, errs.Invalid) {
					t.Errorf("cut after %d/%d: %v", part-1, part, err)
				}
			}
			w.clean(t)
		})
	}
	w := newWorld(t)
	for name, data := range map[string]string{"empty": "", "text": "hello, this is no image", "qcow2": "QFI\xfb\x00\x00\x00\x03", "lzma memory": "\x5d\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, err := w.send(t, strings.NewReader(data)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.clean(t)
}

func TestImportChecksFingerprintAndDuplicates(t *testing.T) {
	w := newWorld(t)
	data := pack(t, goodImage())
	_, err := w.send(t, bytes.NewReader(data), "X-LXD-fingerprint", strings.Repeat("0", 64))
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), fingerprintOf(data)) {
		t.Fatal(err)
	}
	w.clean(t)
	_, err = w.send(t, bytes.NewReader(data), "X-LXD-profiles", "profile=default&profile=none")
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "none") {
		t.Fatal(err)
	}
	w.clean(t)
	_, err = w.send(t, bytes.NewReader(data))
	must(t, err)
	if _, err = w.send(t, bytes.NewReader(data)); !errs.Is(err, errs.Conflict) {
		t.Fatal(err)
	}
	if _, err := w.unpack(t, fingerprintOf(data)); err != nil {
		t.Fatalf("the first one suffered from the second: %v", err)
	}
	left, err := os.ReadDir(w.tmp)
	must(t, err)
	if len(left) > 0 {
		t.Fatalf("left over: %v", left)
	}
}

func TestImportRefusesParts(t *testing.T) {
	meta, root := pack(t, goodMeta()), pack(t, goodRoot())
	for name, c := range map[string]struct {
		root []byte
		name string
		want string
	}{
		"name":        {root, "disk", `named "disk"`},
		"no disk":     {root, "rootfs.img", "qcow2"},
		"disk":        {[]byte("QFI\xfb\x00\x00\x00\x03"), "rootfs", "rootfs.img"},
		"not a thing": {[]byte("nothing known"), "rootfs", "no known format"},
		"dots":        {pack(t, append(goodRoot(), entry{name: "../x", body: "x"})), "rootfs", `".."`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sendSplit(t, meta, c.root, c.name); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			w.clean(t)
		})
	}
	w := newWorld(t)
	_, err := w.sendSplit(t, meta, []byte("QFI\xfb\x00\x00\x00\x03"), "rootfs.img")
	must(t, err)
}

// TestUnpackIsConfined: an archive whose names look harmless, but whose links lead outside.
func TestUnpackIsConfined(t *testing.T) {
	outside := t.TempDir()
	for name, entries := range map[string][]entry{
		"through a link":       {{name: "rootfs/out", link: outside, typ: tar.TypeSymlink}, {name: "rootfs/out/evil", body: "x"}},
		"rootfs is a link":     {{name: "rootfs", link: outside, typ: tar.TypeSymlink}, {name: "rootfs/evil", body: "x"}},
		"templates is a link":  {{name: "templates", link: outside, typ: tar.TypeSymlink}, {name: "templates/evil", body: "x"}, {name: "rootfs/", typ: tar.TypeDir}},
		"hard link to a link":  {{name: "rootfs/out", link: outside + "/evil", typ: tar.TypeSymlink}, {name: "rootfs/h", link: "rootfs/out", typ: tar.TypeLink}, {name: "rootfs/h", body: "x"}},
		"overwritten by again": {{name: "rootfs/out", link: outside + "/evil", typ: tar.TypeSymlink}, {name: "rootfs/out", body: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			data := pack(t, append([]entry{{name: "metadata.yaml", body: goodMetadata}}, entries...))
			if _, err := w.send(t, bytes.NewReader(data)); err == nil {
				_, err = w.unpack(t, fingerprintOf(data))
				t.Logf("unpack: %v", err)
			}
			left, err := os.ReadDir(outside)
			must(t, err)
			if len(left) > 0 {
				t.Fatalf("written outside: %v", left)
			}
		})
	}
}

func TestUnpackWithoutFiles(t *testing.T) {
	w := newWorld(t)
	if _, err := w.unpack(t, strings.Repeat("a", 64)); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := w.unpack(t, "../"+strings.Repeat("a", 61)); !errs.Is(err, errs.Internal) {
		t.Error(err)
	}
}

// TestImportLeavesNothing fails the import at every step.
func TestImportLeavesNothing(t *testing.T) {
	data := pack(t, goodImage())
	boom := errors.New("boom")
	for _, step := range []string{"files", "record"} {
		for _, moment := range []string{"before", "after"} {
			t.Run(step+" "+moment, func(t *testing.T) {
				w := newWorld(t)
				w.hook = failAt(step, moment, boom)
				if _, err := w.send(t, bytes.NewReader(data)); !errors.Is(err, boom) {
					t.Fatal(err)
				}
				w.clean(t)
			})
		}
	}
}

func failAt(step, moment string, err error) op.Hook {
	return func(_, s, m string) error {
		if s == step && m == moment {
			return err
		}
		return nil
	}
}

func TestReceiveThatBreaks(t *testing.T) {
	w := newWorld(t)
	boom := errors.New("connection reset")
	_, err := w.send(t, io.MultiReader(strings.NewReader("some"), errReader{boom}))
	if !errors.Is(err, boom) || !errs.Is(err, errs.Invalid) {
		t.Fatal(err)
	}
	w.clean(t)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestImportIsCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.hook = func(_, step, moment string) error {
		if step == "files" && moment == "after" {
			for _, o := range w.ops.List("") {
				_ = o.Cancel(ctx)
			}
		}
		return nil
	}
	defer cancel()
	if _, err := w.send(t, bytes.NewReader(pack(t, goodImage()))); !errs.Is(err, errs.Canceled) {
		t.Fatal(err)
	}
	w.clean(t)
}
