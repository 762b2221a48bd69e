// Package machinetest is the contract of machine drivers as tests. Every driver runs them, and so does the fake that stands in for
// drivers in other tests.
package machinetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/machine"
)

// patience is how long anything here may take.
const patience = 20 * time.Second

// Subject is what is tested.
type Subject struct {
	Driver machine.Driver
	// Plan makes a fresh machine with folders of its own. The programs in it are those of a small system: true, sleep, echo, cat,
	// pwd, env, sh -c with "exit N"; reboot and poweroff must end it.
	Plan func(t *testing.T) machine.Plan
	// Again is the driver of another daemon over the same machines.
	Again func(t *testing.T) machine.Driver
}

// Run tests the contract.
func Run(t *testing.T, make func(t *testing.T) Subject) {
	tests := []struct {
		name string
		run  func(t *testing.T, s Subject)
	}{
		{"start and kill", startAndKill},
		{"stop", stop},
		{"stop without grace", stopWithoutGrace},
		{"reboot", reboot},
		{"start twice", startTwice},
		{"start again", startAgain},
		{"connect", connect},
		{"namespace", namespace},
		{"mounts", mounts},
		{"mounts of an earlier daemon", mountsAgain},
		{"nodes", nodes},
		{"bad plan", badPlan},
		{"reattach", reattach},
		{"reattach to the ended", reattachEnded},
		{"reattach to an earlier run", reattachOther},
		{"reap", reap},
		{"exit codes", exitCodes},
		{"streams", streams},
		{"environment and folder", environment},
		{"bad commands", badCommands},
		{"signal", signal},
		{"terminal", terminal},
		{"exec outlives its context", outlives},
		{"commands end with the machine", endWithMachine},
		{"freeze", freeze},
		{"tune", tune},
		{"usage", usage},
		{"metrics", metrics},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { c.run(t, make(t)) })
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

func (s Subject) start(t *testing.T) (machine.Machine, machine.Plan) {
	t.Helper()
	p := s.Plan(t)
	return s.startPlan(t, p), p
}

func (s Subject) startPlan(t *testing.T, p machine.Plan) machine.Machine {
	t.Helper()
	m, err := s.Driver.Start(deadline(t), p)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Driver.Reap(deadline(t), p.ID, p.RunDir); err != nil {
			t.Errorf("reap: %v", err)
		}
	})
	return m
}

func done(t *testing.T, m machine.Machine) {
	t.Helper()
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatal("the machine does not end")
	}
}

func status(t *testing.T, m machine.Machine, want machine.Status) {
	t.Helper()
	if got, err := m.Status(deadline(t)); got != want || err != nil {
		t.Fatalf("status %v (%v), want %v", got, err, want)
	}
}

// try runs args and returns the exit code and the output.
func try(t *testing.T, m machine.Machine, c machine.Command) (int, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Stdout = w
	p, err := m.Exec(deadline(t), c)
	if e := w.Close(); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatalf("exec %q: %v", c.Args, err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return code, string(out)
}

func command(args ...string) machine.Command {
	return machine.Command{Args: args, Env: []string{"PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}}
}

func startAndKill(t *testing.T, s Subject) {
	m, p := s.start(t)
	status(t, m, machine.Running)
	h := m.Handle()
	if h.Driver != s.Driver.Name() || h.ID != p.ID || h.RunDir != p.RunDir || h.PID <= 0 {
		t.Fatalf("handle %+v", h)
	}
	for range 2 {
		if err := m.Kill(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	done(t, m)
	status(t, m, machine.Stopped)
	if m.Exit().Reboot {
		t.Fatal("a killed machine does not want to start again")
	}
}

func stop(t *testing.T, s Subject) {
	m, _ := s.start(t)
	settle(t, m)
	if err := m.Stop(deadline(t), patience); err != nil {
		t.Fatal(err)
	}
	done(t, m)
	if m.Exit().Reboot || m.Stop(deadline(t), 0) != nil {
		t.Fatal("a stopped machine has stopped")
	}
}

// settle waits until the machine's first program has got so far as to serve.
func settle(t *testing.T, m machine.Machine) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if code, _ := try(t, m, command("cat", "/run/ready")); code == 0 {
			return
		}
	}
	t.Fatal("the machine makes no /run/ready")
}

func stopWithoutGrace(t *testing.T, s Subject) {
	m, _ := s.start(t)
	settle(t, m)
	ctx, cancel := context.WithCancel(deadline(t))
	cancel()
	if err := m.Stop(ctx, patience); !errors.Is(err, context.Canceled) && err != nil {
		t.Fatalf("a canceled stop: %v", err)
	}
	m, _ = s.start(t)
	if f, ok := m.(machine.Freezer); ok {
		if err := f.Freeze(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if err := m.Stop(deadline(t), 50*time.Millisecond); !errs.Is(err, errs.Unavailable) {
			t.Fatalf("a frozen machine cannot stop: %v", err)
		}
		status(t, m, machine.Frozen)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func reboot(t *testing.T, s Subject) {
	m, p := s.start(t)
	settle(t, m)
	try(t, m, command("reboot"))
	done(t, m)
	if !m.Exit().Reboot {
		t.Fatal("the machine wanted to be started again")
	}
	m, err := s.Driver.Start(deadline(t), p)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, m)
	try(t, m, command("poweroff"))
	done(t, m)
	if m.Exit().Reboot {
		t.Fatal("the machine wanted to stop")
	}
}

func startTwice(t *testing.T, s Subject) {
	m, p := s.start(t)
	if _, err := s.Driver.Start(deadline(t), p); !errs.Is(err, errs.Conflict) {
		t.Fatalf("started twice: %v", err)
	}
	status(t, m, machine.Running)
}

func startAgain(t *testing.T, s Subject) {
	m, p := s.start(t)
	for range 3 {
		if err := m.Kill(deadline(t)); err != nil {
			t.Fatal(err)
		}
		var err error
		if m, err = s.Driver.Start(deadline(t), p); err != nil {
			t.Fatal(err)
		}
		status(t, m, machine.Running)
	}
}

func badPlan(t *testing.T, s Subject) {
	for what, spoil := range map[string]func(*machine.Plan){
		"id":          func(p *machine.Plan) { p.ID = "../x" },
		"no id":       func(p *machine.Plan) { p.ID = "" },
		"environment": func(p *machine.Plan) { p.Env = map[string]string{"A": "b\nlxc.hook.start = /bin/sh"} },
		"raw":         func(p *machine.Plan) { p.Raw = "nonsense" },
	} {
		p := s.Plan(t)
		spoil(&p)
		if _, err := s.Driver.Start(deadline(t), p); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func reattach(t *testing.T, s Subject) {
	m, _ := s.start(t)
	settle(t, m)
	again, err := s.Again(t).Reattach(deadline(t), m.Handle())
	if err != nil {
		t.Fatal(err)
	}
	if again.Handle() != m.Handle() {
		t.Fatalf("%+v is not %+v", again.Handle(), m.Handle())
	}
	status(t, again, machine.Running)
	if code, out := try(t, again, command("echo", "hello")); code != 0 || out != "hello\n" {
		t.Fatal(code, out)
	}
	if err := again.Stop(deadline(t), patience); err != nil {
		t.Fatal(err)
	}
	done(t, m)
}

func reattachEnded(t *testing.T, s Subject) {
	m, _ := s.start(t)
	h := m.Handle()
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Again(t).Reattach(deadline(t), h); !errs.Is(err, errs.NotFound) {
		t.Fatalf("an ended machine: %v", err)
	}
	h.StartTime, h.MonitorStartTime = h.StartTime+1, h.MonitorStartTime+1
	h.PID, h.MonitorPID = os.Getpid(), os.Getpid()
	if _, err := s.Again(t).Reattach(deadline(t), h); !errs.Is(err, errs.NotFound) {
		t.Fatalf("another process of that number: %v", err)
	}
}

func reattachOther(t *testing.T, s Subject) {
	m, p := s.start(t)
	old := m.Handle()
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	m, err := s.Driver.Start(deadline(t), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Again(t).Reattach(deadline(t), old); !errs.Is(err, errs.NotFound) {
		t.Fatalf("an earlier run of the machine: %v", err)
	}
	status(t, m, machine.Running)
}

func reap(t *testing.T, s Subject) {
	m, p := s.start(t)
	for range 2 {
		if err := s.Again(t).Reap(deadline(t), p.ID, p.RunDir); err != nil {
			t.Fatal(err)
		}
	}
	done(t, m)
	fresh := s.Plan(t)
	if err := s.Driver.Reap(deadline(t), fresh.ID, fresh.RunDir); err != nil {
		t.Fatalf("nothing to reap: %v", err)
	}
}

func exitCodes(t *testing.T, s Subject) {
	m, _ := s.start(t)
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"true"}, 0},
		{[]string{"sh", "-c", "exit 7"}, 7},
		{[]string{"sh", "-c", "exit 255"}, 255},
		{[]string{"no-such-program"}, 127},
		{[]string{"/no/such/program"}, 127},
		{[]string{"/etc"}, 126},
	} {
		if code, _ := try(t, m, command(c.args...)); code != c.want {
			t.Errorf("%q: %d, want %d", c.args, code, c.want)
		}
	}
}

func streams(t *testing.T, s Subject) {
	m, _ := s.start(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("some text\n", 20000)
	go func() {
		_, _ = io.WriteString(w, text) // a short write shows in what comes back
		_ = w.Close()
	}()
	c := command("cat")
	c.Stdin = r
	code, out := try(t, m, c)
	if code != 0 || out != text {
		t.Fatalf("code %d, %d bytes", code, len(out))
	}
	if code, out := try(t, m, command("cat")); code != 0 || out != "" {
		t.Fatalf("without input: %d %q", code, out)
	}
}

func environment(t *testing.T, s Subject) {
	m, _ := s.start(t)
	c := command("env")
	c.Env = append(c.Env, "A=one two", "B=line\nline", "LD_PRELOAD=/no/such.so")
	_, out := try(t, m, c)
	for _, want := range c.Env {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("%q has no %q", out, want)
		}
	}
	if strings.Contains(out, "HOME=") {
		t.Errorf("%q has what was not given", out)
	}
	c = command("pwd")
	c.Dir = "/etc"
	if _, out := try(t, m, c); out != "/etc\n" {
		t.Errorf("in %q", out)
	}
	c.Dir, c.Env = "", append(c.Env, "HOME=/run")
	if _, out := try(t, m, c); out != "/run\n" {
		t.Errorf("at home in %q", out)
	}
}

func badCommands(t *testing.T, s Subject) {
	m, _ := s.start(t)
	dir := command("true")
	dir.Dir = "/no/such/folder"
	for what, c := range map[string]machine.Command{"nothing": command(), "empty": command(""), "NUL": command("echo", "a\x00b"), "folder": dir} {
		if _, err := m.Exec(deadline(t), c); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func signal(t *testing.T, s Subject) {
	m, _ := s.start(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT} {
		p, err := m.Exec(deadline(t), command("sleep", "1000"))
		if err != nil {
			t.Fatal(err)
		}
		if p.PID() <= 0 || p.Terminal() != nil || p.Resize(80, 25) == nil {
			t.Error("a process without a terminal")
		}
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(deadline(t)); code != 128+int(sig) || err != nil {
			t.Errorf("%v: %d %v", sig, code, err)
		}
		if err := p.Signal(sig); err != nil {
			t.Errorf("a signal to what has ended: %v", err)
		}
	}
}

func terminal(t *testing.T, s Subject) {
	m, _ := s.start(t)
	c := command("cat")
	c.Terminal, c.Width, c.Height = true, 100, 30
	p, err := m.Exec(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	tty := p.Terminal()
	if tty == nil {
		t.Fatal("no terminal")
	}
	defer tty.Close()
	if err := p.Resize(120, 40); err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(0, 40); !errs.Is(err, errs.Invalid) {
		t.Fatalf("a size of 0: %v", err)
	}
	if err := tty.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(tty, "hello\n"); err != nil {
		t.Fatal(err)
	}
	// once as the echo and once from the program, with the terminal's line ends
	expect(t, tty, "hello\r\nhello\r\n")
	if _, err := io.WriteString(tty, "\x03"); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(deadline(t)); code != 128+int(syscall.SIGINT) || err != nil {
		t.Fatalf("control-C: %d %v", code, err)
	}
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	var got bytes.Buffer
	buf := make([]byte, 256)
	for !strings.Contains(got.String(), want) {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("read %q, want %q: %v", got.String(), want, err)
		}
	}
}

func outlives(t *testing.T, s Subject) {
	m, _ := s.start(t)
	ctx, cancel := context.WithCancel(deadline(t))
	p, err := m.Exec(ctx, command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("a canceled wait: %v", err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(deadline(t)); code != 137 || err != nil {
		t.Fatal(code, err)
	}
}

func endWithMachine(t *testing.T, s Subject) {
	m, _ := s.start(t)
	p, err := m.Exec(deadline(t), command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(deadline(t)); code != 137 || err != nil {
		t.Fatal(code, err)
	}
	if _, err := m.Exec(deadline(t), command("true")); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("exec in an ended machine: %v", err)
	}
	if _, err := m.Usage(deadline(t)); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("usage of an ended machine: %v", err)
	}
}

func freeze(t *testing.T, s Subject) {
	m, _ := s.start(t)
	f, ok := m.(machine.Freezer)
	if !ok {
		t.Skip("this driver does not freeze")
	}
	for range 2 {
		if err := f.Freeze(deadline(t)); err != nil {
			t.Fatal(err)
		}
		status(t, m, machine.Frozen)
	}
	for range 2 {
		if err := f.Thaw(deadline(t)); err != nil {
			t.Fatal(err)
		}
		status(t, m, machine.Running)
	}
	if err := f.Freeze(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.Kill(deadline(t)); err != nil {
		t.Fatalf("kill what is frozen: %v", err)
	}
}

func tune(t *testing.T, s Subject) {
	m, _ := s.start(t)
	f, ok := m.(machine.Tuner)
	if !ok {
		t.Skip("this driver does not change limits")
	}
	for _, l := range []machine.Limits{
		{MemoryBytes: 256 << 20, Processes: 100}, {MemoryBytes: 64 << 20, Swap: true, CPUSet: "0"},
		{MemoryBytes: 512 << 20, CPUQuota: 50000, CPUPeriod: 100000, CPUShares: 512}, {},
	} {
		if err := f.Tune(deadline(t), l); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
