package harness

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a program that runs on a terminal of its own, with somebody typing.
type Terminal struct {
	t      testing.TB
	master *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	text strings.Builder
	seen int
}

// OnTerminal starts c on a new terminal of that size.
func OnTerminal(t testing.TB, c *exec.Cmd, columns, rows uint16) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	x := &Terminal{t: t, master: master, cmd: c}
	x.control("unlock the terminal", func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0) })
	number := 0
	x.control("number of the terminal", func(fd int) (err error) { number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); return err })
	x.Resize(columns, rows)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	c.Env = append(c.Env, "TERM=dumb")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	t.Cleanup(func() { _ = c.Process.Kill(); _ = master.Close() })
	return x
}

func (x *Terminal) control(what string, f func(fd int) error) {
	x.t.Helper()
	raw, err := x.master.SyscallConn()
	if err == nil {
		if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
			err = e
		}
	}
	if err != nil {
		x.t.Fatalf("%s: %v", what, err)
	}
}

func (x *Terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := x.master.Read(b)
		x.mu.Lock()
		x.text.Write(b[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Resize changes the size, of which the program is told.
func (x *Terminal) Resize(columns, rows uint16) {
	x.t.Helper()
	x.control("resize the terminal", func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
}

// Type sends keys.
func (x *Terminal) Type(keys string) {
	x.t.Helper()
	if _, err := x.master.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// Close takes the terminal away, as when its window is closed.
func (x *Terminal) Close() { _ = x.master.Close() }

// Expect waits until the text appears, after that of the last Expect.
func (x *Terminal) Expect(want string) {
	x.t.Helper()
	rest := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		x.mu.Lock()
		rest = x.text.String()[x.seen:]
		if i := strings.Index(rest, want); i >= 0 {
			x.seen += i + len(want)
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
	}
	x.t.Fatalf("%q never came, only %q", want, rest)
}

// Wait waits for the program's end and returns its exit code.
func (x *Terminal) Wait() int {
	x.t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = x.cmd.Wait() }()
	select {
	case <-ended:
		return x.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		x.t.Fatal("the program does not end")
		return -1
	}
}
