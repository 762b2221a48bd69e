package fs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/host/fs"
)

// TestExtractWithHolesKeepsContent unpacks files with zeros at all ends, around the sizes of a block and of what is read at a time: leaving
// zeros out changes neither size nor content.
func TestExtractWithHolesKeepsContent(t *testing.T) {
	zero, data := func(n int) []byte { return make([]byte, n) }, func(n int) []byte { return bytes.Repeat([]byte("d"), n) }
	var want [][]byte
	for _, n := range []int{0, 1, 4095, 4096, 4097, 256 << 10, 256<<10 + 1, 600 << 10} {
		want = append(want, zero(n), data(n), append(data(n), zero(n)...), append(zero(n), data(n)...), append(data(n), zero(1)...), append(zero(n), data(1)...))
	}
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i, w := range want {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i), Size: int64(len(w)), Mode: 0o600, Uid: os.Getuid(), Gid: os.Getgid()}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	dest := t.TempDir()
	if _, err := extract(dest, b.Bytes(), fs.Options{Holes: true, Unprivileged: true}); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if got, err := os.ReadFile(filepath.Join(dest, fmt.Sprint(i))); err != nil || !bytes.Equal(got, w) {
			t.Errorf("file %d of %d bytes has %d, %v", i, len(w), len(got), err)
		}
	}
}
