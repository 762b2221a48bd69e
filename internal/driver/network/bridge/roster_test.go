package bridge_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lxd/internal/driver/network/bridge"
)

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRoster(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("p.old"), []byte("old\n"), 0o644)) // of an earlier daemon
	var r bridge.Roster
	for _, c := range []struct {
		what  string
		do    func() (bool, error)
		stale bool
		left  []string
	}{
		{"a new port is one new file", func() (bool, error) { return r.Add(at("p.a"), "mac,10.0.0.5,a\n", []string{"10.0.0.5"}) }, false, []string{"p.a", "p.old"}},
		{"again is nothing", func() (bool, error) { return r.Add(at("p.a"), "mac,10.0.0.5,a\n", []string{"10.0.0.5"}) }, false, []string{"p.a", "p.old"}},
		{"a changed line must be read again", func() (bool, error) { return r.Add(at("p.a"), "mac,10.0.0.6,a\n", []string{"10.0.0.6"}) }, true, []string{"p.a", "p.old"}},
		{"gone ports go, plugged ones stay", func() (bool, error) { return r.Set(dir, map[string]string{at("p.b"): "b\n"}) }, true, []string{"p.a", "p.b"}},
		{"more ports only", func() (bool, error) { return r.Set(dir, map[string]string{at("p.b"): "b\n", at("p.c"): "c\n"}) }, false, []string{"p.a", "p.b", "p.c"}},
		{"an address moves", func() (bool, error) { return r.Add(at("p.d"), "mac,10.0.0.6,d\n", []string{"10.0.0.6"}) }, true, []string{"p.b", "p.c", "p.d"}},
		{"part of an address is none", func() (bool, error) { return r.Add(at("p.e"), "mac,10.0.0.66,e\n", []string{"10.0.0.66"}) }, false, []string{"p.b", "p.c", "p.d", "p.e"}},
		{"unplugged ports go", func() (bool, error) { r.Leave(at("p.d")); r.Leave(at("p.e")); return r.Set(dir, nil) }, true, nil},
	} {
		stale, err := c.do()
		if err != nil || stale != c.stale || !slices.Equal(files(t, dir), c.left) {
			t.Errorf("%s: stale %v, %v, left %v", c.what, stale, err, files(t, dir))
		}
	}
	must(t, os.WriteFile(at("p.stray"), nil, 0o644))
	r.Doubt()
	if _, err := r.Set(dir, nil); err != nil || len(files(t, dir)) > 0 {
		t.Error("a doubted folder is not looked at:", files(t, dir), err)
	}
}
