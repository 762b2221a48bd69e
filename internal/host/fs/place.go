package fs

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// replacing runs mk; if its name is taken by anything but a folder, that is removed first, never written through.
func replacing(dir int, base string, mk func() error) error {
	err := mk()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if e := unix.Unlinkat(dir, base, 0); e != nil {
		return e
	}
	return mk()
}

// makeFolder makes a folder that only we can enter yet, or keeps the one that is there.
func makeFolder(dir int, base string) error {
	err := unix.Mkdirat(dir, base, 0o700)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	if err := unix.Unlinkat(dir, base, 0); err != nil {
		return err
	}
	return unix.Mkdirat(dir, base, 0o700)
}

// block is the smallest hole that is worth leaving out.
const block = 4096

// writeAt writes b at the offset; in a sparse file whole blocks of zeros are left out. end is where what was written ends, 0 if nothing was.
func writeAt(fd int, b []byte, at int64, sparse bool) (end int64, err error) {
	for len(b) > 0 {
		n := len(b)
		if sparse {
			hole, data := leading(b)
			b, at, n = b[hole:], at+int64(hole), data
			if n == 0 {
				continue
			}
		}
		w, err := unix.Pwrite(fd, b[:n], at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return end, err
		}
		b, at = b[w:], at+int64(w)
		end = at
	}
	return end, nil
}

// leading is how many bytes of whole blocks of zeros b begins with, and how many bytes of data follow those.
func leading(b []byte) (hole, data int) {
	for hole < len(b) && empty(b[hole:min(hole+block, len(b))]) {
		hole = min(hole+block, len(b))
	}
	for end := hole; end < len(b) && !empty(b[end:min(end+block, len(b))]); end += block {
		data = min(end+block, len(b)) - hole
	}
	return hole, data
}

// zeros is an empty block.
var zeros = bytes.Repeat([]byte{0}, block)

func empty(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }
