package archive

import (
	"archive/tar"
	"bufio"
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

// maxWindow bounds the memory that a packed file can ask for; the strongest usual settings need half of it.
const maxWindow = 128 << 20

// Reader is an open tar archive.
type Reader struct {
	*tar.Reader
	packed  *counter
	stream  io.Reader // the tar archive itself
	closers []func() error
}

// Open reads a tar archive of any compression from a file, at its beginning, or a stream. Close ends what unpacks it; src stays open.
func Open(ctx context.Context, src io.Reader) (*Reader, error) {
	a := &Reader{packed: &counter{}}
	format, err := a.begin(src)
	if err == nil {
		err = a.unpack(ctx, format)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// OpenFile reads the tar archive at path, which must be trusted. Close closes the file too.
func OpenFile(ctx context.Context, path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a, err := Open(ctx, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a.closers = append([]func() error{f.Close}, a.closers...)
	return a, nil
}

// begin finds out the format.
func (a *Reader) begin(src io.Reader) (Format, error) {
	if f, ok := src.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			a.packed.r, a.packed.file = f, f
			return FormatOf(f)
		}
	}
	b := bufio.NewReaderSize(src, 64<<10)
	a.packed.r = b
	head, err := b.Peek(magicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return known(head)
}

func (a *Reader) unpack(ctx context.Context, format Format) error {
	r, err := a.plain(ctx, format)
	if err != nil {
		if errs.KindOf(err) != errs.Internal {
			return err
		}
		return errs.Newf(errs.Invalid, "the %s file is damaged: %w", format, err)
	}
	a.Reader, a.stream = tar.NewReader(r), r
	return nil
}

// packedSize is how much of a packed file is read at a time.
const packedSize = 128 << 10

// maxPadding is the most that may follow the end of a tar archive: programs fill up a record, some a megabyte.
const maxPadding = 16 << 20

// Rest reads what follows the end of the tar archive, so that the check sum of the compression is looked at: a file that was cut
// short there may lack only that.
func (a *Reader) Rest() error {
	n, err := io.Copy(io.Discard, io.LimitReader(a.stream, maxPadding+1))
	if err == nil && n > maxPadding {
		return errs.Newf(errs.Invalid, "more than %d MiB follow the end of the archive", maxPadding>>20)
	}
	return err
}

// plain is the archive without its compression.
func (a *Reader) plain(ctx context.Context, format Format) (io.Reader, error) {
	switch format {
	case Tar:
		return a.packed, nil
	case Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(a.packed, packedSize))
		if err != nil {
			return nil, err
		}
		r := readAhead(z)
		a.closers = append(a.closers, r.close)
		return r, nil
	case Bzip2:
		return bzip2.NewReader(a.packed), nil
	case Zstd:
		z, err := zstd.NewReader(a.packed, zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			a.closers = append(a.closers, func() error { z.Close(); return nil })
		}
		return z, err
	case XZ:
		return a.xz(ctx)
	case LZMA:
		return a.lzma()
	}
	return nil, errs.Newf(errs.Invalid, "a %s file is no tar archive", format)
}

// xzPath is the program that unpacks xz several times faster than the library can.
const xzPath = "/usr/bin/xz"

func (a *Reader) xz(ctx context.Context) (io.Reader, error) {
	if _, err := os.Stat(xzPath); err != nil {
		return xz.ReaderConfig{DictCap: maxWindow}.NewReader(a.packed)
	}
	stdin, err := a.source()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	child, err := run.Spawn(run.Call{
		Path: xzPath, Args: []string{"--decompress", "--stdout", "--threads=2", "--memlimit-decompress=512MiB"}, Stdin: stdin, Stdout: w,
	})
	_ = w.Close()
	if stdin != a.packed.file {
		_ = stdin.Close()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	c := &childReader{ctx: ctx, r: r, child: child, packed: a.packed}
	a.closers = append(a.closers, c.close)
	return c, nil
}

// source is the packed bytes as a file that a child can read: the file itself, from whose offset can be seen how far the child is, or a
// pipe that is fed until the child has enough.
func (a *Reader) source() (*os.File, error) {
	if a.packed.file != nil {
		a.packed.shared = true
		return a.packed.file, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = io.Copy(w, a.packed) // a failure of the source is noted there; that the child went away is its own business
		_ = w.Close()               // the child ends with it
	}()
	a.closers = append(a.closers, func() error { <-fed; return nil })
	return r, nil
}

// lzmaHeader is the properties, the size of the dictionary, and the size of the content.
const lzmaHeader = 13

func (a *Reader) lzma() (io.Reader, error) {
	head := make([]byte, lzmaHeader)
	if _, err := io.ReadFull(a.packed, head); err != nil {
		return nil, err
	}
	if dict := binary.LittleEndian.Uint32(head[1:]); dict > maxWindow {
		return nil, errs.Newf(errs.Invalid, "the lzma file needs a dictionary of %d bytes: at most %d are allowed", dict, maxWindow)
	}
	return lzma.NewReader(io.MultiReader(bytes.NewReader(head), a.packed))
}

// Close ends the child. A stream that a child reads must come to its end, or fail, for that.
func (a *Reader) Close() (err error) {
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	a.closers = nil
	return err
}

// At is how many bytes of the packed file were read.
func (a *Reader) At() int64 { return a.packed.at() }

// childReader is the output of a child; a child that fails makes the end an error.
type childReader struct {
	ctx    context.Context
	r      *os.File
	child  *run.Child
	packed *counter
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
	if err := c.packed.failure(); err != nil {
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
	r io.Reader
	n atomic.Int64
	// file is set when the source is a plain file; shared says that another process reads it.
	file   *os.File
	shared bool
	failed atomic.Pointer[error]
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed.Store(&err)
	}
	return n, err
}

// failure is what went wrong with the source.
func (c *counter) failure() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// at is how many bytes of the file were read.
func (c *counter) at() int64 {
	if c.shared {
		if n, err := c.file.Seek(0, io.SeekCurrent); err == nil {
			return n
		}
	}
	return c.n.Load()
}
