package fs

import "strings"

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
