package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"lxd/api"
	"lxd/client"
)

// TestPutFile sends files of all sizes: a small one with its length, and each whole; a source that fails makes no file.
func TestPutFile(t *testing.T) {
	type arrival struct {
		length int64
		body   []byte
	}
	whole := make(chan arrival, 100) // what came to its end
	c := serve(t, map[string]http.HandlerFunc{"POST /1.0/instances/c1/files": func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			whole <- arrival{r.ContentLength, body}
		}
		reply(api.ResponseTypeSync, nil)(w, r)
	}})
	for size, want := range map[int]int64{0: 0, 1: 1, 1024: 1024, 32<<10 - 1: 32<<10 - 1, 32 << 10: -1, 300_000: -1} {
		content := bytes.Repeat([]byte{byte(size)}, size)
		f := client.FilePut{Kind: client.PlainFile, Mode: 0o644, Content: iotest.HalfReader(bytes.NewReader(content))}
		if err := c.PutFile(t.Context(), "c1", "/root/f", f); err != nil {
			t.Fatal(size, err)
		}
		if got := <-whole; !bytes.Equal(got.body, content) || got.length != want {
			t.Errorf("%d bytes: %d came, of length %d", size, len(got.body), got.length)
		}
	}
	for _, broken := range []error{errors.New("broken"), fmt.Errorf("cut short: %w", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF} {
		for _, before := range []int{10, 100_000} {
			content := io.MultiReader(bytes.NewReader(make([]byte, before)), iotest.ErrReader(broken))
			err := c.PutFile(t.Context(), "c1", "/root/f", client.FilePut{Kind: client.PlainFile, Content: content})
			if err == nil {
				t.Errorf("a source that fails with %v after %d bytes was taken for a whole file", broken, before)
			}
		}
	}
	if err := c.PutFile(t.Context(), "c1", "/root/f", client.FilePut{Kind: client.PlainFile, Content: strings.NewReader("last")}); err != nil {
		t.Fatal(err)
	}
	if got := <-whole; string(got.body) != "last" { // the others would have come before
		t.Errorf("%d bytes of a source that fails were taken for a whole file", len(got.body))
	}
}
