package migrate_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"testing"
)

// tarOf is a backup.
func tarOf(t *testing.T, index string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, f := range [][2]string{{"backup/index.yaml", index}, {"backup/container/rootfs/f", "now"}, {"backup/snapshots/s0/rootfs/f", "then"}} {
		h := &tar.Header{Name: f[0], Typeflag: tar.TypeReg, Size: int64(len(f[1])), Mode: 0o600, Uid: os.Getuid(), Gid: os.Getgid()}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
