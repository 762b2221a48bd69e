package unix_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"

	"lxd/internal/device"
	"lxd/internal/driver/device/unix"
	"lxd/internal/driver/device/unix/watch"
	"lxd/internal/errs"
)

// guest keeps the nodes that it is given.
type guest struct {
	mu    sync.Mutex
	nodes map[string]device.Node
}

func (*guest) PID() int                           { return 1 }
func (*guest) Namespace(string) (*os.File, error) { return nil, os.ErrNotExist }

func (g *guest) AddNode(_ context.Context, n device.Node) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes[n.Path] = n
	return nil
}

func (g *guest) RemoveNode(_ context.Context, n device.Node) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.nodes, n.Path)
	return nil
}

// has waits until the guest has the node with that minor number, or none for -1.
func (g *guest) has(t *testing.T, path string, minor int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		n, ok := g.nodes[path]
		g.mu.Unlock()
		if ok == (minor >= 0) && (!ok || int(n.Minor) == minor) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v %v, want %d", path, n, ok, minor)
		}
	}
}

func kind(t *testing.T, name string) device.Kind {
	t.Helper()
	w := &watch.Watcher{}
	t.Cleanup(func() { _ = w.Close() })
	for _, k := range unix.Kinds(w) {
		if k.Type == name {
			return k
		}
	}
	t.Fatal("there is no kind ", name)
	return device.Kind{}
}

func attach(t *testing.T, k device.Kind, cfg device.Config) (device.Grant, error) {
	t.Helper()
	if err := k.Keys.Validate(cfg); err != nil {
		return device.Grant{}, err
	}
	d, err := k.New(t.Context(), device.Env{Name: "d"}, cfg)
	if err != nil {
		return device.Grant{}, err
	}
	return d.Attach(t.Context())
}

func TestNodes(t *testing.T) {
	k := kind(t, "unix-char")
	for name, c := range map[string]struct {
		cfg  device.Config
		want device.Node
	}{
		"source":  {device.Config{"source": os.DevNull}, device.Node{Path: os.DevNull, Major: 1, Minor: 3, Mode: 0o660}},
		"path":    {device.Config{"path": os.DevNull}, device.Node{Path: os.DevNull, Major: 1, Minor: 3, Mode: 0o660}},
		"both":    {device.Config{"source": os.DevNull, "path": "/dev/x", "uid": "7", "gid": "8", "mode": "0600"}, device.Node{Path: "/dev/x", Major: 1, Minor: 3, Mode: 0o600, UID: 7, GID: 8}},
		"numbers": {device.Config{"path": "/dev/none", "major": "5", "minor": "6"}, device.Node{Path: "/dev/none", Major: 5, Minor: 6, Mode: 0o660}},
	} {
		g, err := attach(t, k, c.cfg)
		if err != nil || len(g.Nodes) != 1 || g.Nodes[0] != c.want {
			t.Errorf("%s: %+v %v", name, g, err)
		}
	}
	if g, err := attach(t, kind(t, "unix-block"), device.Config{"path": "/dev/b", "major": "7", "minor": "0"}); err != nil || !g.Nodes[0].Block {
		t.Error(g, err)
	}
}

func TestRefused(t *testing.T) {
	for want, cfg := range map[string]device.Config{
		"needs source":   {},
		"set together":   {"path": "/dev/x", "major": "1"},
		"absolute path":  {"path": "dev/x"},
		"without ..":     {"path": "/dev/../../x"},
		"octal":          {"path": os.DevNull, "mode": "0888"},
		"required=false": {"source": "/dev/there is none"},
		"is not a block": {"source": os.DevNull},
		"unknown unix-":  {"bogus": "1"},
		"\"major\"":      {"path": "/dev/x", "major": "9999", "minor": "0"},
	} {
		if _, err := attach(t, kind(t, "unix-block"), cfg); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", cfg, err, want)
		}
	}
}

// What an instance can do without comes and goes with the host's.
func TestHotplug(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make device nodes")
	}
	k := kind(t, "unix-char")
	source := filepath.Join(t.TempDir(), "sub", "d")
	cfg := device.Config{"source": source, "path": "/dev/d", "required": "false"}
	d, err := k.New(t.Context(), device.Env{Name: "d"}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := d.Attach(t.Context()); err != nil || len(g.Nodes) > 0 {
		t.Fatal(g, err)
	}
	g := &guest{nodes: map[string]device.Node{"/dev/d": {Path: "/dev/d", Minor: 9}}} // it went while no daemon looked
	s, ok := d.(device.Starter)
	if !ok {
		t.Fatal("no Starter")
	}
	for range 2 {
		if err := s.Start(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	g.has(t, "/dev/d", -1)
	make := func(minor uint32) {
		t.Helper()
		_ = os.Remove(source)
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := sys.Mknod(source, sys.S_IFCHR|0o600, int(sys.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
	}
	for _, minor := range []uint32{3, 5} {
		make(minor)
		g.has(t, "/dev/d", int(minor))
	}
	if err := os.Remove(source); err != nil {
		t.Fatal(err)
	}
	g.has(t, "/dev/d", -1)
	if err := os.WriteFile(source, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	make(7)
	g.has(t, "/dev/d", 7)
	leaving, err := k.New(t.Context(), device.Env{Name: "d", Leaving: true}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := leaving.Detach(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	make(8)
	time.Sleep(20 * time.Millisecond)
	g.has(t, "/dev/d", 7)
}
