package project

import (
	"strings"

	"lxd/internal/errs"
)

const maxName = 63

// CheckName fails with Invalid on a name that a project may not have. Names become parts of paths and of host objects, so only
// letters, digits, hyphens and dots are allowed; an underscore separates project and instance in those.
func CheckName(name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "project name is missing")
	case len(name) > maxName:
		return errs.Newf(errs.Invalid, "project name %q is longer than %d characters", name, maxName)
	case name == "." || name == "..":
		return errs.Newf(errs.Invalid, "project name %q is reserved", name)
	case strings.HasPrefix(name, "-"):
		return errs.Newf(errs.Invalid, "project name %q may not start with a hyphen", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !allowed(r) }); i >= 0 {
		return errs.Newf(errs.Invalid, "project name %q has %q in it: use letters, digits, hyphens and dots", name, name[i:i+1])
	}
	return nil
}

func allowed(r rune) bool {
	return r == '-' || r == '.' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
