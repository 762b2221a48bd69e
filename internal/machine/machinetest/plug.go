package machinetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// connect: the interfaces are made once, in a namespace that is there, and a failure to make them is one to start.
func connect(t *testing.T, s Subject) {
	p := s.Plan(t)
	refused, calls := errors.New("no such bridge"), 0
	p.Connect = func(_ context.Context, netns *os.File) error {
		calls++
		if _, err := netns.Stat(); err != nil {
			return err
		}
		return refused
	}
	if _, err := s.Driver.Start(deadline(t), p); !errors.Is(err, refused) || calls != 1 {
		t.Fatalf("started without interfaces: %v, asked %d times", err, calls)
	}
	refused, calls = nil, 0
	m, err := s.Driver.Start(deadline(t), p)
	if err != nil || calls != 1 {
		t.Fatalf("%v, asked %d times", err, calls)
	}
	t.Cleanup(func() {
		if err := s.Driver.Reap(deadline(t), p.ID, p.RunDir); err != nil {
			t.Errorf("reap: %v", err)
		}
	})
	plugger, ok := m.(machine.Plugger)
	if !ok {
		return
	}
	refused = errors.New("no more")
	if err := plugger.Plug(deadline(t), p.Connect); !errors.Is(err, refused) || calls != 2 {
		t.Fatalf("plugged: %v, asked %d times", err, calls)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := plugger.Plug(deadline(t), p.Connect); !errs.Is(err, errs.NotFound) || calls != 2 {
		t.Fatalf("plugged into what has ended: %v", err)
	}
}

func namespace(t *testing.T, s Subject) {
	m, _ := s.start(t)
	n, ok := m.(machine.Namespacer)
	if !ok {
		return
	}
	for _, kind := range []string{"net", "mnt", "user"} {
		f, err := n.Namespace(kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Namespace("net"); !errs.Is(err, errs.NotFound) {
		t.Fatalf("the namespace of what has ended: %v", err)
	}
}

// share makes a folder with a file f of that text, open to all.
func share(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shows checks what a file has inside; no text means that it is not there.
func shows(t *testing.T, m machine.Machine, path, want string) {
	t.Helper()
	code, got := try(t, m, command("cat", path))
	if got != want || (code == 0) != (want != "") {
		t.Fatalf("%s is %q (%d), want %q", path, got, code, want)
	}
}

func mounts(t *testing.T, s Subject) {
	p := s.Plan(t)
	early, late := machine.Mount{Source: share(t, "early"), Target: "/tmp/early/"}, machine.Mount{Source: share(t, "late"), Target: "tmp/late"}
	file := machine.Mount{Source: filepath.Join(share(t, "file"), "f"), Target: "/tmp/file"}
	p.Mounts = []machine.Mount{early}
	m := s.startPlan(t, p)
	mounter, ok := m.(machine.Mounter)
	if !ok {
		t.Skip("mounts of a running machine stay as they are")
	}
	shows(t, m, "/tmp/early/f", "early")
	for range 2 {
		if err := errors.Join(mounter.Mount(deadline(t), late), mounter.Mount(deadline(t), file)); err != nil {
			t.Fatal(err)
		}
		shows(t, m, "/tmp/late/f", "late")
		shows(t, m, "/tmp/file", "file")
		for range 2 {
			if err := errors.Join(mounter.Unmount(deadline(t), late), mounter.Unmount(deadline(t), file), mounter.Unmount(deadline(t), early)); err != nil {
				t.Fatal(err)
			}
		}
		shows(t, m, "/tmp/late/f", "")
		shows(t, m, "/tmp/early/f", "")
	}
	if err := mounter.Mount(deadline(t), machine.Mount{Source: filepath.Join(late.Source, "none"), Target: "/tmp/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("mounted what is not there: %v", err)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := mounter.Mount(deadline(t), late); !errs.Is(err, errs.NotFound) {
		t.Fatalf("mounted in what has ended: %v", err)
	}
	if err := mounter.Unmount(deadline(t), late); err != nil {
		t.Fatal(err)
	}
	p.Mounts[0].Source = filepath.Join(early.Source, "none")
	if _, err := s.Driver.Start(deadline(t), p); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("started without its mount: %v", err)
	}
}

// mountsAgain takes away what an earlier daemon has mounted.
func mountsAgain(t *testing.T, s Subject) {
	p := s.Plan(t)
	early, late := machine.Mount{Source: share(t, "early"), Target: "/tmp/early"}, machine.Mount{Source: share(t, "late"), Target: "/tmp/late"}
	p.Mounts = []machine.Mount{early}
	m := s.startPlan(t, p)
	mounter, ok := m.(machine.Mounter)
	if !ok {
		t.Skip("mounts of a running machine stay as they are")
	}
	if err := mounter.Mount(deadline(t), late); err != nil {
		t.Fatal(err)
	}
	again, err := s.Again(t).Reattach(deadline(t), m.Handle())
	if err != nil {
		t.Fatal(err)
	}
	mounter = again.(machine.Mounter)
	for _, mounted := range []machine.Mount{early, late} {
		shows(t, again, mounted.Target+"/f", filepath.Base(mounted.Target))
		if err := mounter.Unmount(deadline(t), mounted); err != nil {
			t.Fatal(err)
		}
		shows(t, again, mounted.Target+"/f", "")
	}
}

func nodes(t *testing.T, s Subject) {
	const null = 3
	p := s.Plan(t)
	early, late := machine.Node{Path: "/dev/early", Major: 1, Minor: null, Mode: 0o660}, machine.Node{Path: "/dev/new/late", Major: 1, Minor: null, Mode: 0o600}
	p.Nodes = []machine.Node{early}
	m := s.startPlan(t, p)
	mounter, ok := m.(machine.Mounter)
	if !ok {
		t.Skip("nodes of a running machine stay as they are")
	}
	is := func(path string, want int) {
		t.Helper()
		if code, _ := try(t, m, command("cat", path)); code != want {
			t.Fatalf("%s: %d, want %d", path, code, want)
		}
	}
	is("/dev/early", 0)
	for range 2 { // the second replaces the first
		if err := mounter.AddNode(deadline(t), late); err != nil {
			t.Fatal(err)
		}
		is("/dev/new/late", 0)
	}
	for range 2 {
		if err := errors.Join(mounter.RemoveNode(deadline(t), early), mounter.RemoveNode(deadline(t), late)); err != nil {
			t.Fatal(err)
		}
		is("/dev/early", 1)
		is("/dev/new/late", 1)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := mounter.AddNode(deadline(t), late); !errs.Is(err, errs.NotFound) {
		t.Fatalf("a node in what has ended: %v", err)
	}
	if err := mounter.RemoveNode(deadline(t), late); err != nil {
		t.Fatal(err)
	}
}
