package image

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"lxd/internal/errs"
	"lxd/internal/host/run"
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

// Detect tells the format from the first bytes of a file, "" if it is none that images come in.
func Detect(head []byte) Format {
	for _, m := range magics {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.bytes)) {
			return m.format
		}
	}
	return ""
}

// formatOf detects the format of a file and leaves it at its beginning.
func formatOf(f *os.File) (Format, error) {
	head := make([]byte, magicSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if n == 0 {
		return "", errs.Newf(errs.Invalid, "the file is empty")
	}
	format := Detect(head[:n])
	if format == "" {
		return "", errs.Newf(errs.Invalid,
			"the file is of no known format: images are tar archives (plain or packed with gzip, bzip2, xz, lzma, zstd), squashfs or qcow2")
	}
	return format, nil
}

// maxWindow bounds the memory that a packed file can ask for; the strongest usual settings need half of it.
const maxWindow = 128 << 20

// archive is an open tar archive.
type archive struct {
	*tar.Reader
	file    *counter
	stream  io.Reader // the tar archive itself
	closers []func() error
}

// openArchive opens a tar archive of any compression. Close ends what unpacks it.
func openArchive(ctx context.Context, path string) (*archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &archive{file: &counter{r: f}, closers: []func() error{f.Close}}
	format, err := formatOf(f)
	if err == nil {
		err = a.unpack(ctx, f, format)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *archive) unpack(ctx context.Context, f *os.File, format Format) error {
	r, err := a.plain(ctx, f, format)
	if err != nil {
		if errs.KindOf(err) != errs.Internal {
			return err
		}
		return errs.Newf(errs.Invalid, "the %s file is damaged: %w", format, err)
	}
	a.Reader, a.stream = tar.NewReader(r), r
	return nil
}

// maxPadding is the most that may follow the end of a tar archive: programs fill up a record, some a megabyte.
const maxPadding = 16 << 20

// rest reads what follows the end of the tar archive, so that the check sum of the compression is looked at: a file that was cut
// short there may lack only that.
func (a *archive) rest() error {
	n, err := io.Copy(io.Discard, io.LimitReader(a.stream, maxPadding+1))
	if err == nil && n > maxPadding {
		return errs.Newf(errs.Invalid, "more than %d MiB follow the end of the archive", maxPadding>>20)
	}
	return err
}

// plain is the archive without its compression.
func (a *archive) plain(ctx context.Context, f *os.File, format Format) (io.Reader, error) {
	switch format {
	case Tar:
		return a.file, nil
	case Gzip:
		return gzip.NewReader(a.file)
	case Bzip2:
		return bzip2.NewReader(a.file), nil
	case Zstd:
		z, err := zstd.NewReader(a.file, zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			a.closers = append(a.closers, func() error { z.Close(); return nil })
		}
		return z, err
	case XZ:
		return a.xz(ctx, f)
	case LZMA:
		return a.lzma()
	}
	return nil, errs.Newf(errs.Invalid, "a %s file is not an archive: it can only be the rootfs of a split image", format)
}

// xzPath is the program that unpacks xz several times faster than the library can.
const xzPath = "/usr/bin/xz"

func (a *archive) xz(ctx context.Context, f *os.File) (io.Reader, error) {
	if _, err := os.Stat(xzPath); err != nil {
		return xz.ReaderConfig{DictCap: maxWindow}.NewReader(a.file)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// The child reads through the same open file, so how far it is can be seen from the file's offset.
	a.file.offsetOf = f
	child, err := run.Spawn(run.Call{
		Path: xzPath, Args: []string{"--decompress", "--stdout", "--threads=2", "--memlimit-decompress=512MiB"}, Stdin: f, Stdout: w,
	})
	_ = w.Close()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	c := &childReader{ctx: ctx, r: r, child: child}
	a.closers = append(a.closers, c.close)
	return c, nil
}

// lzmaHeader is the properties, the size of the dictionary, and the size of the content.
const lzmaHeader = 13

func (a *archive) lzma() (io.Reader, error) {
	head := make([]byte, lzmaHeader)
	if _, err := io.ReadFull(a.file, head); err != nil {
		return nil, err
	}
	if dict := binary.LittleEndian.Uint32(head[1:]); dict > maxWindow {
		return nil, errs.Newf(errs.Invalid, "the lzma file needs a dictionary of %d bytes: at most %d are allowed", dict, maxWindow)
	}
	return lzma.NewReader(io.MultiReader(bytes.NewReader(head), a.file))
}

// Close ends the child and closes the file.
func (a *archive) Close() (err error) {
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	a.closers = nil
	return err
}

// childReader is the output of a child; a child that fails makes the end an error.
type childReader struct {
	ctx   context.Context
	r     *os.File
	child *run.Child
}

func (c *childReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return 0, err
	}
	code, err := c.child.Wait(c.ctx)
	if err != nil {
		return 0, err
	}
	if code != 0 {
		return 0, fmt.Errorf("xz found it damaged or cut short (exit code %d)", code)
	}
	return 0, io.EOF
}

func (c *childReader) close() error {
	err := c.child.Kill()
	_, _ = c.child.Wait(context.WithoutCancel(c.ctx)) // a killed child ends
	return errors.Join(err, c.r.Close())
}

// counter counts what is read of a file, perhaps by another goroutine than the one that asks.
type counter struct {
	r        io.Reader
	n        atomic.Int64
	offsetOf *os.File // where another process does the reading
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// at is how many bytes of the file were read.
func (c *counter) at() int64 {
	if c.offsetOf != nil {
		if n, err := c.offsetOf.Seek(0, io.SeekCurrent); err == nil {
			return n
		}
	}
	return c.n.Load()
}
