package store_test

import (
	"testing"

	"lxd/internal/errs"
	"lxd/internal/store"
	"lxd/internal/store/storetest"
)

func openMem(_ testing.TB, _ string, o store.Options) store.Store { return store.NewMem(o) }

func TestMem(t *testing.T) { storetest.Run(t, openMem) }

func BenchmarkMem(b *testing.B) { storetest.Bench(b, openMem) }

func TestMemRefusesImpureFunctions(t *testing.T) {
	things := store.Collection[int]{Name: "thing", Key: func(int) string { return "only" }}
	s := store.NewMem(store.Options{})
	defer s.Close()
	n := 0
	err := s.Update(t.Context(), func(tx store.Tx) error { n++; return things.Put(tx, n) })
	if !errs.Is(err, errs.Internal) {
		t.Fatalf("a function that counts its runs went unnoticed: %v", err)
	}
}
