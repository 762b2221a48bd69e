package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"lxd/api"
	"lxd/internal/errs"
)

// Bounds of what servers may answer.
const (
	maxAnswer = 8 << 20
	// maxImage is more than any image has, and fewer than make a disk useless at once.
	maxImage = 1 << 40
)

// peer is another server of this API.
type peer struct {
	base  string
	query url.Values
	http  *http.Client
	agent string
}

// lxd finds an image on another server of this API.
func (s *Sources) lxd(ctx context.Context, p Place) (Found, error) {
	u, err := url.Parse(p.Server)
	if err != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return Found{}, errs.Newf(errs.Invalid, "the address %q of the image server is not of the form https://HOST:PORT", p.Server)
	}
	hc, err := s.client(p).http()
	if err != nil {
		return Found{}, err
	}
	o := peer{base: "https://" + u.Host, query: url.Values{}, http: hc, agent: s.Agent}
	if p.Project != "" {
		o.query.Set("project", p.Project)
	}
	name := p.Fingerprint
	if name == "" {
		var alias api.ImageAliasesEntry
		if err := o.get(ctx, "aliases/"+url.PathEscape(p.Alias), &alias); err != nil {
			return Found{}, err
		}
		name = alias.Target
	}
	if p.Secret != "" {
		o.query.Set("secret", p.Secret)
	}
	var f Found
	if err := o.get(ctx, url.PathEscape(name), &f.Info); err != nil {
		return f, err
	}
	f.Receive = func(ctx context.Context, take func(Part) error) error { return o.export(ctx, f.Info.Fingerprint, take) }
	return f, nil
}

func (o peer) open(ctx context.Context, path string) (*http.Response, error) {
	address := o.base + "/1.0/images/" + path
	if q := o.query.Encode(); q != "" {
		address += "?" + q
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", o.agent)
	answer, err := o.http.Do(r)
	if u, ok := errors.AsType[*url.Error](err); ok {
		return nil, u.Err // the address has the secret in it
	}
	return answer, err
}

// get reads the object at a path below /1.0/images.
func (o peer) get(ctx context.Context, path string, out any) error {
	answer, err := o.open(ctx, path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	var env api.Response
	if err := json.Unmarshal(body, &env); err != nil {
		return fmt.Errorf("the answer (%s) is not of the LXD API", answer.Status)
	}
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusForbidden:
		return errs.Newf(errs.NotFound, "the image server answers: %s", env.Error)
	case env.Type == api.ResponseTypeError:
		return errors.New(env.Error)
	}
	if err := json.Unmarshal(env.Metadata, out); err != nil {
		return errors.New("the answer does not have the expected form")
	}
	return nil
}

// export fetches the files of an image.
func (o peer) export(ctx context.Context, fingerprint string, take func(Part) error) error {
	answer, err := o.open(ctx, url.PathEscape(fingerprint)+"/export")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the image server answers %q", answer.Status)
	}
	body := io.LimitReader(steady(answer.Body), maxImage)
	kind, params, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		_, disposition, _ := mime.ParseMediaType(answer.Header.Get("Content-Disposition"))
		return take(Part{Name: "metadata", Filename: disposition["filename"], Body: whole(body, answer.ContentLength)})
	}
	parts := multipart.NewReader(body, params["boundary"])
	for n := 1; ; n++ {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 2 {
			return errors.New("the image server sends more than two files")
		}
		if err := take(Part{Name: part.FormName(), Filename: part.FileName(), Body: part}); err != nil {
			return err
		}
	}
}

// whole is a body that fails when it ends before it should.
func whole(r io.Reader, size int64) io.Reader {
	if size < 0 {
		return r
	}
	return &sized{r: r, left: size}
}

type sized struct {
	r    io.Reader
	left int64
}

// Read reads on.
func (s *sized) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left -= int64(n)
	if errors.Is(err, io.EOF) && s.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// direct finds the image of a plain address: a question with HEAD is answered by where the image is, and its hash.
func (s *Sources) direct(ctx context.Context, p Place) (f Found, err error) {
	hc, err := s.client(p).http()
	if err != nil {
		return f, err
	}
	answer, err := s.plain(ctx, hc, http.MethodHead, p.Server)
	if err != nil {
		return f, err
	}
	_ = answer.Body.Close() // an answer to HEAD has none
	if answer.StatusCode != http.StatusOK {
		return f, errs.Newf(errs.NotFound, "%s answers %q", p.Server, answer.Status)
	}
	hash, where := answer.Header.Get("LXD-Image-Hash"), answer.Header.Get("LXD-Image-URL")
	if hash == "" || where == "" {
		return f, errs.Newf(errs.Invalid, "%s does not answer with the headers LXD-Image-Hash and LXD-Image-URL: it is no address that images are imported from; "+
			"download the file and import that", p.Server)
	}
	at, err := url.Parse(where)
	if err != nil {
		return f, errs.Newf(errs.Invalid, "%s names no proper address of its image", p.Server)
	}
	base, err := url.Parse(p.Server)
	if err != nil {
		return f, err
	}
	f.Info.Fingerprint = hash
	f.Receive = func(ctx context.Context, take func(Part) error) error {
		answer, err := s.plain(ctx, hc, http.MethodGet, base.ResolveReference(at).String())
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the image server answers %q", answer.Status)
		}
		body := whole(io.LimitReader(steady(answer.Body), maxImage), answer.ContentLength)
		return take(Part{Name: "metadata", Filename: fileName(at), Body: body})
	}
	return f, nil
}

func fileName(u *url.URL) string {
	for at := len(u.Path) - 1; at >= 0; at-- {
		if u.Path[at] == '/' {
			return u.Path[at+1:]
		}
	}
	return u.Path
}

// plain does a request to a plain address.
func (s *Sources) plain(ctx context.Context, hc *http.Client, method, address string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "%w", err)
	}
	r.Header.Set("User-Agent", s.Agent)
	r.Header.Set("LXD-Server-Architectures", s.Architectures)
	r.Header.Set("LXD-Server-Version", api.Version)
	return hc.Do(r)
}
