package harness

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"lxd/internal/rest/openapi"
)

// Conformity looks at everything that a daemon is asked and answers, and notes what is not as the description of the API says.
type Conformity struct {
	Checker *openapi.Checker

	mu     sync.Mutex
	faults []string
	calls  int
}

// most is how much of a body is looked at.
const most = 16 << 20

// Around is the handler with somebody looking on.
func (c *Conformity) Around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := openapi.Exchange{Request: r.Clone(r.Context())}
		sent := &bytes.Buffer{}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			r.Body = tee{io.TeeReader(r.Body, sent), r.Body}
		}
		watch := &watcher{ResponseWriter: w}
		h.ServeHTTP(watch, r)
		if watch.hijacked || watch.body.Len() >= most || r.Context().Err() != nil {
			return
		}
		x.Sent, x.Status, x.Header, x.Body = sent.Bytes(), max(watch.status, http.StatusOK), w.Header(), watch.body.Bytes()
		c.note(c.Checker.Check(x))
	})
}

func (c *Conformity) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if err != nil {
		c.faults = append(c.faults, err.Error())
	}
}

// Faults are what was found, each once, and Calls how many requests were looked at.
func (c *Conformity) Faults() (faults []string, calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.faults)
	return slices.Compact(slices.Clone(c.faults)), c.calls
}

type tee struct {
	io.Reader
	io.Closer
}

// watcher keeps a copy of an answer.
type watcher struct {
	http.ResponseWriter
	status   int
	hijacked bool
	body     bytes.Buffer
}

// WriteHeader notes the status.
func (w *watcher) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write keeps a part of the body.
func (w *watcher) Write(b []byte) (int, error) {
	if w.body.Len() < most {
		w.body.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// Hijack hands the connection over; what follows is no answer.
func (w *watcher) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap gives http.ResponseController the writer below.
func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }
