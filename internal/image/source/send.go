package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"

	"lxd/api"
	"lxd/internal/errs"
)

// Target is a server that expects an image.
type Target struct {
	// Server is its address, https://HOST:PORT; Certificate, if any, is the only one that it may have (PEM).
	Server, Certificate string
	// Secret is what it gave to whoever may send the image; Project is the project there.
	Secret, Project string
	// Open lets requests go to addresses that are not everybody's.
	Open bool
}

// Check fails on a target that cannot be one.
func (t Target) Check() error {
	u, err := url.Parse(t.Server)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "":
		return errs.Newf(errs.Invalid, "the target %q is not of the form https://HOST:PORT", t.Server)
	case t.Secret == "":
		return errs.Newf(errs.Invalid, "the target gave no secret: ask it first for an upload")
	}
	_, err = trust(t.Certificate)
	return err
}

// Send sends the files of an image and waits until the target has it.
func (s *Sources) Send(ctx context.Context, to Target, img api.Image, files []Part) error {
	if err := to.Check(); err != nil {
		return err
	}
	hc, err := client{certificate: to.Certificate, proxy: s.Proxy, open: to.Open, stay: true}.http()
	if err != nil {
		return err
	}
	hc.Transport.(guard).next.(*http.Transport).ResponseHeaderTimeout = 0 // it looks through what it was sent before it answers
	u, err := url.Parse(to.Server)
	if err != nil {
		return err
	}
	o := peer{base: "https://" + u.Host, query: url.Values{}, http: hc, agent: s.Agent}
	if to.Project != "" {
		o.query.Set("project", to.Project)
	}
	body, kind := form(files)
	defer body.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.base+"/1.0/images?"+o.query.Encode(), body)
	if err != nil {
		return err
	}
	props := url.Values{}
	for k, v := range img.Properties {
		props.Set(k, v)
	}
	maps.Copy(r.Header, http.Header{"Content-Type": {kind}, "User-Agent": {s.Agent}, "X-Lxd-Secret": {to.Secret}, "X-Lxd-Fingerprint": {img.Fingerprint},
		"X-Lxd-Filename": {img.Filename}, "X-Lxd-Properties": {props.Encode()}})
	answer, err := hc.Do(r)
	if err != nil {
		return plain(err)
	}
	defer answer.Body.Close()
	var env api.Response
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&env); err != nil {
		return fmt.Errorf("the target's answer (%s) is not of the LXD API", answer.Status)
	}
	if env.Type == api.ResponseTypeError {
		return fmt.Errorf("the target answers: %s", env.Error)
	}
	return nil
}

func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// form is the body of an upload, made while it is read.
func form(files []Part) (io.ReadCloser, string) {
	if len(files) == 1 {
		return io.NopCloser(files[0].Body), "application/octet-stream"
	}
	r, w := io.Pipe()
	out := multipart.NewWriter(w)
	go func() {
		err := writeParts(out, files)
		if err == nil {
			err = out.Close()
		}
		w.CloseWithError(err)
	}()
	return r, out.FormDataContentType()
}

func writeParts(out *multipart.Writer, files []Part) error {
	for _, f := range files {
		part, err := out.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", f.Name, f.Filename)},
			"Content-Type":        {"application/octet-stream"},
		})
		if err == nil {
			_, err = io.Copy(part, f.Body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
