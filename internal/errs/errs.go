// Package errs is the one error vocabulary: a Kind decides the HTTP status and whether the caller may retry.
package errs

import (
	"context"
	"errors"
	"fmt"
)

// Kind classifies a failure for the caller.
type Kind uint8

// Kinds, in the order of the status table in package rest.
const (
	// Internal is a failure of ours or of the host; an unclassified error counts as one.
	Internal Kind = iota
	// Invalid is a request that can never succeed as it is.
	Invalid
	// Forbidden is a request that the caller may not make.
	Forbidden
	// NotFound is a request about something that does not exist, or that the caller may not know of.
	NotFound
	// Conflict is a request that collides with what exists or with work under way.
	Conflict
	// Precondition is an If-Match that does not match.
	Precondition
	// Unsupported is a request for something that this server does not do.
	Unsupported
	// Unavailable is a request that may succeed later: starting, stopping, busy.
	Unavailable
	// Canceled is work that was stopped on request.
	Canceled
	// TooMany is a request that came too often, or while the same one is under way.
	TooMany
)

type kinded struct {
	kind Kind
	err  error
}

func (e *kinded) Error() string { return e.err.Error() }
func (e *kinded) Unwrap() error { return e.err }

// Newf makes an error of kind k; format may wrap with %w.
func Newf(k Kind, format string, a ...any) error { return &kinded{k, fmt.Errorf(format, a...)} }

// As gives err the kind k and leaves its text; nil stays nil.
func As(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &kinded{k, err}
}

// KindOf reports the outermost kind in err's tree; an unclassified error is Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*kinded](err); ok {
		return e.kind
	}
	if errors.Is(err, context.Canceled) {
		return Canceled
	}
	return Internal
}

// Is reports whether err's outermost kind is k; nil is of no kind.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }
