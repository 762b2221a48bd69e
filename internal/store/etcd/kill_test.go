package etcd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/store"
	"lxd/internal/store/etcd"
)

// TestRestartAfterKill starts again from the files of a server that is still running, as a kill leaves them, after as many writes
// as make its first snapshots and the forgetting of its log fall before and after.
func TestRestartAfterKill(t *testing.T) {
	for _, n := range []int{0, 1, 40, 60, 110, 300, 1100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{})
			for i := range n {
				if err := write(t, s, fmt.Sprint(i), 100); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				again(t, copyOf(t, dir), n)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again(t, dir, n)
		})
	}
}

func again(t *testing.T, dir string, want int) {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Config{Dir: dir}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := 0
	if err := s.View(t.Context(), func(tx store.Tx) error {
		for _, err := range blobs.All(tx, "") {
			if err != nil {
				return err
			}
			got++
		}
		return nil
	}); err != nil || got != want {
		t.Fatalf("%d records, want %d: %v", got, want, err)
	}
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
