package lxc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
	"lxd/internal/host/fs"
	"lxd/internal/machine"
)

// settle makes the places that mounts go to, inside the root file system, and returns the mounts with targets that pass no symbolic
// link. liblxc would follow the container's links, and make what is missing, in the host's file system.
func settle(p machine.Plan) ([]machine.Mount, error) {
	root, err := fs.OpenRoot(p.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	mounts := slices.Clone(p.Mounts)
	for i, m := range mounts {
		mounts[i].Target = strings.TrimPrefix(filepath.Clean(m.Target), "/")
		if fresh(mounts[i].Target) {
			continue
		}
		t := target{root: root, uid: owner(p)}
		if mounts[i].Target, err = t.settle(mounts[i]); err != nil {
			return nil, errs.Newf(errs.Invalid, "cannot mount at %s in the instance: %w", m.Target, err)
		}
	}
	return mounts, nil
}

// reachable checks that a container's root, who is nobody on the host, can get to what it mounts by itself: all but an id-mapped root.
func reachable(p machine.Plan) error {
	if len(p.IDMap) == 0 {
		return nil
	}
	if err := passable(p.RunDir, owner(p)); err != nil || !p.RootShifted {
		return err
	}
	return passable(p.Root, owner(p))
}

func passable(path string, uid int) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if st.Mode&0o001 == 0 && (uid == 0 || int(st.Uid) != uid) {
			return fmt.Errorf("the folder %s (mode %04o) is closed to others, among them the root of containers: run `chmod o+x %s`", dir, st.Mode&0o7777, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}

// fresh tells of places in what liblxc mounts itself at each start, where the container has put nothing yet.
func fresh(path string) bool {
	first, rest, _ := strings.Cut(path, "/")
	return rest != "" && (first == "dev" || first == "proc" || first == "sys")
}

// owner is the host's id of the container's root, for what is made on disk.
func owner(p machine.Plan) int {
	for _, r := range p.IDMap {
		if r.Inside == 0 && p.RootShifted {
			return int(r.Host)
		}
	}
	return 0
}

// target makes one place.
type target struct {
	root *fs.Root
	uid  int
}

func (t target) settle(m machine.Mount) (string, error) {
	if slices.Contains(m.Options, "create=dir") || slices.Contains(m.Options, "create=file") {
		if err := t.make(m.Target, slices.Contains(m.Options, "create=file")); err != nil {
			return "", err
		}
	}
	top, err := t.real(".")
	if err != nil {
		return "", err
	}
	at, err := t.real(m.Target)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(top, at)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is the root itself or outside of it", m.Target)
	}
	if fresh(rel + "/x") {
		return "", fmt.Errorf("%s leads to %s", m.Target, rel)
	}
	return rel, nil
}

// make makes the folders on the way, and the last one or the file.
func (t target) make(path string, file bool) error {
	parts := strings.Split(path, "/")
	for i := range parts {
		at := strings.Join(parts[:i+1], "/")
		f, err := t.root.Open(at)
		if err == nil {
			if err := f.Close(); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if f, err = t.create(at, file && i == len(parts)-1); err != nil {
			return err
		}
		if err := errors.Join(f.Chown(t.uid, t.uid), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (t target) create(path string, file bool) (*os.File, error) {
	if file {
		return t.root.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	}
	if err := t.root.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return t.root.Open(path)
}

// real asks the kernel where path has led to.
func (t target) real(path string) (string, error) {
	f, err := t.root.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
