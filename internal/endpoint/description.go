package endpoint

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"lxd/internal/auth"
	"lxd/internal/rest"
)

// Description is the route that shows the OpenAPI document of this API. The published tables have no such thing.
func Description(document string) []rest.Route {
	h := &description{document: document}
	h.packed, h.tag = sync.OnceValue(h.pack), sync.OnceValue(h.hash)
	return []rest.Route{rest.Raw("GET /1.0/metadata/openapi", auth.Public, h.get).Global().Answers(rest.Body{Media: "application/json"})}
}

// description keeps what it sends, once anybody asks.
type description struct {
	document string
	packed   func() []byte
	tag      func() string
}

func (h *description) get(w http.ResponseWriter, c *rest.Call) error {
	head := w.Header()
	head.Set("ETag", h.tag())
	head.Set("Vary", "Accept-Encoding")
	if strings.Contains(c.Header.Get("If-None-Match"), h.tag()) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	head.Set("Content-Type", "application/json")
	if strings.Contains(c.Header.Get("Accept-Encoding"), "gzip") {
		head.Set("Content-Encoding", "gzip")
		head.Set("Content-Length", strconv.Itoa(len(h.packed())))
		_, err := w.Write(h.packed())
		return err
	}
	head.Set("Content-Length", strconv.Itoa(len(h.document)))
	_, err := io.WriteString(w, h.document)
	return err
}

func (h *description) pack() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, h.document) // memory takes everything
	_ = z.Close()
	return b.Bytes()
}

func (h *description) hash() string {
	sum := sha256.Sum256([]byte(h.document))
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
