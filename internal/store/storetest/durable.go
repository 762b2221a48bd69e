package storetest

import (
	"fmt"
	"testing"

	"lxd/internal/store"
)

// RunDurable tests what holds for a store that outlives its process.
func RunDurable(t *testing.T, open Opener) {
	t.Run("restart", func(t *testing.T) { restart(t, open) })
}

// restart: what was committed is there after each of several starts, with the same revisions, and nothing is announced again.
func restart(t *testing.T, open Opener) {
	dir := t.TempDir()
	var want []string
	for round := range 4 {
		announced := 0
		s := open(t, dir, store.Options{OnAnnounce: func(any) { announced++ }})
		equal(t, names(t, s, parents, ""), want)
		before := revisions(t, s)
		for i := range 5 {
			name := fmt.Sprintf("%d-%d", round, i)
			must(t, s.Update(t.Context(), func(tx store.Tx) error {
				tx.Announce(name)
				return parents.Insert(tx, Thing{Name: name})
			}))
			want = append(want, name)
		}
		if announced != 5 {
			t.Fatalf("%d events for 5 commits", announced)
		}
		must(t, s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, want[0]) }))
		gone := want[0]
		want = want[1:]
		after := revisions(t, s)
		delete(before, gone)
		for name, rev := range before {
			if after[name] != rev {
				t.Fatalf("%s went from revision %d to %d without a write", name, rev, after[name])
			}
		}
		must(t, s.Close())
	}
}

func revisions(t *testing.T, s store.Store) map[string]uint64 {
	revs := map[string]uint64{}
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		for e := range tx.Scan("parent", "") {
			revs[e.Key] = e.Rev
		}
		return nil
	}))
	return revs
}
