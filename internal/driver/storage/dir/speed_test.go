package dir_test

import (
	"fmt"
	"testing"

	"lxd/internal/storage"
)

// BenchmarkInstance is the storage side of a launch and a delete, on a Debian image if LXD_TEST_ROOTFS names one.
func BenchmarkInstance(b *testing.B) {
	bed := newBed(b, "")
	if err := bed.Create(b.Context(), image(), debian(b)); err != nil {
		b.Fatal(err)
	}
	steps := []struct {
		name string
		do   func(v storage.Volume) error
	}{
		{"clone", func(v storage.Volume) error {
			_, err := bed.Pool.(storage.Cloner).Clone(b.Context(), image(), v)
			return err
		}},
		{"mount", func(v storage.Volume) error { _, err := bed.Mount(b.Context(), v); return err }},
		{"unmount", func(v storage.Volume) error { return bed.Unmount(b.Context(), v) }},
		{"delete", func(v storage.Volume) error { return bed.Delete(b.Context(), v) }},
	}
	for i, step := range steps {
		b.Run(step.name, func(b *testing.B) {
			for n := range b.N {
				v := instance(fmt.Sprint("c", n))
				b.StopTimer()
				for _, s := range steps[:i] {
					if err := s.do(v); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				err := step.do(v)
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				if err := bed.Delete(b.Context(), v); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPlainCopy is a launch with a tree of its own.
func BenchmarkPlainCopy(b *testing.B) {
	bed := newBed(b, "")
	if err := bed.Create(b.Context(), image(), debian(b)); err != nil {
		b.Fatal(err)
	}
	v := instance("c1")
	v.Plain = true
	for b.Loop() {
		bed.clone(b, image(), v)
		if err := bed.Delete(b.Context(), v); err != nil {
			b.Fatal(err)
		}
	}
}
