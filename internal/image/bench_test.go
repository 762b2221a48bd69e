package image_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkImport measures the import of an image of some 60 MB, half of which can be compressed.
func BenchmarkImport(b *testing.B) {
	entries := goodImage()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		half := make([]byte, 32<<10)
		for k := range half {
			half[k] = byte(r.Uint32())
		}
		entries = append(entries, entry{name: fmt.Sprintf("rootfs/f%d", i), body: string(half) + string(bytes.Repeat([]byte("text "), 6<<10))})
	}
	whole := pack(b, entries)
	for ext, compress := range compressions(b) {
		if ext == ".tar.lzma" {
			continue // nobody's default, and slow to make
		}
		b.Run(ext, func(b *testing.B) {
			data := compress(whole)
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				b.StopTimer()
				w := newWorld(b)
				b.StartTimer()
				_, err := w.send(b, bytes.NewReader(data))
				must(b, err)
			}
		})
	}
}
