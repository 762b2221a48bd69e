package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// websocket upgrades a connection at path.
func (c *Client) websocket(ctx context.Context, path string) (*websocket.Conn, error) {
	d := websocket.Dialer{TLSClientConfig: c.tls, HandshakeTimeout: 10 * time.Second, ReadBufferSize: 32 << 10, WriteBufferSize: 32 << 10}
	if c.socket != "" {
		d.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	}
	address := "ws" + strings.TrimPrefix(c.URL(path), "http")
	for tries := 0; ; tries++ {
		header := http.Header{"User-Agent": {c.agent}}
		token, err := c.sign(ctx, header)
		if err != nil {
			return nil, err
		}
		conn, answer, err := d.DialContext(ctx, address, header)
		if err == nil {
			return conn, nil
		}
		if answer == nil {
			return nil, fmt.Errorf("connecting to %s: %w", path, err)
		}
		again := false
		if err = nil; tries == 0 {
			again, err = c.renewed(ctx, token, answer)
		}
		if err == nil && !again {
			err = refusal(answer)
		}
		_ = answer.Body.Close() // it was read as far as it matters
		if err != nil {
			return nil, err
		}
	}
}

// Websocket connects to the stream of operation id that secret opens.
func (c *Client) Websocket(ctx context.Context, id, secret string) (*websocket.Conn, error) {
	return c.websocket(ctx, Path("operations", id, "websocket")+"?secret="+secret)
}
