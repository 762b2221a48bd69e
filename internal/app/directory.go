package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lxd/internal/errs"
)

// directory is the state of one daemon, held by a lock while it runs.
type directory struct {
	path string
	lock *os.File
}

// parts are the folders below the state directory with their modes. Containers must be able to pass through storage-pools.
var parts = []struct {
	name string
	mode os.FileMode
}{
	{"", 0o711}, {"backups", 0o700}, {"volume-backups", 0o700}, {"database", 0o700}, {"images", 0o700}, {"storage-pools", 0o711}, {"networks", 0o711},
	{"run", 0o711}, {"logs", 0o700}, {"tmp", 0o700},
}

// openDirectory makes the folders and takes the lock. It fails with Conflict while another daemon holds it.
func openDirectory(path string) (*directory, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := os.MkdirAll(filepath.Join(path, p.name), p.mode); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
		if err := os.Chmod(filepath.Join(path, p.name), p.mode); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	d := &directory{path: path}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	return d, errors.Join(d.emptyTmp())
}

func (d *directory) acquire() error {
	f, err := os.OpenFile(filepath.Join(d.path, "lxd.lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b := make([]byte, 32)
		n, _ := f.Read(b)
		f.Close()
		return errs.Newf(errs.Conflict, "another daemon (process %s) uses %s: stop it with \"lxd shutdown\", or set LXD_DIR to another folder",
			strings.TrimSpace(string(b[:n])), d.path)
	}
	d.lock = f
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return err
}

// emptyTmp removes what uploads left that a crash cut short.
func (d *directory) emptyTmp() error {
	entries, err := os.ReadDir(d.join("tmp"))
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(d.join("tmp", e.Name())))
	}
	return err
}

func (d *directory) join(name ...string) string {
	return filepath.Join(append([]string{d.path}, name...)...)
}

// close gives the lock back. It is not left to the closing of the file: a child that is just being started holds that too, for a moment.
func (d *directory) close() error {
	return errors.Join(syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close())
}
