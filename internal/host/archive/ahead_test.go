package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"lxd/internal/host/archive"
)

// zipped is a gzip file of an archive with one file of that many random bytes.
func zipped(t *testing.T, size int) (content, file []byte) {
	t.Helper()
	content = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	tw := tar.NewWriter(z)
	for _, err := range []error{
		tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: int64(size), Mode: 0o600}),
		second(tw.Write(content)), tw.Close(), z.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return content, b.Bytes()
}

// TestUnpackingAhead reads more than is kept ahead, in pieces of all sizes.
func TestUnpackingAhead(t *testing.T) {
	content, file := zipped(t, 5<<20+17)
	for name, src := range map[string]io.Reader{
		"at once": bytes.NewReader(file), "by halves": iotest.HalfReader(bytes.NewReader(file)), "end with data": iotest.DataErrReader(bytes.NewReader(file)),
	} {
		t.Run(name, func(t *testing.T) {
			a, err := archive.Open(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if _, err := a.Next(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(iotest.HalfReader(a)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
			}
			if _, err := a.Next(); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
			if err := a.Rest(); err != nil {
				t.Error(err)
			}
			if got := a.At(); got != int64(len(file)) {
				t.Errorf("read %d bytes of %d", got, len(file))
			}
		})
	}
}

// TestCloseWaitsForNoSource closes an archive whose sender says nothing any more.
func TestCloseWaitsForNoSource(t *testing.T) {
	_, file := zipped(t, 1<<20)
	r, w := io.Pipe()
	defer r.Close()
	go func() { _, _ = w.Write(file[:len(file)/2]) }() // and no more
	a, err := archive.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Close waits for the sender")
	}
}
