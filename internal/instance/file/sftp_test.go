package file_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"lxd/internal/instance/file"
)

// connect serves a tree and is its client.
func connect(t *testing.T, tr *file.Tree) (*sftp.Client, <-chan error) {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- tr.Serve(file.Buffered(theirs, bufio.NewReader(theirs))) }()
	c, err := sftp.NewClientPipe(ours, ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, served
}

func TestSFTP(t *testing.T) {
	tr, dir := tree(t)
	c, served := connect(t, tr)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Mkdir("/d"))
	f, err := c.OpenFile("/d/f", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	must(err)
	_, err = io.WriteString(f, "hello")
	must(err)
	must(f.Close())
	if _, err := c.OpenFile("/d/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
		t.Error("made twice")
	}
	must(c.Symlink("f", "/d/l"))
	if target, err := c.ReadLink("/d/l"); target != "f" || err != nil {
		t.Error(target, err)
	}
	f, err = c.Open("/d/l")
	must(err)
	b, err := io.ReadAll(f)
	if string(b) != "hello" || err != nil {
		t.Error(b, err)
	}
	f.Close()
	if st, err := c.Lstat("/d/l"); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Error(st, err)
	}
	if st, err := c.Stat("/d/l"); err != nil || st.Size() != 5 || st.Sys().(*sftp.FileStat).UID != 0 {
		t.Error(st, err)
	}
	must(c.Chmod("/d/f", 0o600))
	must(c.Truncate("/d/f", 2))
	must(c.Chtimes("/d/f", time.Unix(5, 0), time.Unix(5, 0)))
	must(c.Chown("/d/f", 0, 0))
	if st, err := os.Stat(filepath.Join(dir, "d/f")); err != nil || st.Mode() != 0o600 || st.Size() != 2 || st.ModTime().Unix() != 5 {
		t.Error(st, err)
	}
	must(c.Link("/d/f", "/d/h"))
	if err := c.Rename("/d/h", "/d/f"); err == nil {
		t.Error("rename replaced a file")
	}
	must(c.PosixRename("/d/h", "/d/g"))
	all, err := c.ReadDir("/d")
	must(err)
	var names []string
	for _, one := range all {
		names = append(names, one.Name())
	}
	if slices.Sort(names); !slices.Equal(names, []string{"f", "g", "l"}) {
		t.Error(names)
	}
	for _, name := range []string{"/d/f", "/d/g", "/d/l", "/d"} {
		must(c.Remove(name))
	}
	must(os.Symlink("/etc", filepath.Join(dir, "out")))
	if _, err := c.Open("/out/hostname"); !errors.Is(err, os.ErrNotExist) {
		t.Error("left the root", err)
	}
	if _, err := c.Open("/../../etc/hostname"); !errors.Is(err, os.ErrNotExist) {
		t.Error("left the root", err)
	}
	must(c.Close())
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestSFTPEndsWithTheTree(t *testing.T) {
	tr, _ := tree(t)
	done := make(chan struct{})
	tr.Done = done
	_, served := connect(t, tr)
	close(done)
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
}
