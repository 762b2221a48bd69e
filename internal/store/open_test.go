package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"lxd/internal/errs"
	"lxd/internal/store"
)

// broken is an engine that delivers its state and then fails.
type broken struct{ fail chan error }

func (b *broken) Commit(context.Context, store.Intent) (store.Verdict, error) {
	return store.Verdict{}, errors.New("no")
}

func (b *broken) Follow(deliver func(store.Commit)) error {
	deliver(store.Commit{Reset: true, Rev: 1})
	return <-b.fail
}

func (b *broken) Close() error { return nil }

// TestFailureIsTold: whoever runs the store learns that it cannot go on, but not of a stop that was asked for.
func TestFailureIsTold(t *testing.T) {
	for name, failure := range map[string]error{"failure": errors.New("input/output error"), "stop": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &broken{fail: make(chan error)}
				var told error
				s, err := store.Open(e, store.Options{OnFailure: func(err error) { told = err }})
				if err != nil {
					t.Fatal(err)
				}
				e.fail <- failure
				synctest.Wait()
				if (told != nil) != (failure != nil) || failure != nil && !(errs.Is(told, errs.Unavailable) && errors.Is(told, failure)) {
					t.Error(told)
				}
				if err := s.View(t.Context(), func(store.Tx) error { return nil }); !errs.Is(err, errs.Unavailable) {
					t.Error(err)
				}
			})
		})
	}
}
