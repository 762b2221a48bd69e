package endpoint

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/endpoint/use"
	"lxd/internal/errs"
	"lxd/internal/image"
	"lxd/internal/op"
	"lxd/internal/rest"
)

// Starter runs work and answers with its operation, as rest.Server does.
type Starter interface {
	Start(w http.ResponseWriter, c *rest.Call, spec op.Spec) error
}

// wishMax is the most that a request to make an image may hold, unlike an upload.
const wishMax = 1 << 20

// create takes a request in JSON, or else the image itself: whatever the type says, no image begins with a brace. Who may not make images
// can know the secret of an upload that is expected.
func (h images) create(w http.ResponseWriter, c *rest.Call) error {
	may := c.Check(auth.Can("project", "can_create_images"), auth.ProjectObject(c.Project))
	if word := c.Header.Get("X-LXD-secret"); word != "" {
		return h.invited(w, c, word)
	}
	if may != nil {
		return may
	}
	body := bufio.NewReader(c.Body)
	first, err := firstByte(body)
	if err != nil {
		return errs.Newf(errs.Invalid, "request body is empty: send an image, or a JSON object: %w", err)
	}
	isJSON := strings.HasPrefix(c.Header.Get("Content-Type"), "application/json")
	if isJSON || first == '{' {
		return h.request(w, c, body)
	}
	c.Body = struct {
		io.Reader
		io.Closer
	}{body, c.Body}
	up, err := h.svc.Receive(c.Request)
	if err != nil {
		return err
	}
	var spec op.Spec
	if err = use.Profiles(c, up.Profiles, nil); err == nil {
		spec, err = h.svc.Import(c.Context(), c.Project, up)
	}
	if err == nil {
		err = h.start.Start(w, c, spec)
	}
	if err != nil {
		up.Discard()
	}
	return err
}

// firstByte finds the first byte that is not white space, without taking anything away.
func firstByte(r *bufio.Reader) (byte, error) {
	head, err := r.Peek(1)
	for n := 1; err == nil && n < 1024; n++ {
		if b := head[n-1]; !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, nil
		}
		head, err = r.Peek(n + 1)
	}
	return 0, err
}

func (h images) request(w http.ResponseWriter, c *rest.Call, body io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(body, wishMax+1))
	if err != nil {
		return errs.Newf(errs.Invalid, "request body: %w", err)
	}
	if len(b) > wishMax {
		return errs.Newf(errs.Invalid, "request body is larger than %d MiB", wishMax>>20)
	}
	var post api.ImagesPost
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&post); err != nil {
		return errs.Newf(errs.Invalid, "request body: %w", err)
	}
	if err := use.Check(c, use.Refs{Project: c.Project, Profiles: post.Profiles}, use.Refs{}); err != nil {
		return err
	}
	spec, err := h.svc.Create(c.Context(), image.Order{Project: c.Project, Post: post, Open: c.Caller.Admin, May: mayView(c)})
	if err != nil {
		return err
	}
	return h.start.Start(w, c, spec)
}

// mayView checks what a request is to be filled from: to make something of an object one must be allowed to see it.
func mayView(c *rest.Call) func(entity, project, url string) error {
	return func(entity, project, url string) error {
		return c.Check(auth.Can(entity, "can_view"), auth.Object{Project: project, URL: url})
	}
}

// invited takes in an image that another server sends because this one gave it a secret.
func (h images) invited(w http.ResponseWriter, c *rest.Call, word string) error {
	var inv *image.Invitation
	err := c.Prove(word, func() (err error) {
		inv, err = h.svc.Invited(c.Project, word)
		return err
	})
	if err != nil {
		return err
	}
	up, err := h.svc.Receive(c.Request)
	if err != nil {
		inv.Reject(err)
		return err
	}
	inv.Accept(up)
	spec, err := h.svc.Import(c.Context(), c.Project, up)
	late := &postponed{ResponseWriter: w, until: func() error { return inv.Wait(c.Context()) }}
	if err == nil {
		err = h.start.Start(late, c, spec)
	}
	if err != nil {
		up.Discard()
		inv.Reject(err)
		return err
	}
	return late.failed
}

// postponed answers when the work is done, for those who may not look at its operation: an error is then the answer instead.
type postponed struct {
	http.ResponseWriter
	until  func() error
	asked  bool
	failed error
}

func (p *postponed) ready() bool {
	if !p.asked {
		p.asked, p.failed = true, p.until()
	}
	return p.failed == nil
}

// WriteHeader begins the answer.
func (p *postponed) WriteHeader(code int) {
	if p.ready() {
		p.ResponseWriter.WriteHeader(code)
	}
}

// Write goes on with it.
func (p *postponed) Write(b []byte) (int, error) {
	if !p.ready() {
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

// export sends the files of an image: one with ranges, or two as parts of a form.
func (h images) export(w http.ResponseWriter, c *rest.Call) error {
	fingerprint := c.PathValue("fingerprint")
	img, _, err := h.svc.Get(c.Context(), c.Project, fingerprint)
	if err == nil && !sees(c, img) {
		err = h.admit(c, c.Method == http.MethodGet)
	}
	if err != nil {
		return missing(c, err)
	}
	parts, err := h.svc.Export(c.Context(), c.Project, img.Fingerprint)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range parts {
			_ = p.Close() // opened for reading: nothing can be lost
		}
	}()
	if c.Method == http.MethodGet {
		if err := h.svc.Retrieved(c.Context(), c.Project, img.Fingerprint); err != nil {
			return err
		}
	}
	if len(parts) == 1 {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "inline;filename="+parts[0].Filename)
		http.ServeContent(w, c.Request, "", time.Time{}, parts[0].File)
		return nil
	}
	sendParts(w, c, parts)
	return nil
}

// sendParts sends a split image. Once it has begun, a failure can only be told by ending the answer early.
func sendParts(w http.ResponseWriter, c *rest.Call, parts []image.Part) {
	form := multipart.NewWriter(w)
	w.Header().Set("Content-Type", form.FormDataContentType())
	if c.Method == http.MethodHead {
		return
	}
	for _, p := range parts {
		out, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", p.Name, p.Filename)},
			"Content-Type":        {"application/octet-stream"},
		})
		if err == nil {
			_, err = io.Copy(out, p.File)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must not take the part for the whole
		}
	}
	_ = form.Close() // a client that went away needs no end
}
