package rest

import (
	"io"
	"net/http"
	"time"
)

// Over a network the other side may be slow, gone, or hostile. Each of these bounds how long it can hold something up.
const (
	// bodyTime is how long a client may take to send a body that is read as a whole.
	bodyTime = 30 * time.Second
	// partTime is how long it may take to send, or to accept, the next part of a stream.
	partTime = 30 * time.Second
)

// patient is the body of a request that came over a network. A read of it fails when nothing comes for a while, or after until.
type patient struct {
	io.ReadCloser
	control *http.ResponseController
	part    time.Duration
	until   time.Time
}

// Read waits for the next part. A deadline that is left behind at the end would be taken for the client going away.
func (p *patient) Read(b []byte) (int, error) {
	limit := time.Now().Add(p.part)
	if !p.until.IsZero() && p.until.Before(limit) {
		limit = p.until
	}
	_ = p.control.SetReadDeadline(limit) // what has no deadlines is not a network
	n, err := p.ReadCloser.Read(b)
	if err != nil {
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// hurry bounds the time for the whole body.
func hurry(body io.Reader, limit time.Duration) {
	if p, ok := body.(*patient); ok {
		p.until = time.Now().Add(limit)
	}
}

// guard bounds how long the client of a request that came over a network may take for its part.
func guard(w *writer, r *http.Request) *http.Request {
	if r.TLS == nil {
		return r
	}
	w.control, w.stream = http.NewResponseController(w.ResponseWriter), r.ProtoMajor >= 2
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	own := *r
	own.Body = &patient{ReadCloser: r.Body, control: w.control, part: partTime}
	return &own
}

// begin sets the time that the client has to accept the next part of the answer.
func (w *writer) begin() {
	if w.control != nil {
		_ = w.control.SetWriteDeadline(time.Now().Add(partTime)) // as above
	}
}

// end lifts it where it would end an answer that pauses: in HTTP/2 a deadline acts by itself, in HTTP/1 only on the next write.
func (w *writer) end() {
	if w.control != nil && w.stream {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}
