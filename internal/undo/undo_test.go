package undo_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"lxd/internal/undo"
)

func TestUnwind(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		end  func() error
		want []string
	}{
		"success": {func() error { return nil }, nil},
		"error":   {func() error { return boom }, []string{"b", "a"}},
		"panic":   {func() error { panic("x") }, []string{"b", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			ctx, cancel := context.WithCancel(t.Context())
			f := func() (err error) {
				var u undo.Stack
				defer u.Unwind(ctx, &err)
				for _, s := range []string{"a", "b"} {
					u.Add(s, func(ctx context.Context) error { got = append(got, s); return ctx.Err() })
				}
				cancel()
				return c.end()
			}
			func() { defer func() { recover() }(); _ = f() }()
			if !slices.Equal(got, c.want) {
				t.Fatal(got)
			}
		})
	}
}
