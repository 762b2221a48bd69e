// Package archive packs and unpacks tar archives of any compression, as streams.
package archive

import (
	"bytes"
	"errors"
	"io"
	"os"

	"lxd/internal/errs"
)

// Format is how a file is packed.
type Format string

// Formats; their values are the extensions that exports have.
const (
	Tar      Format = ".tar"
	Gzip     Format = ".tar.gz"
	Bzip2    Format = ".tar.bz2"
	XZ       Format = ".tar.xz"
	LZMA     Format = ".tar.lzma"
	Zstd     Format = ".tar.zst"
	Squashfs Format = ".squashfs"
	QCOW2    Format = ".qcow2"
)

// magicSize is how much of a file tells its format.
const magicSize = 512

var magics = []struct {
	at     int
	bytes  string
	format Format
}{
	{0, "BZ", Bzip2}, {0, "\x1f\x8b", Gzip}, {0, "\xfd7zXZ", XZ}, {1, "7zXZ", LZMA}, {0, "\x5d\x00\x00", LZMA},
	{257, "ustar", Tar}, {0, "hsqs", Squashfs}, {0, "QFI", QCOW2}, {0, "\x28\xb5\x2f\xfd", Zstd},
}

// Detect tells the format from the first bytes of a file, "" if it is none that is known.
func Detect(head []byte) Format {
	for _, m := range magics {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.bytes)) {
			return m.format
		}
	}
	return ""
}

// FormatOf detects the format of a file and leaves it at its beginning.
func FormatOf(f *os.File) (Format, error) {
	head := make([]byte, magicSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return known(head[:n])
}

func known(head []byte) (Format, error) {
	if len(head) == 0 {
		return "", errs.Newf(errs.Invalid, "the file is empty")
	}
	format := Detect(head)
	if format == "" {
		return "", errs.Newf(errs.Invalid,
			"the file is of no known format: it must be a tar archive (plain or packed with gzip, bzip2, xz, lzma, zstd), squashfs or qcow2")
	}
	return format, nil
}
