package cgroup_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"lxd/internal/host/cgroup"
)

// tree makes a folder that looks like /sys/fs/cgroup.
func tree(t *testing.T, files map[string]string) (string, *cgroup.Tree) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := cgroup.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, tr
}

func TestVersion(t *testing.T) {
	_, v1 := tree(t, map[string]string{"cpu,cpuacct/tasks": "", "freezer/tasks": "", "unified/cgroup.controllers": "hugetlb\n"})
	_, v2 := tree(t, map[string]string{"cgroup.controllers": "cpu memory pids\n"})
	for _, c := range []struct {
		tree *cgroup.Tree
		name string
		want int
	}{
		{v1, "cpu", 1}, {v1, "cpuacct", 1}, {v1, "freezer", 1}, {v1, "hugetlb", 2}, {v1, "memory", 0},
		{v2, "memory", 2}, {v2, "freezer", 2}, {v2, "cpuset", 0},
	} {
		if got := c.tree.Version(c.name); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if _, err := cgroup.Open(t.TempDir()); err == nil {
		t.Error("an empty folder is no tree")
	}
}

func TestReadAndWrite(t *testing.T) {
	root, tr := tree(t, map[string]string{
		"cgroup.controllers": "memory", "g/memory.current": "4096\n", "g/memory.max": "max", "g/cpu.stat": "usage_usec 7\nuser_usec 5\n",
	})
	g := tr.Group("g")
	if g.Number("memory", "memory.current") != 4096 || g.Number("memory", "memory.max") != -1 || g.Number("memory", "none") != -1 {
		t.Error("numbers")
	}
	if g.Field("cpu", "cpu.stat", "user_usec") != 5 || g.Field("cpu", "cpu.stat", "user") != -1 || g.Field("cpu", "none", "a") != -1 {
		t.Error("fields")
	}
	if err := g.Set("memory", "memory.max", "123"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "g/memory.max")); err != nil || string(b) != "123" {
		t.Errorf("%q %v", b, err)
	}
	if err := g.Set("memory", "no.such", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was made", err)
	}
}

// real is a fresh group of the host.
func real(t *testing.T) *cgroup.Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a control group")
	}
	tr, err := cgroup.Open("/sys/fs/cgroup")
	if err != nil || tr.Version("freezer") == 0 {
		t.Skip("needs a freezer control group:", err)
	}
	dir := "/sys/fs/cgroup/freezer"
	if tr.Version("freezer") == 2 {
		dir = "/sys/fs/cgroup"
	}
	name := "lxd-test-" + strconv.Itoa(os.Getpid()) + "-" + t.Name()
	if err := os.MkdirAll(filepath.Join(dir, name, "below"), 0o755); err != nil {
		t.Skip("needs a writable control group tree:", err)
	}
	g := tr.Group(name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.Remove()); err != nil || g.Exists() {
			t.Error("left over:", err)
		}
	})
	return g
}

func TestFreezeAndKill(t *testing.T) {
	g := real(t)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := g.Set("freezer", "below/cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Fatal(pids, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, frozen := range []bool{true, false, true} {
		do := g.Thaw
		if frozen {
			do = g.Freeze
		}
		if err := do(ctx); err != nil {
			t.Fatal(err)
		}
		if is, err := g.Frozen(); is != frozen || err != nil {
			t.Fatal(is, err)
		}
	}
	if err := g.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	<-ended
	if pids, err := g.PIDs(); err != nil || len(pids) != 0 {
		t.Fatal(pids, err)
	}
}

func TestMissingGroup(t *testing.T) {
	_, tr := tree(t, map[string]string{"cgroup.controllers": "memory"})
	g := tr.Group("none")
	if err := errors.Join(g.Kill(t.Context()), g.Remove()); err != nil || g.Exists() {
		t.Fatal(err)
	}
}
