// Package storetest is the contract of store.Store as tests; every engine runs them.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// Opener opens a store whose state is in dir, if it is kept at all. The suite closes it.
type Opener func(t testing.TB, dir string, o store.Options) store.Store

// Thing is the record that the suite stores.
type Thing struct {
	Name  string
	Count int
	Needs []string
}

// Parents and Children are collections in which a child needs its parents.
var (
	parents  = store.Collection[Thing]{Name: "parent", Key: func(t Thing) string { return t.Name }}
	children = store.Collection[Thing]{Name: "child", Key: func(t Thing) string { return t.Name }, Refs: needs}
)

func needs(t Thing) (refs []store.Ref) {
	for _, n := range t.Needs {
		refs = append(refs, store.Ref{Collection: "parent", Key: n})
	}
	return refs
}

// Run tests what holds for every store.
func Run(t *testing.T, open Opener) {
	for name, test := range map[string]func(*testing.T, Opener){
		"read your write":              readYourWrite,
		"scan":                         scan,
		"error leaves nothing":         errorLeavesNothing,
		"view is a snapshot":           viewIsSnapshot,
		"view cannot write":            viewCannotWrite,
		"references":                   references,
		"unchanged write is no change": unchanged,
		"cancelled":                    cancelled,
		"closed":                       closed,
		"announce":                     announce,
		"announce in commit order":     announceOrder,
		"atomic":                       atomic,
		"lost update":                  lostUpdate,
		"phantom insert":               phantomInsert,
		"phantom delete":               phantomDelete,
		"phantom in a large range":     phantomLarge,
		"dangling reference":           dangling,
		"contended readers and writer": starvation,
		"watch order":                  watchOrder,
		"guard":                        guard,
		"watch since":                  watchSince,
		"watch one collection":         watchCollection,
		"watch ends":                   watchEnds,
		"watch lag":                    watchLag,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// fresh opens an empty store for one test.
func fresh(t testing.TB, open Opener, o store.Options) store.Store {
	t.Helper()
	s := open(t, t.TempDir(), o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func insert(t testing.TB, s store.Store, names ...string) {
	t.Helper()
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		for _, n := range names {
			if err := parents.Insert(tx, Thing{Name: n}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// names lists a collection in order.
func names(t testing.TB, s store.Store, c store.Collection[Thing], prefix string) (got []string) {
	t.Helper()
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		got = list(tx, c, prefix)
		return nil
	}))
	return got
}

func list(tx store.Tx, c store.Collection[Thing], prefix string) (got []string) {
	for v, err := range c.All(tx, prefix) {
		if err != nil {
			panic(err)
		}
		got = append(got, v.Name)
	}
	return got
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func readYourWrite(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	for i := range 50 {
		insert(t, s, fmt.Sprintf("p%02d", i))
		if got := names(t, s, parents, ""); len(got) != i+1 {
			t.Fatalf("after %d inserts the view has %d", i+1, len(got))
		}
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		must(t, parents.Modify(tx, "p07", func(v *Thing) error { v.Count++; return nil }))
		v, err := parents.Get(tx, "p07")
		if err == nil && v.Count != 1 {
			t.Errorf("own write not seen inside the transaction: %+v", v)
		}
		return err
	}))
}

func scan(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "b", "a/2", "a/1", "a0", "d")
	equal(t, names(t, s, parents, ""), []string{"a/1", "a/2", "a0", "b", "d"})
	equal(t, names(t, s, parents, "a/"), []string{"a/1", "a/2"})
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		must(t, parents.Delete(tx, "a/2"))
		must(t, parents.Insert(tx, Thing{Name: "a/3"}))
		must(t, parents.Insert(tx, Thing{Name: "c"}))
		must(t, parents.Insert(tx, Thing{Name: "z"}))
		equal(t, list(tx, parents, "a/"), []string{"a/1", "a/3"})
		equal(t, list(tx, parents, ""), []string{"a/1", "a/3", "a0", "b", "c", "d", "z"})
		for v := range parents.All(tx, "b") {
			must(t, parents.Delete(tx, v.Name)) // writing while ranging is allowed
		}
		return nil
	}))
	equal(t, names(t, s, parents, ""), []string{"a/1", "a/3", "a0", "c", "d", "z"})
}

func errorLeavesNothing(t *testing.T, open Opener) {
	boom := errors.New("boom")
	s := fresh(t, open, store.Options{OnAnnounce: func(ev any) { t.Errorf("announced %v", ev) }})
	err := s.Update(t.Context(), func(tx store.Tx) error {
		must(t, parents.Insert(tx, Thing{Name: "a"}))
		tx.Announce("a")
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	equal(t, names(t, s, parents, ""), nil)
}

func viewIsSnapshot(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a", "b")
	must(t, s.View(t.Context(), func(tx store.Tx) error {
		insert(t, s, "c")
		must(t, s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, "a") }))
		equal(t, list(tx, parents, ""), []string{"a", "b"})
		return nil
	}))
	equal(t, names(t, s, parents, ""), []string{"b", "c"})
}

func viewCannotWrite(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	defer func() {
		if recover() == nil {
			t.Fatal("a write inside View went unnoticed")
		}
	}()
	_ = s.View(t.Context(), func(tx store.Tx) error { return parents.Insert(tx, Thing{Name: "a"}) })
}

func references(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "p/1", "q")
	put := func(v Thing) error {
		return s.Update(t.Context(), func(tx store.Tx) error { return children.Put(tx, v) })
	}
	remove := func(name string) error {
		return s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, name) })
	}
	must(t, put(Thing{Name: "c", Needs: []string{"p/1"}}))
	if err := put(Thing{Name: "d", Needs: []string{"none"}}); !errs.Is(err, errs.NotFound) {
		t.Fatalf("a missing reference: %v", err)
	}
	if err := remove("p/1"); !errs.Is(err, errs.Invalid) {
		t.Fatalf("delete of what is in use: %v", err)
	}
	must(t, put(Thing{Name: "c", Needs: []string{"q"}}))
	must(t, remove("p/1"))
	if err := remove("q"); !errs.Is(err, errs.Invalid) {
		t.Fatalf("delete of what is in use: %v", err)
	}
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return children.Delete(tx, "c") }))
	must(t, remove("q"))
	must(t, remove("q"))
}

func unchanged(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a")
	before := rev(t, s)
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return parents.Put(tx, Thing{Name: "a"}) }))
	if after := rev(t, s); after != before {
		t.Fatalf("revision went from %d to %d", before, after)
	}
}

func rev(t testing.TB, s store.Store) (rev uint64) {
	t.Helper()
	must(t, s.View(t.Context(), func(tx store.Tx) error { rev = tx.Rev(); return nil }))
	return rev
}

func cancelled(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx store.Tx) error {
		cancel()
		return parents.Insert(tx, Thing{Name: "a"})
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := s.View(ctx, func(store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	equal(t, names(t, s, parents, ""), nil)
}

func closed(t *testing.T, open Opener) {
	s := open(t, t.TempDir(), store.Options{})
	insert(t, s, "a")
	must(t, s.Close())
	must(t, s.Close())
	view := s.View(t.Context(), func(store.Tx) error { return nil })
	update := s.Update(t.Context(), func(tx store.Tx) error { return parents.Insert(tx, Thing{Name: "b"}) })
	if !errs.Is(view, errs.Unavailable) || !errs.Is(update, errs.Unavailable) {
		t.Fatalf("view %v, update %v", view, update)
	}
}
