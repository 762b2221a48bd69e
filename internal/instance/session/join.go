package session

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"

	"lxd/api"
)

// Sizer is a screen whose size in characters can be set.
type Sizer interface{ Resize(width, height int) error }

// Join connects an interactive session to a screen until one of them ends, and closes the screen.
func (s *Session) Join(ctx context.Context, screen io.ReadWriteCloser) error {
	end := make(chan struct{})
	hangUp := sync.OnceFunc(func() { close(end) })
	c := s.conn("0")
	s.read(c, func(b []byte) error { _, err := screen.Write(b); return err }, hangUp)
	s.read(s.conn(control), func(b []byte) error { resize(screen, b); return nil }, hangUp)
	var out sync.WaitGroup
	out.Go(func() {
		defer hangUp()
		show(c, screen)
	})
	var err error
	select {
	case <-end:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = screen.Close() // ends the reading of it
	out.Wait()
	return err
}

// show sends what a screen shows until it ends or the client has gone.
func show(c *websocket.Conn, screen io.Reader) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := screen.Read(*buf)
		if n > 0 && c.WriteMessage(websocket.BinaryMessage, (*buf)[:n]) != nil {
			return
		}
		if err != nil {
			_ = c.WriteMessage(websocket.TextMessage, nil) // a client that has gone needs no end
			return
		}
	}
}

func resize(screen any, message []byte) {
	var m api.InstanceConsoleControl
	sizer, ok := screen.(Sizer)
	if !ok || json.Unmarshal(message, &m) != nil || m.Command != "window-resize" {
		return
	}
	w, err1 := strconv.ParseUint(m.Args["width"], 10, 16)
	h, err2 := strconv.ParseUint(m.Args["height"], 10, 16)
	if err1 == nil && err2 == nil {
		_ = sizer.Resize(int(w), int(h)) // a screen that has closed needs no size
	}
}
