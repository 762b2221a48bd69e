package simplestreams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"lxd/api"
)

// ErrNotFound is why a server has no image of that name.
var ErrNotFound = errors.New("not found on the image server")

// Bounds of what a server may send.
const (
	// maxDocument is the most that an index or a file of products may hold, and maxTotal what all of a server may; the largest in use hold
	// a quarter.
	maxDocument, maxTotal = 96 << 20, 160 << 20
	// maxStreams is the most files of products that are read.
	maxStreams = 64
	// patience is how long one document may take.
	patience = 2 * time.Minute
)

// Server is one image server. It may be used by several goroutines at a time, and remembers what it has read: it asks the server each
// time whether that is still so, which costs little.
type Server struct {
	base string
	http *http.Client
	arch string

	mu    sync.Mutex
	pages map[string]*page
	now   *catalog
}

// page is a document as it was last read.
type page struct {
	etag, modified string
	body           []byte
}

// New makes a client of the server at base, an https address. Names of images stand for those of the architecture arch (such as "x86_64"),
// and hc does the requests.
func New(base, arch string, hc *http.Client) (*Server, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("image server address %q is not of the form https://HOST/PATH", base)
	}
	return &Server{base: strings.TrimSuffix(u.String(), "/") + "/", http: hc, arch: arch, pages: map[string]*page{}}, nil
}

// Images lists what the server offers, the newest first.
func (s *Server) Images(ctx context.Context) ([]Image, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.images), nil
}

// Aliases lists the names that images have, in order.
func (s *Server) Aliases(ctx context.Context) ([]api.ImageAliasesEntry, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.aliases), nil
}

// Find finds an image by its name for instances of that type ("" is container), or by the beginning of its fingerprint. ErrNotFound says
// that there is none.
func (s *Server) Find(ctx context.Context, name, typ string) (Image, error) {
	c, err := s.catalog(ctx)
	if err != nil {
		return Image{}, err
	}
	if typ == "" {
		typ = string(api.InstanceTypeContainer)
	}
	if at, ok := c.targets[[2]string{typ, name}]; ok {
		return c.images[at], nil
	}
	found := -1
	for at := range c.images {
		if len(name) < 12 || !strings.HasPrefix(c.images[at].Fingerprint, name) {
			continue
		}
		if found >= 0 {
			return Image{}, fmt.Errorf("several images of %s have a fingerprint that begins with %q: give more digits", s.base, name)
		}
		found = at
	}
	if found < 0 {
		return Image{}, fmt.Errorf("image %q for a %s on %s: %w", name, typ, s.base, ErrNotFound)
	}
	return c.images[found], nil
}

// catalog is what the server offers now.
func (s *Server) catalog(ctx context.Context) (*catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.now == nil
	fresh, err := s.fetch(ctx, indexPath)
	if err != nil {
		return nil, err
	}
	var in index
	if err := decode(s.base+indexPath, s.pages[indexPath].body, &in); err != nil {
		return nil, err
	}
	changed = changed || fresh
	paths := in.paths()
	if len(paths) > maxStreams {
		return nil, fmt.Errorf("image server %s has more than %d files of products", s.base, maxStreams)
	}
	maps.DeleteFunc(s.pages, func(path string, _ *page) bool { return path != indexPath && !slices.Contains(paths, path) })
	for _, path := range paths {
		fresh, err := s.fetch(ctx, path)
		if err != nil {
			return nil, err
		}
		changed = changed || fresh
	}
	if changed {
		s.now, err = s.parse(paths)
	}
	return s.now, err
}

// paths are the files of products that tell of images.
func (in index) paths() (all []string) {
	for _, st := range in.Index {
		if st.Datatype == imageDownloads && len(st.Products) > 0 && below(st.Path) && st.Path != indexPath {
			all = append(all, st.Path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *Server) parse(paths []string) (*catalog, error) {
	var images []Image
	for _, path := range paths {
		var p products
		if err := decode(s.base+path, s.pages[path].body, &p); err != nil {
			return nil, err
		}
		images = append(images, p.images()...)
	}
	return newCatalog(images, s.arch), nil
}

// room is how much the server's documents may still take, besides the one at path.
func (s *Server) room(path string) int64 {
	left := int64(maxTotal)
	for at, pg := range s.pages {
		if at != path {
			left -= int64(len(pg.body))
		}
	}
	return max(min(left, maxDocument), 0)
}

func decode(what string, body []byte, out any) error {
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s is no proper document of an image server: %w", what, err)
	}
	return nil
}

// fetch sees to it that pages has the document as it is now, and tells whether it is another than before.
func (s *Server) fetch(ctx context.Context, path string) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return false, err
	}
	old := s.pages[path]
	if old != nil && old.etag != "" {
		req.Header.Set("If-None-Match", old.etag)
	} else if old != nil && old.modified != "" {
		req.Header.Set("If-Modified-Since", old.modified)
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return false, plain(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotModified && old != nil {
		return false, nil
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: the image server answers %q", s.base+path, answer.Status)
	}
	room := s.room(path)
	body, err := io.ReadAll(io.LimitReader(answer.Body, room+1))
	if err != nil {
		return false, fmt.Errorf("%s: %w", s.base+path, err)
	}
	if int64(len(body)) > room {
		return false, fmt.Errorf("%s is larger than is allowed: %d MiB each, and %d MiB in all", s.base+path, maxDocument>>20, maxTotal>>20)
	}
	fresh = old == nil || !bytes.Equal(old.body, body)
	s.pages[path] = &page{answer.Header.Get("ETag"), settled(answer.Header), body}
	return fresh, nil
}

// settled is the time of the last change of a document, unless that is so recent that another change may have the same: it tells seconds.
func settled(h http.Header) string {
	text := h.Get("Last-Modified")
	changed, err := http.ParseTime(text)
	now, e := http.ParseTime(h.Get("Date"))
	if err != nil || e != nil || now.Sub(changed) < 5*time.Second {
		return ""
	}
	return text
}

// plain is an error of the HTTP client without the method and address, which often are said already.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", u.URL, u.Err)
	}
	return err
}

// Open begins to read a file of an image. The reader fails at its end, or before, if the file is not what the server announced of it.
func (s *Server) Open(ctx context.Context, f File) (io.ReadCloser, error) {
	if !f.sound() {
		return nil, fmt.Errorf("image server %s announces a file without a proper path, size or hash", s.base)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+f.Path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: the image server answers %q", s.base+f.Path, answer.Status), answer.Body.Close())
	}
	return &reader{ReadCloser: answer.Body, name: s.base + f.Path, file: f, sum: sha256.New()}, nil
}

// reader holds a file against what was announced of it.
type reader struct {
	io.ReadCloser
	name string
	file File
	sum  hash.Hash
	n    int64
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += int64(n)
	_, _ = r.sum.Write(p[:n]) // a hash takes everything
	if r.n > r.file.Size {
		return 0, fmt.Errorf("%s has more than the %d bytes that were announced", r.name, r.file.Size)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("%s: after %d of %d bytes: %w", r.name, r.n, r.file.Size, err)
	}
	if err == nil {
		return n, nil
	}
	if r.n < r.file.Size {
		return n, fmt.Errorf("%s ended after %d of %d bytes", r.name, r.n, r.file.Size)
	}
	if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.file.SHA256 {
		return n, fmt.Errorf("%s has the hash %s, not %s as announced: it was changed on the way, or on the server", r.name, got, r.file.SHA256)
	}
	return n, io.EOF
}
