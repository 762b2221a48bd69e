package client

import (
	"context"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"lxd/api"
)

// EventFilter says which events to listen to.
type EventFilter struct {
	// Types are the event types; none means all that the server grants.
	Types []string
	// AllProjects asks for the events of every project.
	AllProjects bool
}

// Events is a stream of events.
type Events struct {
	conn *websocket.Conn
}

// Events starts listening; what happens after it returned is in the stream. The caller closes it.
func (c *Client) Events(ctx context.Context, f EventFilter) (*Events, error) {
	query := url.Values{}
	if len(f.Types) > 0 {
		query.Set("type", strings.Join(f.Types, ","))
	}
	if f.AllProjects {
		query.Set("all-projects", "true")
	}
	path := "/1.0/events"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	conn, err := c.websocket(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Events{conn: conn}, nil
}

// NextRaw waits for the next event and returns it as it was sent.
func (e *Events) NextRaw() ([]byte, error) {
	_, data, err := e.conn.ReadMessage()
	return data, err
}

// Next waits for the next event.
func (e *Events) Next() (api.Event, error) {
	var ev api.Event
	err := e.conn.ReadJSON(&ev)
	return ev, err
}

// Close ends the stream; a waiting Next returns an error.
func (e *Events) Close() error { return e.conn.Close() }
