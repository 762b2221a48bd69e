package watch_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"lxd/internal/driver/device/unix/watch"
)

// presence follows whether there is something at a path.
func presence(path string) (call func(), is func(t *testing.T, want bool)) {
	var there atomic.Bool
	return func() { _, err := os.Stat(path); there.Store(err == nil) }, func(t *testing.T, want bool) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); there.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not told", path)
			}
		}
	}
}

func TestFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	var w watch.Watcher
	defer w.Close()
	path := filepath.Join(dir, "a/b/c")
	call, is := presence(path)
	if err := w.Subscribe("x", path, call); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		is(t, false)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		is(t, true)
		if err := os.Rename(path, path+"x"); err != nil {
			t.Fatal(err)
		}
		is(t, false)
		if err := os.Rename(path+"x", path); err != nil {
			t.Fatal(err)
		}
		is(t, true)
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	is(t, false)
}

func TestSubscriptionsEnd(t *testing.T) {
	dir := t.TempDir()
	var w watch.Watcher
	first, second := 0, 0
	for name, n := range map[string]*int{"a": &first, "b": &second} {
		if err := w.Subscribe(name, filepath.Join(dir, "f"), func() { *n++ }); err != nil {
			t.Fatal(err)
		}
	}
	w.Unsubscribe("a")
	w.Unsubscribe("a")
	w.Unsubscribe("none")
	before := first
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if first != before || second < 2 {
		t.Error(first, second)
	}
	if err := w.Subscribe("c", dir, func() {}); err == nil {
		t.Error("a closed watcher watches")
	}
	if err := new(watch.Watcher).Close(); err != nil {
		t.Error(err)
	}
}
