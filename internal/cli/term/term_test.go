package term_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/cli/term"
)

// terminal is a new pseudo terminal: its user's side and the side of the program.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("the pseudo terminal cannot be opened: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

func TestRaw(t *testing.T) {
	user, program := terminal(t)
	if !term.Is(program) {
		t.Fatal("a terminal was not recognised")
	}
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	restore, err := term.Raw(program)
	if err != nil {
		t.Fatal(err)
	}
	// Ctrl+C reaches the program as a key, at once, without a newline.
	if _, err := user.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 1)
	if _, err := program.Read(key); err != nil || key[0] != 3 {
		t.Errorf("got %v, %v", key, err)
	}
	restore()
	after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal was not put back: %+v, %v", after, err)
	}
}

func TestSize(t *testing.T) {
	user, program := terminal(t)
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 99, Row: 33}); err != nil {
		t.Fatal(err)
	}
	if columns, rows := term.Size(program); columns != 99 || rows != 33 {
		t.Errorf("got %d, %d", columns, rows)
	}
}

func TestNoTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if term.Is(f) || term.Is(&bytes.Buffer{}) {
		t.Error("no terminal was taken for one")
	}
	if columns, rows := term.Size(f); columns != 0 || rows != 0 {
		t.Error("no terminal has a size")
	}
	if _, err := term.Raw(f); err == nil {
		t.Error("no terminal was put into raw mode")
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := term.Progress{Out: &out}
	p.Clear()
	p.Show("working: 10%")
	p.Show("done")
	p.Clear()
	if want := "\rworking: 10%\rdone        \r    \r"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	var silent term.Progress
	silent.Show("x") // must not need a terminal
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"plain text\n\tünïcode ✓":     "plain text\n\tünïcode ✓",
		"\x1b[2Jgone\r\x07\u009b\x7f": "\ufffd[2Jgone\ufffd\ufffd\ufffd\ufffd",
		"a\u202eb":                    "a\ufffdb",
	} {
		if got := term.Plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
