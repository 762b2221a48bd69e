package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"lxd/internal/errs"
)

func TestKindOf(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want errs.Kind
	}{
		"plain":             {io.EOF, errs.Internal},
		"new":               {errs.Newf(errs.Conflict, "taken"), errs.Conflict},
		"outermost wins":    {errs.Newf(errs.Invalid, "x: %w", errs.Newf(errs.NotFound, "y")), errs.Invalid},
		"wrapped by others": {fmt.Errorf("a: %w", errs.As(errs.Unavailable, io.EOF)), errs.Unavailable},
		"canceled":          {fmt.Errorf("a: %w", context.Canceled), errs.Canceled},
	} {
		if got := errs.KindOf(c.err); got != c.want {
			t.Errorf("%s: kind %d, want %d", name, got, c.want)
		}
	}
}

func TestAsKeepsTextAndCause(t *testing.T) {
	err := errs.As(errs.NotFound, io.EOF)
	if err.Error() != "EOF" || !errors.Is(err, io.EOF) || !errs.Is(err, errs.NotFound) {
		t.Fatal(err)
	}
	if errs.As(errs.NotFound, nil) != nil || errs.Is(nil, errs.Internal) {
		t.Fatal("nil must stay nil, and be of no kind")
	}
}
