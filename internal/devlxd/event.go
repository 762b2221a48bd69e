package devlxd

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"lxd/internal/errs"
)

// pingTime is the time between two signs of life on a websocket: a listener that gives none in return is gone.
const pingTime = 20 * time.Second

// events sends what changes, over a websocket or as a stream of JSON objects.
func (c *call) events() error {
	types := []string{configEvent, deviceEvent}
	if list := c.FormValue("type"); list != "" {
		types = strings.Split(list, ",")
		for _, t := range types {
			if t != configEvent && t != deviceEvent {
				return errs.Newf(errs.Forbidden, "event type %q: it is %s or %s", t, configEvent, deviceEvent)
			}
		}
	}
	events, stop := c.guest.hub.listen(slices.Compact(slices.Sorted(slices.Values(types))))
	defer stop()
	if websocket.IsWebSocketUpgrade(c.Request) {
		c.socket(events)
		return nil
	}
	return c.stream(events)
}

// socket sends events over a websocket.
func (c *call) socket(events <-chan []byte) {
	// Instances are no browsers, whatever origin their programs make up.
	conn, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(c.w, c.Request, nil)
	if err != nil {
		return // it was answered
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	defer cancel()
	go read(conn, cancel)
	ping := time.NewTicker(pingTime)
	defer ping.Stop()
	for {
		kind, b, ok := websocket.PingMessage, []byte(nil), true
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
		case b, ok = <-events:
			kind = websocket.TextMessage
		}
		if !ok {
			_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(writeTime))
			return
		}
		if conn.SetWriteDeadline(time.Now().Add(writeTime)) != nil || conn.WriteMessage(kind, b) != nil {
			return
		}
	}
}

// read takes what a listener sends, which is nothing but answers to pings, until it is gone.
func read(conn *websocket.Conn, gone func()) {
	defer gone()
	conn.SetReadLimit(1 << 10)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(2*pingTime + writeTime)) }
	conn.SetPongHandler(alive)
	_ = alive("") // or the next read fails
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

// stream sends events one after another in the answer.
func (c *call) stream(events <-chan []byte) error {
	rc := http.NewResponseController(c.w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil { // the request is over; that the guest is gone is told by the kernel
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	if err := rc.Flush(); err != nil {
		return nil // there is nobody to tell
	}
	for {
		select {
		case <-c.Context().Done():
			return nil
		case b, ok := <-events:
			if !ok || c.extend() != nil {
				return nil
			}
			if _, err := c.w.Write(append(b, '\n')); err != nil || rc.Flush() != nil {
				return nil
			}
		}
	}
}
