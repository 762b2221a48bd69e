package bridge_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lxd/internal/driver/network/bridge"
	"lxd/internal/network"
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

func TestNamesOfOtherProjectsAreDistinct(t *testing.T) {
	dir := t.TempDir()
	at := func(project, instance, device string) string {
		return bridge.HostFile(network.Net{Dir: filepath.Dir(dir)}, network.Port{Project: project, Instance: instance, Device: device})
	}
	dir = filepath.Dir(at("default", "x", "y"))
	must(t, os.MkdirAll(dir, 0o755))
	name := func(file string) string {
		b, err := os.ReadFile(file)
		must(t, err)
		parts := strings.Split(strings.TrimSpace(string(b)), ",")
		return parts[len(parts)-1]
	}
	own, foreign, second, dotted := at("default", "a-b", "eth0"), at("b", "a", "eth0"), at("b", "a", "eth1"), at("b.c", "a", "eth0")
	var r bridge.Roster
	add := func(file, line string) {
		t.Helper()
		_, err := r.Add(file, line, nil)
		must(t, err)
	}
	if add(foreign, "mac1,a-b\n"); name(foreign) != "a-b" {
		t.Error(name(foreign))
	}
	if add(second, "mac2,a-b\n"); name(foreign) != "a-b" || name(second) != "a-b" {
		t.Error("two NICs of one instance are no collision:", name(foreign), name(second))
	}
	add(own, "mac3,a-b\n")
	if a, b := name(foreign), name(second); a == "a-b" || !strings.HasPrefix(a, "a-b-") || a != b || name(own) != "a-b" {
		t.Error(a, b, name(own))
	}
	add(dotted, "mac4,a-b-c\n")
	if name(dotted) != "a-b-c" {
		t.Error(name(dotted))
	}
	// The same after a restart, and for a whole roster at once.
	var again bridge.Roster
	all := map[string]string{own: "mac3,a-b\n", foreign: "mac1,a-b\n", second: "mac2,a-b\n", dotted: "mac4,a-b-c\n"}
	if stale, err := again.Set(dir, all); err != nil || stale {
		t.Error("a restart changes names:", err)
	}
	delete(all, own)
	r.Leave(own)
	if _, err := r.Set(dir, all); err != nil || name(foreign) != "a-b" {
		t.Error("alone it has the plain name again:", name(foreign), err)
	}
	long := at("p", strings.Repeat("x", 61), "eth0")
	add(long, "mac,"+strings.Repeat("x", 61)+"-p\n")
	add(at("default", strings.Repeat("x", 61)+"-p", "eth0"), "mac,"+strings.Repeat("x", 61)+"-p\n")
	if n := name(long); len(n) != 63 || strings.HasSuffix(n, "-p") {
		t.Error(n)
	}
}
