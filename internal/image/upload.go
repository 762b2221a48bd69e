package image

import (
	"bufio"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

// Names of the parts of an image that comes in two.
const (
	metaPart = "metadata"
	rootPart = "rootfs"
	diskPart = "rootfs.img"
)

// Wish is what the sender of an image wants of it.
type Wish struct {
	// Fingerprint must be that of the image, unless it is "".
	Fingerprint string
	Filename    string
	Public      bool
	AutoUpdate  bool
	ExpiresAt   time.Time
	Properties  map[string]string
	Aliases     []api.ImageAlias
	// Profiles is nil when none were named.
	Profiles []string
}

// ReadWish reads the X-LXD headers of an upload.
func ReadWish(h http.Header) (w Wish, err error) {
	w.Fingerprint, w.Filename = h.Get("X-LXD-fingerprint"), h.Get("X-LXD-filename")
	w.Public = schema.IsTrue(h.Get("X-LXD-public"))
	if w.Properties, err = readProperties(h.Values("X-LXD-properties")); err != nil {
		return w, err
	}
	for _, s := range h.Values("X-LXD-profiles") {
		q, err := url.ParseQuery(s)
		if err != nil {
			return w, errs.Newf(errs.Invalid, "header X-LXD-profiles: %w", err)
		}
		w.Profiles = append(w.Profiles, q["profile"]...)
	}
	return w, nil
}

func readProperties(headers []string) (map[string]string, error) {
	props := map[string]string{}
	for _, s := range headers {
		q, err := url.ParseQuery(s)
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "header X-LXD-properties: %w", err)
		}
		for k := range q {
			props[k] = q.Get(k)
		}
	}
	return props, nil
}

// Upload is an image on its way in: its bytes are in files of their own, and nothing else is known of it yet. Discard removes
// them; an import takes over the duty to.
type Upload struct {
	Wish
	// meta is the whole of a unified image; root is "" for one.
	meta, root string
	rootName   string
	sum        hash.Hash
	size       int64
	// told is what the server that it came from says of it; origin is where to look for newer versions.
	told   api.Image
	origin *Origin
	cached bool
	// push is the invitation that it came by; nil is none.
	push *push
	// watch, if set, is put around what is read.
	watch func(io.Reader) io.Reader
	// flaw is what is wrong with the upload; the import fails with it, as clients expect errors of uploads there.
	flaw error
}

// Fingerprint is the hash of all bytes received.
func (u *Upload) fingerprint() string { return hex.EncodeToString(u.sum.Sum(nil)) }

// Discard removes the files of an upload that was not imported.
func (u *Upload) Discard() {
	for _, f := range []string{u.meta, u.root} {
		if f != "" {
			_ = os.Remove(f) // what stays is removed at the next start
		}
	}
}

// Receive takes in the body of an upload: a whole image or, when its type is multipart/form-data, one in two parts. The bytes
// go to files at once. An error means that the body could not be received; nothing is left then.
func (s *Service) Receive(r *http.Request) (u *Upload, err error) {
	u = &Upload{sum: newSum()}
	if u.Wish, err = ReadWish(r.Header); err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		err = s.receiveParts(u, r)
	} else {
		u.meta, err = s.spool(u, r.Body)
	}
	if err != nil {
		u.Discard()
		return nil, err
	}
	return u, nil
}

// receiveParts takes in the two files of a split image, in this order. Another order or name is a flaw.
func (s *Service) receiveParts(u *Upload, r *http.Request) error {
	// The reader of parts reads 4 KB at a time.
	r.Body = struct {
		io.Reader
		io.Closer
	}{bufio.NewReaderSize(r.Body, bufferSize), r.Body}
	parts, err := r.MultipartReader()
	if err != nil {
		return errs.Newf(errs.Invalid, "the upload is no proper multipart/form-data: %w", err)
	}
	for n := 1; ; n++ {
		part, err := parts.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			if n < 3 && u.flaw == nil {
				u.flaw = errs.Newf(errs.Invalid, "the upload has %d of the 2 parts of a split image: metadata, then rootfs or rootfs.img", n-1)
			}
			return nil
		case err != nil:
			return errs.Newf(errs.Invalid, "the upload ended early: %w", err)
		}
		name, file := part.FormName(), part.FileName()
		switch {
		case n == 1 && name == metaPart:
			u.meta, err = s.spool(u, part)
		case n == 2 && (name == rootPart || name == diskPart):
			u.rootName, u.Filename = name, file
			u.root, err = s.spool(u, part)
		default:
			u.flaw = errs.Newf(errs.Invalid, "part %d of the upload is named %q: a split image is metadata, then rootfs or rootfs.img", n, name)
			_, _ = io.Copy(io.Discard, r.Body) // so that the client gets to read the answer
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// spool writes a body to a file and hashes it on the way.
func (s *Service) spool(u *Upload, body io.Reader) (path string, err error) {
	f, err := os.CreateTemp(s.d.Tmp, "image-upload-")
	if err != nil {
		return "", err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			_ = os.Remove(f.Name())
			path = ""
		}
	}()
	in := &reader{r: body}
	if u.watch != nil {
		in.r = u.watch(body)
	}
	n, err := fill(f, u.sum, in)
	u.size += n
	switch {
	case in.err != nil && u.watch != nil:
		return "", in.err
	case in.err != nil:
		return "", errs.Newf(errs.Invalid, "the upload ended early, after %d bytes: %w", n, in.err)
	case err != nil && fullDisk(s.d.Tmp):
		return "", errs.Newf(errs.Unavailable, "no space left in %s for the image: free some and try again: %w", s.d.Tmp, err)
	case err != nil:
		return "", err
	}
	return f.Name(), f.Sync()
}

// Sizes of the buffers of fill, and how much it has the kernel begin to write to disk at a time.
const (
	buffers, bufferSize = 4, 256 << 10
	flushSize           = 8 << 20
)

// fill writes what it reads to a file, and hashes it meanwhile on another processor. The kernel begins early to write to disk, so that a
// Sync at the end does not take long.
func fill(f *os.File, sum hash.Hash, in *reader) (n int64, err error) {
	free, full, done := make(chan []byte, buffers), make(chan []byte, buffers), make(chan struct{})
	for range buffers {
		free <- make([]byte, bufferSize)
	}
	go func() {
		defer close(done)
		for b := range full {
			_, _ = sum.Write(b) // a hash takes everything
			free <- b[:bufferSize]
		}
	}()
	defer func() { close(full); <-done }()
	flushed := int64(0)
	for {
		b := <-free
		got, err := io.ReadFull(in, b)
		if got > 0 {
			if _, e := f.Write(b[:got]); e != nil {
				return n, e
			}
			n += int64(got)
			full <- b[:got]
		} else {
			free <- b
		}
		if n-flushed >= flushSize {
			_ = unix.SyncFileRange(int(f.Fd()), flushed, n-flushed, unix.SYNC_FILE_RANGE_WRITE) // a hint
			flushed = n
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && in.err == nil:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// reader remembers that it was the source, and not the destination, that failed.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
