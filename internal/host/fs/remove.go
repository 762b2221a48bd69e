package fs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxDepth is how deep RemoveAll goes before it moves a folder up, so that no depth of nesting runs it out of descriptors.
const maxDepth = 64

// RemoveAll removes the file, link or tree at path, whose folder must be trusted. It follows no symbolic link and enters no mount:
// one below path is an error that names it, and stays. A missing path is no error.
func RemoveAll(path string) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	defer unix.Close(dir)
	err = unlink(dir, filepath.Base(path), 0)
	if !errors.Is(err, unix.EISDIR) {
		return wrapRemove(path, err)
	}
	return wrapRemove(path, removeTree(dir, filepath.Base(path)))
}

func wrapRemove(path string, err error) error {
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("remove %s: something is mounted in it: unmount that first: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// removeTree removes the folder top in dir; folders that lie too deep were moved to its top and are found in a further round.
func removeTree(dir int, top string) error {
	root, err := openat2(dir, top, strictFolder())
	if err != nil {
		return missing(err)
	}
	defer unix.Close(root)
	r := remover{root: root}
	for {
		moved := r.moved
		if err := r.empty(root, 0); err != nil {
			return err
		}
		if moved == r.moved {
			return missing(unlink(dir, top, unix.AT_REMOVEDIR))
		}
	}
}

type remover struct {
	root  int
	moved int
}

// empty removes all that is in the open folder fd.
func (r *remover) empty(fd, depth int) error {
	for {
		entries, err := list(fd, 1024)
		if err != nil || len(entries) == 0 {
			return missing(err)
		}
		before := r.moved
		for _, e := range entries {
			if err := r.remove(fd, depth, e); err != nil {
				return err
			}
		}
		if depth == 0 && r.moved != before {
			return nil // the top holds folders that were moved up: begin anew
		}
	}
}

func (r *remover) remove(fd, depth int, e os.DirEntry) error {
	if !e.IsDir() {
		err := unlink(fd, e.Name(), 0)
		if !errors.Is(err, unix.EISDIR) {
			return missing(err)
		}
	}
	if depth >= maxDepth {
		r.moved++
		// by a name that whoever filled the tree could not foresee, and occupy
		return unix.Renameat2(fd, e.Name(), r.root, ".deep-"+rand.Text(), unix.RENAME_NOREPLACE)
	}
	sub, err := openat2(fd, e.Name(), strictFolder())
	if err != nil {
		return missing(err)
	}
	err = r.empty(sub, depth+1)
	unix.Close(sub)
	if err != nil {
		return err
	}
	return missing(unlink(fd, e.Name(), unix.AT_REMOVEDIR))
}

// list reads up to n entries from the start of the open folder.
func list(fd, n int) ([]os.DirEntry, error) {
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(own), ".")
	defer d.Close()
	entries, err := d.ReadDir(n)
	if err == io.EOF {
		err = nil
	}
	return entries, err
}

func unlink(dir int, name string, flags int) error {
	for {
		if err := unix.Unlinkat(dir, name, flags); !errors.Is(err, unix.EINTR) {
			return missing(err)
		}
	}
}

// missing makes "is not there" no error: somebody else was quicker.
func missing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
