package run_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/host/run"
)

func start(t *testing.T, script string) (*run.Process, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	p, err := run.Start(run.Program{Path: "/bin/sh", Args: []string{"-c", script}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(t.Context()); err != nil && p.Running() {
			t.Error(err)
		}
	})
	return p, log
}

func wait(t *testing.T, p *run.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("does not end")
	}
}

func pidFile(t *testing.T, text string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOutputGoesToTheLog(t *testing.T) {
	p, log := start(t, "echo out; echo err >&2")
	wait(t, p)
	if b, err := os.ReadFile(log); string(b) != "out\nerr\n" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
	if p.Running() || p.Signal(syscall.SIGTERM) != nil || p.Stop(t.Context()) != nil {
		t.Fatal("a process that has ended is no error")
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	p, log := start(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	for range 100 {
		if b, _ := os.ReadFile(log); string(b) == "ready\n" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := p.Stop(t.Context()); err != nil || p.Running() {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	p, _ := start(t, "exec sleep 100 # mine")
	file := pidFile(t, strconv.Itoa(p.PID())+"\n")
	isSleep := func(args []string) bool { return slices.Equal(args[1:], []string{"100"}) }
	var found *run.Process
	for range 100 { // until it has become sleep
		q, ok, err := run.Find(file, isSleep)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			found = q
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if found == nil || found.PID() != p.PID() {
		t.Fatal("not found")
	}
	if err := found.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, found)
	wait(t, p)
	if _, ok, err := run.Find(file, isSleep); ok || err != nil {
		t.Fatal("found though it has ended", err)
	}
}

func TestFindLeavesOthersAlone(t *testing.T) {
	p, _ := start(t, "exec sleep 100")
	for name, text := range map[string]string{
		"another program": strconv.Itoa(p.PID()), "init": "1", "cut short": "", "words": "x", "everybody": "-1", "gone": "999999999",
	} {
		q, ok, err := run.Find(pidFile(t, text), func(args []string) bool { return strings.HasSuffix(args[0], "/dnsmasq") })
		if q != nil || ok || err != nil {
			t.Error(name, ok, err)
		}
	}
	if _, ok, err := run.Find(filepath.Join(t.TempDir(), "none"), nil); ok || err != nil {
		t.Error(ok, err)
	}
	if !p.Running() {
		t.Error("ended a process of another")
	}
}

func TestMissingProgram(t *testing.T) {
	if _, err := run.Start(run.Program{Path: "/nonexistent"}); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Fatal(err)
	}
}

func TestLook(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	if p, ok := run.Look("sh"); !ok || filepath.Base(p) != "sh" {
		t.Error(p, ok)
	}
	if p, ok := run.Look("no-such-program"); ok {
		t.Error(p)
	}
}
