package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"

	"lxd/api"
	"lxd/client"
)

// TestPutFile sends files of all sizes: a small one with its length, and each whole; a source that fails makes no file.
func TestPutFile(t *testing.T) {
	var length int64
	var body []byte
	var failed error
	c := serve(t, map[string]http.HandlerFunc{"POST /1.0/instances/c1/files": func(w http.ResponseWriter, r *http.Request) {
		length = r.ContentLength
		body, failed = io.ReadAll(r.Body)
		reply(api.ResponseTypeSync, nil)(w, r)
	}})
	for size, want := range map[int]int64{0: 0, 1: 1, 1024: 1024, 32<<10 - 1: 32<<10 - 1, 32 << 10: -1, 300_000: -1} {
		content := bytes.Repeat([]byte{byte(size)}, size)
		f := client.FilePut{Kind: client.PlainFile, Mode: 0o644, Content: iotest.HalfReader(bytes.NewReader(content))}
		err := c.PutFile(t.Context(), "c1", "/root/f", f)
		if err != nil || failed != nil || !bytes.Equal(body, content) || length != want {
			t.Errorf("%d bytes: %d came, of length %d, %v, %v", size, len(body), length, err, failed)
		}
	}
	for _, broken := range []error{errors.New("broken"), fmt.Errorf("cut short: %w", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF} {
		for _, before := range []int{10, 100_000} {
			content := io.MultiReader(bytes.NewReader(make([]byte, before)), iotest.ErrReader(broken))
			failed = errors.New("nothing came")
			err := c.PutFile(t.Context(), "c1", "/root/f", client.FilePut{Kind: client.PlainFile, Content: content})
			if err == nil || failed == nil {
				t.Errorf("a source that fails with %v after %d bytes was taken for a whole file", broken, before)
			}
		}
	}
}
