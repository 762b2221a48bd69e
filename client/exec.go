package client

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
)

// ExecStreams connects a command in an instance to the caller.
type ExecStreams struct {
	// Stdin feeds the command; nil means that it reads the end of the file at once.
	Stdin io.Reader
	// Stdout takes what the command writes, and everything that an interactive one writes.
	Stdout io.Writer
	// Stderr takes what a command that is not interactive writes to its standard error.
	Stderr io.Writer
	// Control carries signals and window sizes to the command; it may be nil.
	Control <-chan api.InstanceExecControl
}

// endOfTerminal is what a terminal sends for the end of its input.
const endOfTerminal = 0x04

// drainTime is how long output may still trickle in after the command has ended.
const drainTime = 10 * time.Second

// Exec runs a command in instance name and returns its exit code once its output has been written out.
func (c *Client) Exec(ctx context.Context, name string, post api.InstanceExecPost, streams ExecStreams) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	post.WaitForWS = true
	op, err := c.Send(ctx, http.MethodPost, Path("instances", name, "exec"), post, "")
	if err != nil {
		return -1, err
	}
	secrets, _ := op.Metadata["fds"].(map[string]any)
	fds := []string{"control", "0", "1", "2"}
	if post.Interactive {
		fds = fds[:2]
	}
	// The wait is under way while the streams connect: one round trip less at the end.
	ended := make(chan error, 1)
	go func() { ended <- op.Wait(ctx) }()
	conns, err := c.connectAll(ctx, op.ID, fds, secrets)
	defer closeAll(conns)
	if err != nil {
		return -1, err
	}
	drained := pump(ctx, conns, post.Interactive, streams)
	if failed := <-ended; failed != nil {
		code, err := op.failedCode(ctx)
		if err == nil {
			await(drained)
		}
		return code, failed
	}
	await(drained)
	return exitCode(op)
}

// failedCode is the exit code of a command whose operation failed, and which may have written why. The answer to the wait has none.
func (o *Operation) failedCode(ctx context.Context) (int, error) {
	last, err := o.client.Operation(ctx, o.ID)
	if err != nil {
		return -1, err
	}
	return exitCode(last)
}

// await waits until all output has arrived, or so long that it never will.
func await(drained <-chan struct{}) {
	select {
	case <-drained:
	case <-time.After(drainTime):
	}
}

func exitCode(op *Operation) (int, error) {
	code, ok := op.Metadata["return"].(float64)
	if !ok {
		return -1, fmt.Errorf("the server did not tell the exit code of the command")
	}
	return int(code), nil
}

// connectAll opens the streams; on error the ones that did open are in the result all the same. The command starts once all but the
// control stream are there, and may have ended a moment later, so that one is opened first.
func (c *Client) connectAll(ctx context.Context, id string, fds []string, secrets map[string]any) (map[string]*websocket.Conn, error) {
	const control = "control"
	conns, first := c.connectSome(ctx, id, []string{control}, secrets)
	rest, err := c.connectSome(ctx, id, slices.DeleteFunc(slices.Clone(fds), func(fd string) bool { return fd == control }), secrets)
	maps.Copy(conns, rest)
	return conns, cmp.Or(first, err)
}

// connectSome opens streams side by side.
func (c *Client) connectSome(ctx context.Context, id string, fds []string, secrets map[string]any) (map[string]*websocket.Conn, error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		first error
	)
	conns := map[string]*websocket.Conn{}
	for _, fd := range fds {
		secret, _ := secrets[fd].(string)
		wg.Go(func() {
			conn, err := c.Websocket(ctx, id, secret)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = fmt.Errorf("connecting stream %s: %w", fd, err)
			}
			if err == nil {
				conns[fd] = conn
			}
		})
	}
	wg.Wait()
	return conns, first
}

func closeAll(conns map[string]*websocket.Conn) {
	for _, conn := range conns {
		_ = conn.Close() // the streams are over; nothing can be done about a failing close
	}
}

// pump copies between streams and conns; the channel is closed when all output has arrived.
func pump(ctx context.Context, conns map[string]*websocket.Conn, interactive bool, streams ExecStreams) <-chan struct{} {
	go feed(conns["0"], streams.Stdin, interactive)
	go steer(ctx, conns["control"], streams.Control)
	var wg sync.WaitGroup
	drain := func(fd string, w io.Writer) { wg.Go(func() { finish(conns[fd], w) }) }
	if interactive {
		drain("0", streams.Stdout)
	} else {
		drain("1", streams.Stdout)
		drain("2", streams.Stderr)
		go receive(conns["0"], io.Discard) // pings and the closing are only handled while somebody reads
	}
	go receive(conns["control"], io.Discard)
	drained := make(chan struct{})
	go func() { wg.Wait(); close(drained) }()
	return drained
}

// feed sends r as binary frames, then the end of the input in the way that the other side understands.
func feed(conn *websocket.Conn, r io.Reader, interactive bool) {
	if r != nil {
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 && conn.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return // the command has ended
			}
			if err != nil {
				break
			}
		}
	}
	end, kind := []byte(nil), websocket.TextMessage
	if interactive {
		end, kind = []byte{endOfTerminal}, websocket.BinaryMessage
	}
	_ = conn.WriteMessage(kind, end) // fails only when the command has ended already
}

// finish receives all there is and closes the stream: older servers hold the command until its terminal was hung up.
func finish(conn *websocket.Conn, w io.Writer) {
	receive(conn, w)
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	_ = conn.Close() // the other side may have been first, both times
}

// receive copies binary frames to w until the other side ends the stream.
func receive(conn *websocket.Conn, w io.Writer) {
	for {
		kind, r, err := conn.NextReader()
		if err != nil || kind == websocket.TextMessage {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			w = io.Discard // the reader of our output went away; the command must not hang on it
		}
	}
}

func steer(ctx context.Context, conn *websocket.Conn, controls <-chan api.InstanceExecControl) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg, ok := <-controls:
			if !ok || conn.WriteJSON(msg) != nil {
				return
			}
		}
	}
}
