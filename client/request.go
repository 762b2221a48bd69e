package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"lxd/api"
	"lxd/client/jsonscan"
)

// Request is one call of the API.
type Request struct {
	// Method is the HTTP method.
	Method string
	// Path is the path with its query, from /1.0 on.
	Path string
	// Body is sent as JSON, unless it is an io.Reader, which is sent as it is.
	Body any
	// Header is added to the request.
	Header http.Header
}

// Response is an answer of the API in its envelope.
type Response struct {
	api.Response
	// ETag is the version of the object read.
	ETag string
	// Location is the URL of what was created.
	Location string
	// HTTPStatus is the HTTP status of the answer.
	HTTPStatus int
}

// Do sends r and reads the enveloped answer; an error answer is returned as *Error.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	answer, err := c.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	out := &Response{ETag: answer.Header.Get("ETag"), Location: answer.Header.Get("Location"), HTTPStatus: answer.StatusCode}
	body, err := readAll(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s %s: %w", r.Method, r.Path, err)
	}
	if err := open(body, &out.Response); err != nil {
		return nil, fmt.Errorf("the answer to %s %s is not of the LXD API (HTTP status %d): %w", r.Method, r.Path, answer.StatusCode, err)
	}
	if out.Type == api.ResponseTypeError {
		return nil, &Error{Status: int(out.Code), Text: out.Error}
	}
	return out, nil
}

// readAll reads the body, into a buffer of the right size when the server tells it.
func readAll(answer *http.Response) ([]byte, error) {
	if answer.ContentLength <= 0 {
		return io.ReadAll(answer.Body)
	}
	body := make([]byte, answer.ContentLength)
	_, err := io.ReadFull(answer.Body, body)
	return body, err
}

// open takes body out of its envelope. The metadata stay a part of body: lists of thousands are decoded only once.
func open(body []byte, out *api.Response) error {
	var rest []byte
	err := jsonscan.Object(body, func(key, value []byte) error {
		if string(key) == "metadata" {
			out.Metadata = value
			return nil
		}
		if rest == nil {
			rest = append(rest, '{')
		} else {
			rest = append(rest, ',')
		}
		rest = append(append(append(append(rest, '"'), key...), '"', ':'), value...)
		return nil
	})
	if err != nil {
		return err
	}
	metadata := out.Metadata
	err = json.Unmarshal(append(rest, '}'), out)
	out.Metadata = metadata
	return err
}

// Open sends r and returns the raw answer, whose body the caller closes. It does not look at the status, unless the client shows a
// token: one that is refused is renewed if it can be, and the request sent again if its body can be.
func (c *Client) Open(ctx context.Context, r Request) (*http.Response, error) {
	answer, token, err := c.once(ctx, r)
	if err != nil {
		return nil, err
	}
	again, err := c.renewed(ctx, token, answer)
	if _, stream := r.Body.(io.Reader); !again && err == nil || stream {
		return answer, nil
	}
	_ = answer.Body.Close() // nobody reads it
	if err != nil {
		return nil, err
	}
	answer, _, err = c.once(ctx, r)
	return answer, err
}

// once sends r once, and tells which token it showed.
func (c *Client) once(ctx context.Context, r Request) (*http.Response, string, error) {
	body, kind, err := encode(r.Body)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the body of %s %s: %w", r.Method, r.Path, err)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.URL(r.Path), body)
	if err != nil {
		return nil, "", err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("User-Agent", c.agent)
	for key, values := range r.Header {
		req.Header[key] = values
	}
	token, err := c.sign(ctx, req.Header)
	if err != nil {
		return nil, "", err
	}
	answer, err := c.http.Do(req)
	if u, ok := err.(*url.Error); ok {
		return nil, "", fmt.Errorf("%s %s: %w", r.Method, r.Path, u.Err)
	}
	return answer, token, err
}

func encode(body any) (io.Reader, string, error) {
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case *bytes.Reader, *strings.Reader, *bytes.Buffer: // net/http knows how long these are
		return b.(io.Reader), "application/octet-stream", nil
	case io.Reader:
		return stream{b}, "application/octet-stream", nil
	case json.RawMessage:
		return bytes.NewReader(b), "application/json", nil
	}
	data, err := json.Marshal(body)
	return bytes.NewReader(data), "application/json", err
}

// pieceSize is how much of a stream is sent at a time.
const pieceSize = 128 << 10

// stream is a body of any length. It is written in large pieces: those of net/http alone are small, and cost two calls of the kernel each on
// either side.
type stream struct{ io.Reader }

// WriteTo writes all of it.
func (s stream) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{s.Reader}, make([]byte, pieceSize))
}

// Close closes what can be closed.
func (s stream) Close() error {
	if c, ok := s.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Get reads the object at path into out and returns its ETag.
func (c *Client) Get(ctx context.Context, path string, out any) (string, error) {
	answer, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(answer.Metadata, out); err != nil {
		return "", fmt.Errorf("the answer to GET %s does not have the expected form: %w", path, err)
	}
	return answer.ETag, nil
}

// Send changes something: body goes to path with method, and with If-Match when etag is not empty.
// The operation is nil when the server answered at once; waiting for a nil operation is allowed.
func (c *Client) Send(ctx context.Context, method, path string, body any, etag string) (*Operation, error) {
	r := Request{Method: method, Path: path, Body: body}
	if etag != "" {
		r.Header = http.Header{"If-Match": {etag}}
	}
	answer, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	return c.operationOf(answer)
}

// Apply is Send followed by waiting for the operation, if there is one.
func (c *Client) Apply(ctx context.Context, method, path string, body any, etag string) error {
	op, err := c.Send(ctx, method, path, body, etag)
	if err != nil {
		return err
	}
	return op.Wait(ctx)
}

// Server reads what GET /1.0 tells.
func (c *Client) Server(ctx context.Context) (*api.Server, error) {
	var s api.Server
	_, err := c.Get(ctx, "/1.0", &s)
	return &s, err
}

// Names reads a list of URLs and returns the last segment of each, unescaped.
func (c *Client) Names(ctx context.Context, path string) ([]string, error) {
	var urls []string
	if _, err := c.Get(ctx, path, &urls); err != nil {
		return nil, err
	}
	for i, u := range urls {
		urls[i] = Base(u)
	}
	return urls, nil
}

// Base is the name of the thing that an API URL points at: its last path segment, unescaped.
func Base(u string) string {
	u, _, _ = strings.Cut(u, "?")
	u = u[strings.LastIndexByte(u, '/')+1:]
	if name, err := url.PathUnescape(u); err == nil {
		return name
	}
	return u
}

// Download opens what path has, which is no object of the API but a file. The caller closes it.
func (c *Client) Download(ctx context.Context, path string) (io.ReadCloser, error) {
	answer, err := c.Open(ctx, Request{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return answer.Body, nil
}
