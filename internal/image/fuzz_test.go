package image_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/image"
)

// FuzzMetadata: no metadata.yaml crashes the reader, and what it refuses is called invalid.
func FuzzMetadata(f *testing.F) {
	for _, s := range []string{goodMetadata, "", "[]", "a: &a [*a]", "architecture: x86_64\ncreation_date: 1e3\n", "\xff\xfe", "creation_date: -1\narchitecture: [x]\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := image.ParseMetadata(bytes.NewReader(b))
		if err != nil && !errs.Is(err, errs.Invalid) {
			t.Fatalf("kind %d: %v", errs.KindOf(err), err)
		}
		if err == nil && (m.Architecture == "" || m.CreationDate == 0) {
			t.Fatalf("accepted %+v", m)
		}
	})
}

// FuzzImage: no archive crashes the import or makes Unpack write outside, and a refused one leaves nothing.
func FuzzImage(f *testing.F) {
	whole := pack(f, goodImage())
	f.Add(whole)
	f.Add(whole[:1500])
	f.Add(pack(f, append(goodImage(), entry{name: "rootfs/../x", body: "x"})))
	for ext, compress := range compressions(f) {
		if ext != ".tar.xz" { // a child for each input would be slow
			f.Add(compress(whole))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, []byte("\xfd7zXZ")) {
			t.Skip()
		}
		w := newWorld(t)
		_, err := w.send(t, io.MultiReader(bytes.NewReader(b)))
		if err != nil {
			w.clean(t)
			return
		}
		parent := t.TempDir()
		root := filepath.Join(parent, "root")
		must(t, os.Mkdir(root, 0o755))
		_ = w.Unpack(t.Context(), fingerprintOf(b), root, nil)
		if left, _ := os.ReadDir(parent); len(left) != 1 {
			t.Fatalf("written outside: %v", left)
		}
	})
}
