package fake

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// Mount remembers what is shown where; its files are read from the host.
func (g *guest) Mount(_ context.Context, m machine.Mount) error {
	if m.FSType == "" || m.FSType == "none" {
		if _, err := os.Stat(m.Source); err != nil {
			return err
		}
	}
	return g.change(func() { g.mounts[place(m.Target)] = m })
}

// Unmount forgets it.
func (g *guest) Unmount(_ context.Context, m machine.Mount) error {
	_ = g.change(func() { delete(g.mounts, place(m.Target)) }) // one that has ended has no mounts
	return nil
}

// AddNode remembers a node. All nodes are empty files.
func (g *guest) AddNode(_ context.Context, n machine.Node) error {
	return g.change(func() { g.nodes[place(n.Path)] = true })
}

// RemoveNode forgets it.
func (g *guest) RemoveNode(_ context.Context, n machine.Node) error {
	_ = g.change(func() { delete(g.nodes, place(n.Path)) }) // one that has ended has no nodes
	return nil
}

func (g *guest) change(do func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return errs.Newf(errs.NotFound, "machine %s does not run", g.handle.ID)
	}
	do()
	return nil
}

func place(target string) string { return path.Clean("/" + target) }

// read finds a file that was mounted, or a node.
func (g *guest) read(name string) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nodes[name] {
		return "", true
	}
	for at := name; at != "/" && at != "."; at = path.Dir(at) {
		if m, ok := g.mounts[at]; ok {
			b, err := os.ReadFile(filepath.Join(m.Source, strings.TrimPrefix(name, at)))
			return string(b), err == nil
		}
	}
	return "", false
}
