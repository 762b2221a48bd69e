package client

import (
	"errors"
	"net/http"
)

// Error is a refusal by the server.
type Error struct {
	// Status is the HTTP status code that the server gave for it.
	Status int
	// Text is the server's own text.
	Text string
}

// Error is the server's text.
func (e *Error) Error() string { return e.Text }

// StatusOf is the status code of the server's refusal in err's tree, or 0.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// IsNotFound tells whether the server said that there is no such thing.
func IsNotFound(err error) bool { return StatusOf(err) == http.StatusNotFound }
