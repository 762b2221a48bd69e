package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// parallel is how many goroutines race.
const parallel = 64

// race runs fn in many goroutines that start together.
func race(n int, fn func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-begin; fn(i) })
	}
	close(begin)
	wg.Wait()
}

func announce(t *testing.T, open Opener) {
	var s store.Store
	var got []string
	s = fresh(t, open, store.Options{OnAnnounce: func(ev any) {
		_ = s.View(t.Context(), func(tx store.Tx) error {
			if !parents.Has(tx, ev.(string)) {
				t.Errorf("event %v came before its commit was visible", ev)
			}
			return nil
		})
		got = append(got, ev.(string))
	}})
	for _, name := range []string{"a", "b"} {
		must(t, s.Update(t.Context(), func(tx store.Tx) error {
			tx.Announce(name)
			return parents.Insert(tx, Thing{Name: name})
		}))
		if len(got) == 0 || got[len(got)-1] != name {
			t.Fatalf("Update returned before its event was published: %q", got)
		}
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error { tx.Announce("a"); return nil }))
	equal(t, got, []string{"a", "b", "a"})
}

func announceOrder(t *testing.T, open Opener) {
	var got []int
	s := fresh(t, open, store.Options{OnAnnounce: func(ev any) { got = append(got, ev.(int)) }})
	insert(t, s, "counter")
	race(parallel, func(int) {
		for range 5 {
			must(t, count(t, s, "counter", func(tx store.Tx, n int) { tx.Announce(n) }))
		}
	})
	if len(got) != parallel*5 || !slices.IsSorted(got) {
		t.Fatalf("events out of order or lost: %v", got)
	}
}

// count adds one to a record's counter.
func count(t testing.TB, s store.Store, name string, then func(tx store.Tx, n int)) error {
	return s.Update(t.Context(), func(tx store.Tx) error {
		return parents.Modify(tx, name, func(v *Thing) error {
			v.Count++
			then(tx, v.Count)
			return nil
		})
	})
}

func atomic(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a", "b")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				sameCounts(t, s)
			}
		}
	})
	race(8, func(int) {
		for range 20 {
			must(t, s.Update(t.Context(), func(tx store.Tx) error {
				inc := func(v *Thing) error { v.Count++; return nil }
				return errors.Join(parents.Modify(tx, "a", inc), parents.Modify(tx, "b", inc))
			}))
		}
	})
	close(stop)
	readers.Wait()
	sameCounts(t, s)
}

func sameCounts(t *testing.T, s store.Store) {
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		a, _ := parents.Get(tx, "a")
		b, err := parents.Get(tx, "b")
		if a.Count != b.Count {
			t.Errorf("half a transaction is visible: %d and %d", a.Count, b.Count)
		}
		return err
	}))
}

func lostUpdate(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a")
	race(parallel, func(int) {
		for range 5 {
			must(t, count(t, s, "a", func(store.Tx, int) {}))
		}
	})
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		v, err := parents.Get(tx, "a")
		if v.Count != parallel*5 {
			t.Errorf("%d of %d updates survived", v.Count, parallel*5)
		}
		return err
	}))
}

var errFull = errors.New("full")

// phantomInsert: each goroutine adds a record only if there are fewer than three.
func phantomInsert(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	for round := range 20 {
		prefix := fmt.Sprintf("%d/", round)
		race(16, func(i int) {
			err := s.Update(t.Context(), func(tx store.Tx) error {
				if len(list(tx, parents, prefix)) >= 3 {
					return errFull
				}
				return parents.Insert(tx, Thing{Name: fmt.Sprintf("%s%d", prefix, i)})
			})
			if err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
		if got := names(t, s, parents, prefix); len(got) != 3 {
			t.Fatalf("round %d: %d records got past a limit of 3", round, len(got))
		}
	}
}

// phantomDelete: each goroutine removes one of the records only if another remains.
func phantomDelete(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	for round := range 20 {
		prefix := fmt.Sprintf("%d/", round)
		for i := range 8 {
			insert(t, s, fmt.Sprintf("%s%d", prefix, i))
		}
		deleteAllButOne(t, s, prefix, 8)
	}
}

// phantomLarge does the same in a range with more records than are compared one by one.
func phantomLarge(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	var all []string
	for i := range 300 {
		all = append(all, fmt.Sprintf("x/%03d", i))
	}
	insert(t, s, all...)
	race(16, func(i int) {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			if len(list(tx, parents, "x/")) <= 295 {
				return errFull
			}
			return parents.Delete(tx, all[i])
		})
		if err != nil && !errors.Is(err, errFull) {
			t.Error(err)
		}
	})
	if got := names(t, s, parents, "x/"); len(got) != 295 {
		t.Fatalf("%d records left, the limit was 295", len(got))
	}
}

func deleteAllButOne(t *testing.T, s store.Store, prefix string, n int) {
	t.Helper()
	race(n, func(i int) {
		err := s.Update(t.Context(), func(tx store.Tx) error {
			if len(list(tx, parents, prefix)) < 2 {
				return errFull
			}
			return parents.Delete(tx, fmt.Sprintf("%s%d", prefix, i))
		})
		if err != nil && !errors.Is(err, errFull) {
			t.Error(err)
		}
	})
	if got := names(t, s, parents, prefix); len(got) != 1 {
		t.Fatalf("%d records left, one must be", len(got))
	}
}

// dangling: many insert children of a parent while it is deleted.
func dangling(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	for round := range 30 {
		parent := fmt.Sprintf("p%d", round)
		insert(t, s, parent)
		race(parallel, func(i int) {
			var err error
			if i == parallel/2 {
				err = s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, parent) })
			} else {
				child := Thing{Name: fmt.Sprintf("%s/%d", parent, i), Needs: []string{parent}}
				err = s.Update(t.Context(), func(tx store.Tx) error { return children.Insert(tx, child) })
			}
			if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
				t.Error(err)
			}
		})
		must(t, s.View(t.Context(), func(tx store.Tx) error {
			left := list(tx, children, parent+"/")
			if parents.Has(tx, parent) == (len(left) == 0) {
				t.Errorf("round %d: parent exists: %v, children: %d", round, parents.Has(tx, parent), len(left))
			}
			return nil
		}))
	}
}

// starvation: one who needs the whole collection unchanged gets through while others keep changing it.
func starvation(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a", "b")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					must(t, count(t, s, "a", func(store.Tx, int) {}))
				}
			}
		})
	}
	for range 20 {
		must(t, s.Update(t.Context(), func(tx store.Tx) error {
			sum := 0
			for v := range parents.All(tx, "a") {
				sum += v.Count
			}
			return parents.Put(tx, Thing{Name: "b", Count: sum})
		}))
	}
	close(stop)
	wg.Wait()
}
