package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"lxd/api"
)

// ImageUpload is an image to be sent as files; they are streamed, never held in memory.
type ImageUpload struct {
	// Meta is the unified tarball, or the metadata tarball of a split image.
	Meta io.Reader
	// MetaName is the file name of Meta.
	MetaName string
	// Rootfs is the root file system of a split image; nil for a unified one.
	Rootfs io.Reader
	// RootfsName is the file name of Rootfs.
	RootfsName string
	// VM says that Rootfs is the disk of a virtual machine.
	VM bool
	// Public makes the image available to everybody.
	Public bool
	// Properties are set on top of those in the metadata.
	Properties map[string]string
	// Profiles are those that instances get; nil leaves it to the server.
	Profiles []string
	// Fingerprint is what the image must have; "" is any.
	Fingerprint string
}

// UploadImage sends the files and returns the operation, whose metadata will have the fingerprint.
func (c *Client) UploadImage(ctx context.Context, up ImageUpload) (*Operation, error) {
	header := http.Header{"X-LXD-public": {fmt.Sprint(up.Public)}}
	if len(up.Properties) > 0 {
		query := url.Values{}
		for key, value := range up.Properties {
			query.Set(key, value)
		}
		header["X-LXD-properties"] = []string{query.Encode()}
	}
	if len(up.Profiles) > 0 {
		header["X-LXD-profiles"] = []string{url.Values{"profile": up.Profiles}.Encode()}
	}
	if up.Fingerprint != "" {
		header["X-LXD-fingerprint"] = []string{up.Fingerprint}
	}
	body := up.Meta
	if up.Rootfs == nil {
		header["X-LXD-filename"] = []string{up.MetaName}
		header["Content-Type"] = []string{"application/octet-stream"}
	} else {
		pipe, kind := up.multipart()
		defer pipe.Close() // ends the writer when the server answers before it has read everything
		header["Content-Type"] = []string{kind}
		body = pipe
	}
	answer, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/1.0/images", Body: body, Header: header})
	if err != nil {
		return nil, err
	}
	return c.operationOf(answer)
}

// multipart renders the two files as a form while it is read.
func (up ImageUpload) multipart() (*io.PipeReader, string) {
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	go func() {
		err := writePart(form, "metadata", up.MetaName, up.Meta)
		if err == nil {
			field := "rootfs"
			if up.VM {
				field = "rootfs.img"
			}
			err = writePart(form, field, up.RootfsName, up.Rootfs)
		}
		if err == nil {
			err = form.Close()
		}
		w.CloseWithError(err)
	}()
	return r, form.FormDataContentType()
}

func writePart(form *multipart.Writer, field, name string, r io.Reader) error {
	part, err := form.CreateFormFile(field, name)
	if err != nil {
		return err
	}
	_, err = stream{r}.WriteTo(part)
	return err
}

// ImageFile is one file of an exported image.
type ImageFile struct {
	// Name is the file name that the server gives.
	Name string
	// Size is the length, or -1 when the server does not tell.
	Size int64
	// Body is the content; it is valid until the callback returns.
	Body io.Reader
}

// ExportImage fetches image fingerprint and calls save for each of its files, one after the other.
func (c *Client) ExportImage(ctx context.Context, fingerprint string, save func(ImageFile) error) error {
	answer, err := c.Open(ctx, Request{Method: http.MethodGet, Path: Path("images", fingerprint, "export")})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal(answer)
	}
	kind, params, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		_, disposition, _ := mime.ParseMediaType(answer.Header.Get("Content-Disposition"))
		return save(ImageFile{Name: disposition["filename"], Size: answer.ContentLength, Body: answer.Body})
	}
	parts := multipart.NewReader(answer.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the exported image: %w", err)
		}
		if err := save(ImageFile{Name: part.FileName(), Size: -1, Body: part}); err != nil {
			return err
		}
	}
}

// refusal is the error in an answer that is not what was asked for.
func refusal(answer *http.Response) error {
	var r api.Response
	if json.NewDecoder(answer.Body).Decode(&r) == nil && r.Error != "" {
		return &Error{Status: int(r.Code), Text: r.Error}
	}
	return &Error{Status: answer.StatusCode, Text: "unexpected answer: " + answer.Status}
}
