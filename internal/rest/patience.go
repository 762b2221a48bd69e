package rest

import (
	"cmp"
	"io"
	"net/http"
	"time"
)

// patience is how long a client on a network may take to send a body that is read as a whole, to send the next part of a stream, or to
// accept the next part of an answer: it may be slow, gone, or hostile.
const patience = 30 * time.Second

// patient is the body of a request that came over a network. A read of it fails when nothing comes for a while, or after until.
type patient struct {
	io.ReadCloser
	control *http.ResponseController
	part    time.Duration
	until   time.Time
	// done is set at the end of the body.
	done bool
}

// Read waits for the next part. A deadline that is left behind at the end would be taken for the client going away.
func (p *patient) Read(b []byte) (int, error) {
	limit := time.Now().Add(p.part)
	if !p.until.IsZero() && p.until.Before(limit) {
		limit = p.until
	}
	_ = p.control.SetReadDeadline(limit) // what has no deadlines is not a network
	n, err := p.ReadCloser.Read(b)
	if err == io.EOF {
		p.done = true
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// abandon bounds how long the rest of a body is waited for that no handler reads: the answer comes after it.
func (p *patient) abandon() {
	if p != nil && !p.done {
		_ = p.control.SetReadDeadline(time.Now().Add(p.part))
	}
}

// hurry bounds the time for the whole body.
func hurry(body io.Reader) {
	if p, ok := body.(*patient); ok {
		p.until = time.Now().Add(p.part)
	}
}

// guard bounds how long the client of a request that came over a network may take for its part.
func (s *Server) guard(w *writer, r *http.Request) *http.Request {
	if r.TLS == nil {
		return r
	}
	w.part = cmp.Or(s.Patience, patience)
	w.control, w.stream = http.NewResponseController(w.ResponseWriter), r.ProtoMajor >= 2
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	own := *r
	w.body = &patient{ReadCloser: r.Body, control: w.control, part: w.part}
	own.Body = w.body
	return &own
}

// begin sets the time that the client has to accept the next part of the answer.
func (w *writer) begin() {
	if w.control != nil {
		w.body.abandon()
		_ = w.control.SetWriteDeadline(time.Now().Add(w.part)) // as above
	}
}

// end lifts it where it would end an answer that pauses: in HTTP/2 a deadline acts by itself, in HTTP/1 only on the next write.
func (w *writer) end() {
	if w.control != nil && w.stream {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}
