package run_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/host/run"
)

func sh(script string) run.Call { return run.Call{Path: "/bin/sh", Args: []string{"-c", script}} }

func TestOutput(t *testing.T) {
	out, err := run.Output(t.Context(), sh("echo hello; echo aside >&2"))
	if string(out) != "hello\n" || err != nil {
		t.Fatalf("%q %v", out, err)
	}
	_, err = run.Output(t.Context(), sh("echo first >&2; echo why >&2; exit 3"))
	if err == nil || !strings.HasPrefix(err.Error(), "why (exit status 3)") {
		t.Fatalf("%v", err)
	}
	if _, err := run.Output(t.Context(), run.Call{Path: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestOutputHasADeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := run.Output(ctx, sh("sleep 60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Fatalf("took %v", d)
	}
}

func TestSpawn(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := sh("echo $A; echo three >&3; exit 9")
	c.Env, c.Stdout, c.Files = []string{"A=one"}, w, []*os.File{w}
	p, err := run.Spawn(c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "one\nthree\n" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
	if code, err := p.Wait(t.Context()); code != 9 || err != nil || p.Kill() != nil {
		t.Fatal(code, err)
	}
}

func TestKilledChild(t *testing.T) {
	p, err := run.Spawn(sh("sleep 60"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); code != 128+int(syscall.SIGKILL) || err != nil {
		t.Fatal(code, err)
	}
}

func TestHold(t *testing.T) {
	p, _ := start(t, "exec sleep 60")
	since, err := run.StartTime(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := run.Hold(p.PID(), since+1); ok || err != nil {
		t.Fatal("held another process", err)
	}
	held, ok, err := run.Hold(p.PID(), since)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	f, err := held.Duplicate()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, held)
	for _, pid := range []int{p.PID(), 0, -1} {
		if _, ok, err := run.Hold(pid, since); ok || err != nil {
			t.Fatal("held what has ended", pid, err)
		}
	}
}
