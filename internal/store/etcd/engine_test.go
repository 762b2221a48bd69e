package etcd_test

import (
	"testing"

	"lxd/internal/store"
	"lxd/internal/store/etcd"
	"lxd/internal/store/storetest"
)

func open(t testing.TB, dir string, o store.Options) store.Store {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Config{Dir: dir}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestDurable(t *testing.T) { storetest.RunDurable(t, open) }

func BenchmarkStore(b *testing.B) { storetest.Bench(b, open) }

func BenchmarkReady(b *testing.B) {
	b.Run("fresh", func(b *testing.B) {
		for b.Loop() {
			s := open(b, b.TempDir(), store.Options{})
			b.StopTimer()
			_ = s.Close()
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			s := open(b, dir, store.Options{})
			b.StopTimer()
			_ = s.Close()
			b.StartTimer()
		}
	})
}
