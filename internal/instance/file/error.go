package file

import (
	"errors"

	"golang.org/x/sys/unix"

	"lxd/internal/errs"
)

// classify tells what the caller can do something about from what is the host's trouble. Paths are the caller's words, and what is
// missing is missing inside the instance.
func classify(p string, err error) error {
	if err == nil || errs.KindOf(err) != errs.Internal {
		return err
	}
	number, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return err
	}
	switch number {
	case unix.ENOENT:
		return errs.Newf(errs.NotFound, "%s: no such file or directory in the instance", p)
	case unix.EACCES, unix.EPERM:
		return errs.Newf(errs.Forbidden, "%s: the instance's root may not do that, or it is not a file on disk: %w", p, err)
	case unix.EISDIR, unix.ENOTDIR, unix.ENOTEMPTY, unix.ELOOP, unix.EEXIST, unix.ENAMETOOLONG, unix.EINVAL, unix.EBUSY, unix.EROFS,
		unix.ETXTBSY, unix.EXDEV, unix.ENXIO:
		return errs.Newf(errs.Invalid, "%s: %s", p, number.Error())
	case unix.ESTALE, unix.EAGAIN:
		return errs.Newf(errs.Unavailable, "%s: it was changed from inside at the same time: try again", p)
	case unix.ENOSPC, unix.EDQUOT:
		return errs.Newf(errs.Unavailable, "%s: %s: make room in the instance, or raise the size of its root disk", p, number.Error())
	}
	return err
}
