package rest

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// worth is the size from which an answer over a network is compressed.
const worth = 4 << 10

// open writes the header of an answer of that size and returns where its body goes.
func (s *Server) open(w http.ResponseWriter, c *Call, size int) io.WriteCloser {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if size < worth || local(c.Request) || !strings.Contains(c.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Length", strconv.Itoa(size))
		w.WriteHeader(http.StatusOK)
		return direct{w}
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(http.StatusOK)
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
	return z
}

// local tells whether the caller is on this host, where compressing costs more than copying.
func local(r *http.Request) bool {
	_, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return unix
}

type direct struct{ io.Writer }

// Close leaves the connection open.
func (direct) Close() error { return nil }
