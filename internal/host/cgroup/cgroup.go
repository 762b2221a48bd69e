// Package cgroup reads and writes control groups of either version of the kernel's interface, and of both side by side.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how long to wait before looking again at what the kernel does by itself.
const poll = 2 * time.Millisecond

// Tree is the mounted hierarchies of a host.
type Tree struct {
	root string
	// unified is the folder of the version 2 hierarchy, "" without one.
	unified string
	// legacy are the folders of the version 1 hierarchies by controller.
	legacy map[string]string
}

// Open looks at what is mounted at root, which is /sys/fs/cgroup but for tests.
func Open(root string) (*Tree, error) {
	t := &Tree{root: root, legacy: map[string]string{}}
	if exists(filepath.Join(root, "cgroup.controllers")) {
		t.unified = root
		return t, nil
	}
	list, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("no control groups: %w; mount them at %s", err, root)
	}
	for _, e := range list {
		dir := filepath.Join(root, e.Name())
		if exists(filepath.Join(dir, "cgroup.controllers")) {
			t.unified = dir
			continue
		}
		if !exists(filepath.Join(dir, "tasks")) {
			continue
		}
		for name := range strings.SplitSeq(e.Name(), ",") {
			t.legacy[name] = dir
		}
	}
	if t.unified == "" && len(t.legacy) == 0 {
		return nil, fmt.Errorf("no control group hierarchy is mounted under %s", root)
	}
	return t, nil
}

// Version is the version of the interface that has the controller: 1, 2, or 0 when there is none.
func (t *Tree) Version(controller string) int {
	if t.legacy[controller] != "" {
		return 1
	}
	if t.unified == "" {
		return 0
	}
	b, err := os.ReadFile(filepath.Join(t.unified, "cgroup.controllers"))
	// the freezer is part of version 2 itself
	if err == nil && (controller == "freezer" && len(t.legacy) == 0 || slices.Contains(strings.Fields(string(b)), controller)) {
		return 2
	}
	return 0
}

// Group is the group of that path below the root of every hierarchy; it need not exist.
func (t *Tree) Group(path string) *Group { return &Group{tree: t, path: path} }

// Group is one control group, in all hierarchies.
type Group struct {
	tree *Tree
	path string
}

// Get reads a file of a controller's group.
func (g *Group) Get(controller, file string) (string, error) {
	b, err := os.ReadFile(filepath.Join(g.dir(controller), file))
	return strings.TrimSpace(string(b)), err
}

// Number reads a file that holds one number; -1 when there is none, or none such as "max".
func (g *Group) Number(controller, file string) int64 {
	s, err := g.Get(controller, file)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// Field reads one line "key value" of a file; -1 when there is none.
func (g *Group) Field(controller, file, key string) int64 {
	s, err := g.Get(controller, file)
	if err != nil {
		return -1
	}
	for line := range strings.SplitSeq(s, "\n") {
		if v, ok := strings.CutPrefix(line, key+" "); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// Set writes a file of a controller's group.
func (g *Group) Set(controller, file, value string) error {
	f, err := os.OpenFile(filepath.Join(g.dir(controller), file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Freeze stops all processes of the group and returns when they stand still.
func (g *Group) Freeze(ctx context.Context) error { return g.freeze(ctx, true) }

// Thaw lets the processes of the group go on.
func (g *Group) Thaw(ctx context.Context) error { return g.freeze(ctx, false) }

func (g *Group) freeze(ctx context.Context, frozen bool) error {
	file, value := "cgroup.freeze", "0"
	if g.tree.Version("freezer") == 1 {
		file, value = "freezer.state", "THAWED"
	}
	if frozen {
		value = map[string]string{"0": "1", "THAWED": "FROZEN"}[value]
	}
	if err := g.Set("freezer", file, value); err != nil {
		return err
	}
	return wait(ctx, func() (bool, error) {
		is, err := g.Frozen()
		return is == frozen, err
	})
}

// Frozen tells whether all processes of the group stand still.
func (g *Group) Frozen() (bool, error) {
	if g.tree.Version("freezer") == 1 {
		s, err := g.Get("freezer", "freezer.state")
		return s == "FROZEN", err
	}
	return g.Field("freezer", "cgroup.events", "frozen") == 1, nil
}

// PIDs are the processes in the group and those below it.
func (g *Group) PIDs() ([]int, error) {
	seen := map[int]bool{}
	for _, dir := range g.dirs() {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return gone(err)
			}
			return addPIDs(filepath.Join(path, "cgroup.procs"), seen)
		})
		if err != nil {
			return nil, err
		}
	}
	list := make([]int, 0, len(seen))
	for pid := range seen {
		list = append(list, pid)
	}
	slices.Sort(list)
	return list, nil
}

// Kill ends all processes of the group and returns when it is empty. A group that does not exist is empty.
func (g *Group) Kill(ctx context.Context) error {
	return wait(ctx, func() (bool, error) {
		pids, err := g.PIDs()
		if err != nil {
			return false, err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, err
			}
		}
		if len(pids) == 0 {
			return true, nil
		}
		// what is frozen does not die
		return false, g.thawAll()
	})
}

// Remove removes the group and those below it, which must be empty. One that does not exist is no error.
func (g *Group) Remove() error {
	var failed error
	for _, dir := range g.dirs() {
		failed = errors.Join(failed, removeTree(dir))
	}
	return failed
}

// Exists tells whether any hierarchy has the group.
func (g *Group) Exists() bool { return slices.ContainsFunc(g.dirs(), exists) }

func (g *Group) thawAll() error {
	v1 := g.tree.Version("freezer") == 1
	return gone(filepath.WalkDir(g.dir("freezer"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return gone(err)
		}
		if v1 {
			return gone(os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0))
		}
		return gone(os.WriteFile(filepath.Join(path, "cgroup.freeze"), []byte("0"), 0))
	}))
}

func (g *Group) dir(controller string) string {
	if d := g.tree.legacy[controller]; d != "" {
		return filepath.Join(d, g.path)
	}
	return filepath.Join(g.tree.unified, g.path)
}

func (g *Group) dirs() []string {
	var list []string
	if g.tree.unified != "" {
		list = append(list, filepath.Join(g.tree.unified, g.path))
	}
	for _, d := range g.tree.legacy {
		if d = filepath.Join(d, g.path); !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// removeTree removes the folders of dir, the deepest first; the files in them are the kernel's.
func removeTree(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return gone(err)
	}
	var failed error
	for _, e := range list {
		if e.IsDir() {
			failed = errors.Join(failed, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(failed, gone(unix.Rmdir(dir)))
}

func addPIDs(file string, to map[int]bool) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return gone(err)
	}
	for s := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 0 {
			to[pid] = true
		}
	}
	return nil
}

// gone makes an error about something that has vanished no error.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func wait(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
