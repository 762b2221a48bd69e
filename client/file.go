package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lxd/api"
)

// Kinds of files in instances.
const (
	PlainFile   = "file"
	Directory   = "directory"
	SymlinkFile = "symlink"
)

// File is what is at a path in an instance.
type File struct {
	// Kind is PlainFile, Directory or SymlinkFile.
	Kind string
	// UID and GID are ids inside the instance; Mode is permission bits.
	UID, GID, Mode int64
	// Size is the length of Content, -1 if it is not known.
	Size int64
	// Content is the bytes of a plain file, or the target of a link. The caller closes it; it is nil for a directory.
	Content io.ReadCloser
	// Names are what is in a directory.
	Names []string
}

// FilePut is what to make in an instance.
type FilePut struct {
	// Kind is PlainFile, Directory or SymlinkFile.
	Kind string
	// UID, GID and Mode are left to the server when they are -1.
	UID, GID, Mode int64
	// Content is the bytes of a plain file, or the target of a link.
	Content io.Reader
}

func filePath(instance, path string) string {
	return Path("instances", instance, "files") + "?path=" + url.QueryEscape(path)
}

// GetFile reads what is at path in an instance.
func (c *Client) GetFile(ctx context.Context, instance, path string) (*File, error) {
	answer, err := c.Open(ctx, Request{Method: http.MethodGet, Path: filePath(instance, path)})
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	f := &File{Kind: answer.Header.Get("X-LXD-type"), Size: answer.ContentLength, Content: answer.Body}
	f.UID, f.GID = number(answer, "X-LXD-uid", 10), number(answer, "X-LXD-gid", 10)
	f.Mode = number(answer, "X-LXD-mode", 8)
	if f.Kind != Directory {
		return f, nil
	}
	defer answer.Body.Close()
	f.Content = nil
	var list api.Response
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading the list of files in %s: %w", path, err)
	}
	return f, json.Unmarshal(list.Metadata, &f.Names)
}

// number reads a header; one that is missing or damaged is -1.
func number(answer *http.Response, header string, base int) int64 {
	n, err := strconv.ParseInt(answer.Header.Get(header), base, 64)
	if err != nil {
		return -1
	}
	return n
}

// PutFile makes or replaces what is at path in an instance.
func (c *Client) PutFile(ctx context.Context, instance, path string, f FilePut) error {
	header := http.Header{"X-LXD-type": {f.Kind}, "X-LXD-write": {"overwrite"}, "Content-Type": {"application/octet-stream"}}
	for name, n := range map[string]int64{"X-LXD-uid": f.UID, "X-LXD-gid": f.GID} {
		if n >= 0 {
			header[name] = []string{strconv.FormatInt(n, 10)}
		}
	}
	if f.Mode >= 0 {
		header["X-LXD-mode"] = []string{fmt.Sprintf("%#o", f.Mode)} // servers take numbers without a zero in front for decimal ones
	}
	var body any
	if f.Content != nil {
		whole, err := small(f.Content)
		if err != nil {
			return fmt.Errorf("reading what is to be %s: %w", path, err)
		}
		body = whole
	}
	_, err := c.Do(ctx, Request{Method: http.MethodPost, Path: filePath(instance, path), Body: body, Header: header})
	return err
}

// smallFile is up to which size a file is sent along with the head of its request, as one message.
const smallFile = 32 << 10

// small is the same content, as something whose length is known if that is small.
func small(r io.Reader) (io.Reader, error) {
	head, err := io.ReadAll(io.LimitReader(r, smallFile))
	if err != nil {
		return nil, err
	}
	if len(head) < smallFile {
		return bytes.NewReader(head), nil
	}
	return io.MultiReader(bytes.NewReader(head), r), nil
}

// DeleteFile deletes a file, a link or an empty directory in an instance.
func (c *Client) DeleteFile(ctx context.Context, instance, path string) error {
	return c.Apply(ctx, http.MethodDelete, filePath(instance, path), nil, "")
}

// SFTP opens a connection that speaks SFTP about the files of an instance. The caller closes it.
func (c *Client) SFTP(ctx context.Context, instance string) (net.Conn, error) {
	u, err := url.Parse(c.URL(Path("instances", instance, "sftp")))
	if err != nil {
		return nil, err
	}
	header := http.Header{"Upgrade": {"sftp"}, "Connection": {"Upgrade"}, "User-Agent": {c.agent}}
	if _, err := c.sign(ctx, header); err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx, u)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	err = upgrade(conn, r, &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: header})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &ahead{conn, r}, nil
}

// connect opens a connection of its own to the server.
func (c *Client) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	if c.socket != "" {
		return c.dial(ctx)
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	config := c.tls.Clone()
	config.NextProtos = nil // the connection is taken over, which HTTP/2 does not know
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", host)
}

// upgradeTime is how long the server may take to hand the connection over.
const upgradeTime = 30 * time.Second

func upgrade(conn net.Conn, r *bufio.Reader, req *http.Request) error {
	if err := conn.SetDeadline(time.Now().Add(upgradeTime)); err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(r, req)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(answer.Header.Get("Upgrade"), "sftp") {
		defer answer.Body.Close()
		return refusal(answer)
	}
	return conn.SetDeadline(time.Time{})
}

// ahead is a connection of which some was read already.
type ahead struct {
	net.Conn
	r *bufio.Reader
}

func (a *ahead) Read(p []byte) (int, error) { return a.r.Read(p) }
