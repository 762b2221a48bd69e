package app

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

func TestDirectoryIsHeldByOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDirectory(dir); !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "upload"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err = openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if e, _ := os.ReadDir(d.join("tmp")); len(e) != 0 {
		t.Error("tmp was not emptied")
	}
	for name, mode := range map[string]os.FileMode{"": 0o711, "database": 0o700, "storage-pools": 0o711} {
		if fi, err := os.Stat(d.join(name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%q: %v %v", name, fi.Mode(), err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := listenUnix(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 || fi.Mode()&os.ModeSocket == 0 {
		t.Error(fi.Mode(), err)
	}
	if _, err := listenUnix(path, "no-such-group-here"); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if _, err := listenUnix(filepath.Join(dir, strings.Repeat("x", 110)), ""); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// TestHandedOver: a socket that systemd listens on stays its own, and connections to it are served.
func TestHandedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "unix.socket")
	var first uintptr
	for i, at := range []string{path, filepath.Join(dir, "other")} {
		outer, err := net.Listen("unix", at)
		if err != nil {
			t.Fatal(err)
		}
		defer outer.Close()
		f, err := outer.(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if i == 0 {
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 400)
			if err != nil {
				t.Fatal(err)
			}
			first = uintptr(fd)
		} else if err := unix.Dup3(int(f.Fd()), int(first)+1, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("LISTEN_FDS", "2")
	t.Setenv("LISTEN_PID", "1")
	if l, err := handedOver(path, first); l != nil || err != nil {
		t.Fatal("they are another process's", l, err)
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	l, err := handedOver(path, first)
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Error("nobody took the connection", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil || os.Getenv("LISTEN_PID") != "" {
		t.Error("the socket has gone, or is handed on", err)
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "many")
	if _, err := handedOver(path, first); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
