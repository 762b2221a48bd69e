package storetest

import (
	"errors"
	"slices"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/store"
)

var errTooMany = errors.New("there may be two")

// atMostTwo is a guard that counts.
func atMostTwo(before, after store.Tx, touched []store.Ref) error {
	if slices.ContainsFunc(touched, func(r store.Ref) bool { return r.Collection != "parent" && r.Collection != "child" }) {
		return errors.New("asked about what is no record")
	}
	if n := len(list(after, parents, "")); n > 2 && n > len(list(before, parents, "")) {
		return errTooMany
	}
	return nil
}

// guard: what the guard refuses is not written, nor announced, also when many try at once; a rehearsal writes nothing, and is refused alike.
func guard(t *testing.T, open Opener) {
	var announced []any
	s := fresh(t, open, store.Options{Guard: atMostTwo, OnAnnounce: func(ev any) { announced = append(announced, ev) }})
	add := func(name string) func(store.Tx) error {
		return func(tx store.Tx) error { tx.Announce(name); return parents.Insert(tx, Thing{Name: name}) }
	}
	must(t, s.Update(store.Trial(t.Context()), add("a")))
	equal(t, names(t, s, parents, ""), nil)
	must(t, s.Update(t.Context(), add("a")))
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return children.Insert(tx, Thing{Name: "c", Needs: []string{"a"}}) }))
	results := make(chan error)
	for _, name := range []string{"b", "c", "d", "e"} {
		go func() { results <- s.Update(t.Context(), add(name)) }()
	}
	passed := 0
	for range 4 {
		switch err := <-results; {
		case err == nil:
			passed++
		case !errors.Is(err, errTooMany):
			t.Error(err)
		}
	}
	if passed != 1 || len(announced) != 2 {
		t.Errorf("%d passed, announced %v", passed, announced)
	}
	if err := s.Update(store.Trial(t.Context()), add("f")); !errors.Is(err, errTooMany) {
		t.Error(err)
	}
	if err := s.Update(store.Trial(t.Context()), add("a")); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
}
