package session

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// chunk is the most that is sent in one message.
	chunk = 64 << 10
	// drainTime is how long an output may be silent after the program ended, because something that it left running holds it
	// open; drainMost is how long it may go on in all.
	drainTime = 50 * time.Millisecond
	drainMost = 2 * time.Second
)

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// read hands what comes from a websocket to take, until the client ends the stream or take fails. Then it calls end, and goes
// on reading so that the closing of the connection is noticed and answered.
func (s *Session) read(c *websocket.Conn, take func([]byte) error, end func()) {
	s.readers.Go(func() {
		once := sync.OnceFunc(end)
		defer once()
		for {
			kind, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			if kind == websocket.TextMessage && len(b) == 0 {
				if s.conn("0") == c && !s.interactive {
					once() // end of input
				}
				continue
			}
			if take != nil && take(b) != nil {
				take = nil // the program reads no more
			}
		}
	})
}

// output is one stream from a program to its client.
type output struct {
	f *os.File
	c *websocket.Conn
	// over is set once the client was told that the stream is at its end: it may close its side then.
	over atomic.Bool
}

// send sends what the program writes until the stream is at its end; then it tells the client so.
func (o *output) send(g *program) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := o.f.Read(*buf)
		if n > 0 && o.c.WriteMessage(websocket.BinaryMessage, (*buf)[:n]) != nil {
			g.hangUp()
			return
		}
		if err != nil || g.spent() {
			break
		}
		if g.ended() {
			o.drainSoon()
		}
	}
	o.over.Store(true)
	_ = o.c.WriteMessage(websocket.TextMessage, nil) // a client that has gone needs no end
}

// gone is called when the client has closed its side.
func (o *output) gone(g *program) {
	if !o.over.Load() {
		g.hangUp()
	}
}

// drainSoon lets reads end if nothing comes for a little while.
func (o *output) drainSoon() { _ = o.f.SetReadDeadline(time.Now().Add(drainTime)) }

// pipe makes a pipe for a stream of a program. Its end blocks, as programs expect; ours does not, so that it can be closed
// under a read.
func pipe(input bool) (theirs, ours *os.File, err error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	r, w := 0, 1
	if input {
		r, w = 1, 0
	}
	if err := syscall.SetNonblock(p[r], true); err != nil {
		_, _ = syscall.Close(p[0]), syscall.Close(p[1])
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	return os.NewFile(uintptr(p[w]), "pipe"), os.NewFile(uintptr(p[r]), "pipe"), nil
}

// closeAll closes files; nil ones and ones that are closed are left.
func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
