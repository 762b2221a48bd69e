package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"lxd/internal/errs"
	"lxd/internal/host/run"
)

// Compression is how a stream is to be packed. The zero value packs nothing.
type Compression struct {
	method
	// level is the strength; 0 leaves it to the method.
	level int
}

// method is one way to pack.
type method struct {
	format Format
	// levels is the greatest strength.
	levels int
	// program packs what no library here can; its options begin with args.
	program string
	args    []string
}

// methods are what may be asked for. What is here is done in this process or by these programs with these options: nothing of what a client
// says becomes part of a command line but a number.
var methods = map[string]method{
	"none": {format: Tar},
	"gzip": {format: Gzip, levels: 9}, "pigz": {format: Gzip, levels: 9},
	"zstd": {format: Zstd, levels: 19}, "pzstd": {format: Zstd, levels: 19},
	"xz":    {format: XZ, levels: 9, program: xzPath, args: []string{"--compress", "--stdout", "--threads=0"}},
	"lzma":  {format: LZMA, levels: 9, program: xzPath, args: []string{"--compress", "--stdout", "--format=lzma"}},
	"bzip2": {format: Bzip2, levels: 9, program: "/usr/bin/bzip2", args: []string{"--compress", "--stdout"}},
}

// ParseCompression reads what backups.compression_algorithm and its like can be: the name of a program, and perhaps how strongly it is to
// pack ("zstd -3"). Numbers of threads are accepted and left to the server. Anything else is Invalid.
func ParseCompression(text string) (Compression, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return Compression{}, errs.Newf(errs.Invalid, "the compression is empty: choose none, gzip, zstd, xz, bzip2 or lzma")
	}
	m, ok := methods[words[0]]
	if words[0] == "squashfs" {
		return Compression{}, errs.Newf(errs.Unsupported, "compression %q is not supported by this server: choose none, gzip, zstd, xz, bzip2 or lzma", words[0])
	}
	if !ok {
		return Compression{}, errs.Newf(errs.Invalid, "compression %q is unknown: choose none, gzip, zstd, xz, bzip2 or lzma", words[0])
	}
	c := Compression{method: m}
	for _, w := range words[1:] {
		if err := c.option(words[0], w); err != nil {
			return Compression{}, err
		}
	}
	return c, nil
}

func (c *Compression) option(name, word string) error {
	switch word {
	case "--fast":
		c.level = 1
	case "--best":
		c.level = min(c.levels, 9)
	case "-n", "--no-name", "-q", "--quiet", "--rsyncable": // as it is in any case
	default:
		threads := strings.TrimPrefix(strings.TrimPrefix(word, "--threads="), "-T")
		if _, err := strconv.ParseUint(threads, 10, 8); err == nil && threads != word {
			return nil
		}
		n, err := strconv.Atoi(strings.TrimPrefix(word, "-"))
		if err != nil || !strings.HasPrefix(word, "-") || n < 1 || n > c.levels {
			return errs.Newf(errs.Invalid, "option %q of compression %q is not allowed: only a level of -1 to -%d is", word, name, c.levels)
		}
		c.level = n
	}
	return nil
}

// Format is what Writer makes of a tar archive.
func (c Compression) Format() Format {
	if c.format == "" {
		return Tar
	}
	return c.format
}

// gzipLevel is how strongly gzip packs unless somebody says otherwise: a fifth faster than the library's own choice, and a fiftieth larger.
const gzipLevel = 4

// gzipBlock is what each processor packs at a time.
const gzipBlock = 512 << 10

// Writer packs what is written to it into w. Its Close ends the stream and leaves w open; it must be called in any case.
func (c Compression) Writer(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	switch {
	case c.program != "":
		return c.child(ctx, w)
	case c.format == Gzip:
		level := c.level
		if level == 0 {
			level = gzipLevel
		}
		z, err := pgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(gzipBlock, 4)
	case c.format == Zstd:
		level := zstd.SpeedDefault
		if c.level != 0 {
			level = zstd.EncoderLevelFromZstd(c.level)
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(level))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// child runs the program that packs.
func (c Compression) child(ctx context.Context, w io.Writer) (io.WriteCloser, error) {
	if _, err := os.Stat(c.program); err != nil {
		return nil, errs.Newf(errs.Unavailable, "%s, which packs this, is not installed: install it, or choose gzip or zstd", c.program)
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), in.Close())
	}
	args := c.args
	if c.level != 0 {
		args = append(args[:len(args):len(args)], "-"+strconv.Itoa(c.level))
	}
	p, err := run.Spawn(run.Call{Path: c.program, Args: args, Stdin: stdin, Stdout: stdout})
	err = errors.Join(err, stdin.Close(), stdout.Close())
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	k := &childWriter{File: in, ctx: ctx, child: p, done: make(chan error, 1)}
	go func() {
		_, err := io.Copy(w, out)
		if err != nil {
			_ = p.Kill() // nobody takes what it says
		}
		k.done <- errors.Join(err, out.Close())
	}()
	return k, nil
}

// childWriter is the input of a child that packs.
type childWriter struct {
	*os.File
	ctx   context.Context
	child *run.Child
	done  chan error
}

// Close waits until all that the child has to say is written.
func (c *childWriter) Close() error {
	if err := c.File.Close(); err != nil {
		return err // it was closed before
	}
	stop := context.AfterFunc(c.ctx, func() { _ = c.child.Kill() })
	defer stop()
	err := <-c.done
	code, e := c.child.Wait(context.WithoutCancel(c.ctx))
	if err == nil && e == nil && code != 0 {
		e = fmt.Errorf("the program that packs failed with exit code %d", code)
	}
	return errors.Join(err, e)
}
