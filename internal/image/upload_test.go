package image_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// TestUploadOfManyPieces sends images that are received in several pieces, the last of which is not full: every byte is kept and hashed.
func TestUploadOfManyPieces(t *testing.T) {
	filler := make([]byte, 3<<20+123)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(filler)
	large := entry{name: "rootfs/large", body: string(filler)}
	whole, meta, root := pack(t, append(goodImage(), large)), pack(t, goodMeta()), pack(t, append(goodRoot(), entry{name: "./large", body: string(filler)}))

	w := newWorld(t)
	_, err := w.send(t, iotest.HalfReader(io.MultiReader(bytes.NewReader(whole))))
	must(t, err)
	_, err = w.sendSplit(t, meta, root, "rootfs")
	must(t, err)
	split := fingerprintOf(meta, root)
	for name, want := range map[string][]byte{fingerprintOf(whole): whole, split: meta, split + ".rootfs": root} {
		if got, err := os.ReadFile(filepath.Join(w.dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}
