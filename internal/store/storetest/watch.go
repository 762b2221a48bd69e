package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// soon is a context that ends the watch of a change that does not come.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// take collects n changes.
func take(t *testing.T, changes iter.Seq2[store.Change, error], n int) (got []store.Change) {
	t.Helper()
	for c, err := range changes {
		must(t, err)
		if got = append(got, c); len(got) == n {
			return got
		}
	}
	return got
}

func describe(c store.Change) string {
	verb := "change"
	if c.Old == nil {
		verb = "insert"
	}
	if c.New == nil {
		verb = "delete"
	}
	return verb + " " + c.Collection + " " + c.Key
}

func watchOrder(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	start := rev(t, s)
	go race(16, func(i int) {
		name := fmt.Sprint("p", i)
		insert(t, s, name)
		must(t, count(t, s, name, func(store.Tx, int) {}))
		must(t, s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, name) }))
	})
	got := take(t, s.Watch(soon(t), start, ""), 48)
	last, state := start, map[string]string{}
	for _, c := range got {
		if c.Rev < last {
			t.Fatalf("revision %d after %d", c.Rev, last)
		}
		if string(c.Old) != state[c.Key] {
			t.Fatalf("%s: old value %q, want %q", describe(c), c.Old, state[c.Key])
		}
		last, state[c.Key] = c.Rev, string(c.New)
	}
	for k, v := range state {
		if v != "" {
			t.Fatalf("%s was not seen to be deleted", k)
		}
	}
}

func watchSince(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "a")
	since := rev(t, s)
	insert(t, s, "b")
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return parents.Delete(tx, "a") }))
	got := take(t, s.Watch(soon(t), since, "parent"), 2)
	equal(t, []string{describe(got[0]), describe(got[1])}, []string{"insert parent b", "delete parent a"})
	var v Thing
	must(t, json.Unmarshal(got[1].Old, &v))
	if v.Name != "a" {
		t.Fatalf("the deleted record was %+v", v)
	}
}

func watchCollection(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	since := rev(t, s)
	insert(t, s, "a")
	must(t, s.Update(t.Context(), func(tx store.Tx) error {
		return children.Insert(tx, Thing{Name: "c", Needs: []string{"a"}})
	}))
	equal(t, []string{describe(take(t, s.Watch(soon(t), since, "child"), 1)[0])}, []string{"insert child c"})
}

func watchEnds(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ends := func(ctx context.Context) chan error {
		end, since := make(chan error, 1), rev(t, s)
		go func() {
			for _, err := range s.Watch(ctx, since, "") {
				end <- err
			}
		}()
		return end
	}
	byCancel, byClose := ends(ctx), ends(t.Context())
	cancel()
	if err := <-byCancel; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	must(t, s.Close())
	if err := <-byClose; !errs.Is(err, errs.Unavailable) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// watchLag: a consumer that falls too far behind is told, rather than missing changes or holding up the others.
func watchLag(t *testing.T, open Opener) {
	s := fresh(t, open, store.Options{})
	insert(t, s, "first")
	since := rev(t, s) - 1
	next, big := make(chan struct{}), strings.Repeat("x", 1<<20)
	result := make(chan error, 1)
	go func() {
		for c, err := range s.Watch(t.Context(), since, "") {
			if err != nil {
				result <- err
				return
			}
			if c.Key == "first" {
				<-next
			}
		}
	}()
	for i := range 12 {
		must(t, s.Update(t.Context(), func(tx store.Tx) error {
			return parents.Insert(tx, Thing{Name: fmt.Sprint("big", i), Needs: []string{big}})
		}))
	}
	close(next)
	if err := <-result; !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "list again") {
		t.Fatal(err)
	}
}
