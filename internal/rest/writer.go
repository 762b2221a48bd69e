package rest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"lxd/internal/op"
)

// writer remembers what was answered.
type writer struct {
	http.ResponseWriter
	status int
	// work is the operation that the request has started.
	work *op.Operation
	// control is there if the client is on a network, and stream tells that it speaks HTTP/2.
	control *http.ResponseController
	stream  bool
	// part is how long it may take to accept the next part of the answer.
	part time.Duration
	// body is that of the request, if it has one.
	body *patient
	// keep is given a connection that is handed over.
	keep func(net.Conn) net.Conn
}

// WriteHeader sends the status and remembers it.
func (w *writer) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.begin()
	defer w.end()
	w.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.begin()
	defer w.end()
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets files go to the connection without a copy.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.control != nil { // the deadline of each part must be set
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	return io.Copy(w.ResponseWriter, r)
}

// Hijack hands the connection over, for upgrades.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.keep != nil {
		conn = w.keep(conn)
	}
	return conn, buffered, err
}

// Flush sends what is buffered.
func (w *writer) Flush() {
	w.begin()
	defer w.end()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController the writer below.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
