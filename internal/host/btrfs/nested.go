package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// child is a subvolume right within another, at path from its top.
type child struct {
	id   uint64
	path string
}

// open opens the child, unless another folder is there by now: that is ENOENT.
func (c child) open(parent *os.File) (*os.File, error) {
	f, err := beneath(parent, c.path)
	if err != nil {
		return nil, err
	}
	id, err := idOf(f)
	if err == nil && id != c.id {
		err = &os.PathError{Op: "open", Path: f.Name(), Err: unix.ENOENT}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ID is the number of the subvolume that path is in.
func ID(path string) (uint64, error) {
	f, err := folder(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return idOf(f)
}

func idOf(f *os.File) (uint64, error) {
	a := infoArgs{}
	if err := call(f, out, opInfo, &a); err != nil {
		return 0, &os.PathError{Op: "look at subvolume", Path: f.Name(), Err: err}
	}
	return a.treeID, nil
}

// Within lists the subvolumes within the one at path, at any depth, by their paths from its top, each after the one that it is in.
func Within(path string) ([]string, error) {
	f, err := folder(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return within(f, "")
}

func within(f *os.File, prefix string) (all []string, err error) {
	children, err := childrenOf(f)
	for _, c := range children {
		sub, err := c.open(f)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		deeper, err := within(sub, filepath.Join(prefix, c.path))
		sub.Close()
		if err != nil {
			return nil, err
		}
		all = append(append(all, filepath.Join(prefix, c.path)), deeper...)
	}
	return all, err
}

// childrenOf lists the subvolumes right within the one that f is the top of.
func childrenOf(f *os.File) (all []child, err error) {
	for from := uint64(0); ; {
		a := rootRefArgs{from: from}
		err := call(f, in|out, opRootRefs, &a)
		more := errors.Is(err, unix.EOVERFLOW)
		if err != nil && !more {
			return nil, &os.PathError{Op: "list subvolumes within", Path: f.Name(), Err: err}
		}
		for _, r := range a.refs[:a.n] {
			path, err := lookup(f, r.dir, r.tree)
			if errors.Is(err, unix.ENOENT) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, err
			}
			all = append(all, child{r.tree, path})
			from = r.tree + 1
		}
		if !more || a.n == 0 {
			slices.SortFunc(all, func(a, b child) int { return int(int64(a.id) - int64(b.id)) })
			return all, nil
		}
	}
}

func lookup(f *os.File, dir, tree uint64) (string, error) {
	a := lookupArgs{dir: dir, tree: tree}
	if err := call(f, in|out, opInodeLookup, &a); err != nil {
		return "", &os.PathError{Op: "look for a subvolume within", Path: f.Name(), Err: err}
	}
	return filepath.Join(text(a.path[:]), text(a.name[:])), nil
}

// fdPath names an open folder for calls that take a path.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d/.", f.Fd()) }
