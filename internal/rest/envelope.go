package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"lxd/internal/errs"
)

// envelope is the body of every answer; all seven keys are always there.
type envelope struct {
	Type       string `json:"type"`
	Status     string `json:"status"`
	StatusCode int    `json:"status_code"`
	Operation  string `json:"operation"`
	ErrorCode  int    `json:"error_code"`
	Error      string `json:"error"`
	Metadata   any    `json:"metadata"`
}

// success is the envelope of an answer at once; it says 200 also where HTTP says 201.
func success(metadata any) envelope {
	return envelope{Type: "sync", Status: "Success", StatusCode: http.StatusOK, Metadata: metadata}
}

func failure(err error) envelope {
	return envelope{Type: "error", ErrorCode: StatusOf(err), Error: err.Error()}
}

// statuses is the one place that knows which HTTP status a kind of error has.
var statuses = map[errs.Kind]int{
	errs.Internal: 500, errs.Invalid: 400, errs.Forbidden: 403, errs.NotFound: 404, errs.Conflict: 409,
	errs.Precondition: 412, errs.Unsupported: 501, errs.Unavailable: 503, errs.Canceled: 400,
	errs.TooMany: 429,
}

type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// WithStatus gives err an HTTP status that its kind does not have; the wire asks for some that fit no kind.
func WithStatus(code int, err error) error { return &statusError{code, err} }

// StatusOf is the HTTP status, and the error_code, of an error.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.code
	}
	return statuses[errs.KindOf(err)]
}

// Result is the envelope of metadata, or of err if it is not nil, for handlers that write their body after the header.
func Result(metadata any, err error) ([]byte, error) {
	e := success(metadata)
	if err != nil {
		e = failure(err)
	}
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

// writeJSON sends body; nothing is sent if it cannot be marshalled.
func writeJSON(w http.ResponseWriter, status int, body envelope) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(body); err != nil {
		return fmt.Errorf("marshal the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that went away needs no answer
	return nil
}

// writeError answers with err.
func writeError(w http.ResponseWriter, err error) {
	h := w.Header()
	h.Del("ETag")
	h.Del("Location")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = writeJSON(w, StatusOf(err), failure(err)) // texts always marshal
}

func itoa(n int) string { return strconv.Itoa(n) }
