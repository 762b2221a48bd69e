package storetest

import (
	"fmt"
	sync64 "sync/atomic"
	"testing"

	"lxd/internal/store"
)

// Bench measures a store: one writer, 64 writers, a read, and a scan of 10,000 records.
func Bench(b *testing.B, open Opener) {
	b.Run("write", func(b *testing.B) {
		s := fresh(b, open, store.Options{})
		for i := 0; b.Loop(); i++ {
			insert(b, s, fmt.Sprint("p", i))
		}
	})
	b.Run("write from 64", func(b *testing.B) {
		s := fresh(b, open, store.Options{})
		b.SetParallelism(parallel)
		var id nextID
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				insert(b, s, fmt.Sprint("p", id.next()))
			}
		})
	})
	s := fresh(b, open, store.Options{})
	fill(b, s, 10_000)
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			must(b, s.View(b.Context(), func(tx store.Tx) error { _, err := parents.Get(tx, "p05000"); return err }))
		}
	})
	b.Run("scan 10000", func(b *testing.B) {
		for b.Loop() {
			n := 0
			must(b, s.View(b.Context(), func(tx store.Tx) error {
				for range parents.AllRev(tx, "") {
					n++
				}
				return nil
			}))
			if n != 10_000 {
				b.Fatal(n)
			}
		}
	})
}

func fill(b *testing.B, s store.Store, n int) {
	for i := 0; i < n; i += 500 {
		var some []string
		for k := range 500 {
			some = append(some, fmt.Sprintf("p%05d", i+k))
		}
		insert(b, s, some...)
	}
}

// nextID hands out numbers to goroutines.
type nextID struct{ n sync64.Int64 }

func (i *nextID) next() int64 { return i.n.Add(1) }
