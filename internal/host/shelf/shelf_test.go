package shelf_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/host/shelf"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *shelf.Shelf, name string) string {
	t.Helper()
	f, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tmpfs is a folder on another file system.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shelf")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestFilesFollowTheirOwner(t *testing.T) {
	base, away := filepath.Join(t.TempDir(), "base"), filepath.Join(tmpfs(t), "away")
	s := shelf.New(base)
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	up := filepath.Join(t.TempDir(), "up")
	for _, name := range []string{"a", "b"} {
		write(t, up, name)
		if err := s.Put(t.Context(), up, "p", name); err != nil {
			t.Fatal(err)
		}
	}
	s.Set(map[string]string{"p": away})
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	write(t, up, "c")
	if err := s.Put(t.Context(), up, "p", "c"); err != nil { // to another file system
		t.Fatal(err)
	}
	if _, err := os.Stat(up); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the source is left:", err)
	}
	if got := s.Path("p", "a"); got != filepath.Join(base, "a") || s.Path("p", "new") != filepath.Join(away, "new") || s.Path("q", "new") != filepath.Join(base, "new") {
		t.Error(got)
	}
	if err := s.Move(t.Context(), "p", "a"); err != nil || s.Path("q", "a") != filepath.Join(away, "a") {
		t.Error(s.Path("q", "a"), err)
	}
	if err := s.Move(t.Context(), "p", "a"); err != nil {
		t.Error("again:", err)
	}
	names, err := s.Names()
	if err != nil || !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Error(names, err)
	}
	for _, name := range names {
		if got := read(t, s, name); got != name {
			t.Error(name, got)
		}
	}
	s.Set(nil, away) // the owner has no folder any more
	for _, name := range names {
		if err := s.Move(t.Context(), "p", name); err != nil || s.Path("", name) != filepath.Join(base, name) {
			t.Error(name, err)
		}
	}
	if left, err := os.ReadDir(away); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}

// TestWhatACrashLeft: a file in both folders counts once, and half a copy not at all.
func TestWhatACrashLeft(t *testing.T) {
	base, away := t.TempDir(), t.TempDir()
	s := shelf.New(base)
	s.Set(map[string]string{"": away})
	write(t, filepath.Join(base, "a"), "a")
	write(t, filepath.Join(away, "a"), "a")
	write(t, filepath.Join(away, ".partial-1"), "h")
	if names, err := s.Names(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Error(names, err)
	}
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(t.Context(), "p", "a"); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{filepath.Join(base, "a"), filepath.Join(away, ".partial-1")} {
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Error(gone, "is left")
		}
	}
	if err := s.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.Remove("a"); err != nil {
		t.Error("again:", err)
	}
}

// TestAMoveThatFails leaves the file where it was.
func TestAMoveThatFails(t *testing.T) {
	base, away := t.TempDir(), t.TempDir()
	s := shelf.New(base)
	s.Set(map[string]string{"": away})
	write(t, filepath.Join(base, "a"), "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Move(ctx, "", "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(away); err != nil || len(left) != 0 || read(t, s, "a") != "a" || s.Base() != base {
		t.Error(left, err)
	}
}

// TestCopiesUnderWay: what is being written when the folders are looked after is no leftover.
func TestCopiesUnderWay(t *testing.T) {
	base, up := t.TempDir(), filepath.Join(tmpfs(t), "up")
	s := shelf.New(base)
	if err := unix.Mkfifo(up, 0o600); err != nil {
		t.Fatal(err)
	}
	put := make(chan error, 1)
	go func() { put <- s.Put(t.Context(), up, "p", "a") }()
	slow, err := os.OpenFile(up, os.O_WRONLY, 0) // returns once Put reads
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.WriteString("first "); err != nil {
		t.Fatal(err)
	}
	for draft := []string(nil); len(draft) == 0; draft, _ = filepath.Glob(filepath.Join(base, ".partial-*")) {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.WriteString("second"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(slow.Close(), <-put); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "a"); got != "first second" {
		t.Error(got)
	}
}

func TestSettled(t *testing.T) {
	base, away := t.TempDir(), t.TempDir()
	s := shelf.New(base)
	write(t, filepath.Join(base, "a"), "a")
	if !s.Settled("p", "a") || !s.Settled("p", "none") {
		t.Error("it is where it belongs")
	}
	s.Set(map[string]string{"p": away})
	if s.Settled("p", "a") || !s.Settled("q", "a") {
		t.Error("p has a folder of its own, and q has none")
	}
	if err := s.Move(t.Context(), "p", "a"); err != nil || !s.Settled("p", "a") {
		t.Error(err)
	}
}

func TestEveryFileIsBroughtToItsOwner(t *testing.T) {
	base, own := filepath.Join(t.TempDir(), "base"), filepath.Join(t.TempDir(), "own")
	s := shelf.New(base)
	s.Set(map[string]string{"p": own})
	owners := map[string]string{"a": "p", "b": "q", "gone": "p"}
	if err := s.Keep(t.Context(), owners); err != nil { // makes the folders, and has nothing to move yet
		t.Fatal(err)
	}
	write(t, filepath.Join(base, "a"), "of p")
	write(t, filepath.Join(own, "b"), "of q")
	if err := s.Keep(t.Context(), owners); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{filepath.Join(own, "a"): "of p", filepath.Join(base, "b"): "of q"} {
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Error(path, string(b), err)
		}
	}
}
