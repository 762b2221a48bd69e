package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultDir is where the daemon keeps its socket when neither LXD_SOCKET nor LXD_DIR says otherwise.
const DefaultDir = "/var/lib/lxd"

// Client sends requests to one server, in one project. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	base    string
	project string
	target  string
	agent   string
	socket  string
	tls     *tls.Config
	who     Credentials
}

// SocketPath is the unix socket that path means: itself, or when empty $LXD_SOCKET, or unix.socket in $LXD_DIR or in DefaultDir.
func SocketPath(path string) string {
	if path != "" {
		return path
	}
	if s := os.Getenv("LXD_SOCKET"); s != "" {
		return s
	}
	if dir := os.Getenv("LXD_DIR"); dir != "" {
		return filepath.Join(dir, "unix.socket")
	}
	return filepath.Join(DefaultDir, "unix.socket")
}

// ConnectUnix makes a client of the daemon that listens on the unix socket path; empty means SocketPath("").
// It fails early, with advice, when there is no such socket or the caller may not use it.
func ConnectUnix(path string) (*Client, error) {
	path = SocketPath(path)
	if err := reachable(path); err != nil {
		return nil, err
	}
	c := &Client{base: "http://unix.socket", agent: "LXD", socket: path}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression:  true,
		MaxIdleConnsPerHost: 8,
	}}
	return c, nil
}

func reachable(path string) error {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return fmt.Errorf("LXD unix socket %q not found: Please check LXD is running", path)
	case err != nil:
		return fmt.Errorf("LXD unix socket %q not accessible: %w", path, err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%q is not a socket: set LXD_SOCKET or LXD_DIR to where LXD runs", path)
	}
	return nil
}

// ConnectHTTPS makes a client of the server at base (such as https://host:8443). config decides what is trusted and
// which client certificate is shown; it must not be nil.
func ConnectHTTPS(base string, config *tls.Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server address %q is not of the form https://host:port", base)
	}
	tr := &http.Transport{TLSClientConfig: config, DisableCompression: true, MaxIdleConnsPerHost: 8, TLSHandshakeTimeout: 10 * time.Second}
	return &Client{http: &http.Client{Transport: tr}, base: strings.TrimSuffix(base, "/"), agent: "LXD", tls: config}, nil
}

// dial connects to the unix socket.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the LXD unix socket %q is not for this user: use sudo, or a user of the group that the daemon was given with --group", c.socket)
	}
	if err != nil {
		return nil, fmt.Errorf("LXD unix socket %q not answering: %w", c.socket, err)
	}
	return conn, nil
}

// InProject is the same connection with requests sent to project name; empty means the server's default.
func (c *Client) InProject(name string) *Client {
	scoped := *c
	scoped.project = name
	return &scoped
}

// OnTarget is the same connection with requests sent to the cluster member name; empty means whichever answers.
func (c *Client) OnTarget(name string) *Client {
	scoped := *c
	scoped.target = name
	return &scoped
}

// Project is the project that requests are sent to; empty means the server's default.
func (c *Client) Project() string { return c.project }

// URL is the address of path on this server, with the project and target of the client unless path names its own.
func (c *Client) URL(path string) string {
	add := func(key, value string) {
		if value == "" || strings.Contains(path, "?"+key+"=") || strings.Contains(path, "&"+key+"=") {
			return
		}
		if strings.Contains(path, "?") {
			path += "&"
		} else {
			path += "?"
		}
		path += key + "=" + url.QueryEscape(value)
	}
	if !strings.Contains(path, "all-projects=") {
		add("project", c.project)
	}
	add("target", c.target)
	return c.base + path
}

// Path joins escaped segments to an API path: Path("instances", "c1") is /1.0/instances/c1.
func Path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/1.0")
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}
