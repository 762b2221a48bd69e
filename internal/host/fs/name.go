package fs

import (
	"strings"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// clean makes a path relative to a root: "/a//b/" becomes "a/b", the root itself ".". It keeps "..", which the kernel resolves.
func clean(p string) string {
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	kept := parts[:0]
	for _, s := range parts {
		if s != "." {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return "."
	}
	return strings.Join(kept, "/")
}

// tooDeep refuses a folder that no program can name: a guest makes such by going down step by step, and walking it takes an open
// descriptor for each step.
func tooDeep(path string) error {
	if len(path) < unix.PathMax {
		return nil
	}
	return errs.Newf(errs.Invalid, "folder %.80q… has a path of %d bytes, more than the %d that programs can use: remove it inside the instance first", path, len(path), unix.PathMax-1)
}

// parent is the path of the folder that p is in.
func parent(p string) string {
	p = clean(p)
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}

// base is the last part of p.
func base(p string) string {
	p = clean(p)
	return p[strings.LastIndexByte(p, '/')+1:]
}
