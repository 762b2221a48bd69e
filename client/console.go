package client

import (
	"context"
	"io"
	"net/http"

	"github.com/gorilla/websocket"

	"lxd/api"
)

// Console connects the streams to the console of instance name. It returns when the other side ends, when ctx is canceled, or
// when Stdin fails with anything but io.EOF, which is how a user detaches. The instance goes on in any case.
func (c *Client) Console(ctx context.Context, name string, post api.InstanceConsolePost, streams ExecStreams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	op, err := c.Send(ctx, http.MethodPost, Path("instances", name, "console"), post, "")
	if err != nil {
		return err
	}
	secrets, _ := op.Metadata["fds"].(map[string]any)
	conns, err := c.connectAll(ctx, op.ID, []string{"control", "0"}, secrets)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	over := make(chan struct{}, 2)
	go func() {
		if keys(conns["0"], streams.Stdin) {
			over <- struct{}{}
		}
	}()
	go func() { receive(conns["0"], streams.Stdout); over <- struct{}{} }()
	go receive(conns["control"], io.Discard)
	go steer(ctx, conns["control"], streams.Control)
	select {
	case <-over:
	case <-ctx.Done():
	}
	closeAll(conns)
	return op.Wait(context.WithoutCancel(ctx))
}

// keys sends what is read to a terminal, until the end of either; detached tells that r failed.
func keys(conn *websocket.Conn, r io.Reader) (detached bool) {
	buf := make([]byte, 4<<10)
	for r != nil {
		n, err := r.Read(buf)
		if n > 0 && conn.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
			return false
		}
		if err != nil {
			return err != io.EOF
		}
	}
	return false
}

// ConsoleLog is what the console of instance name has shown. The caller closes it.
func (c *Client) ConsoleLog(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.Download(ctx, Path("instances", name, "console"))
}
