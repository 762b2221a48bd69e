package endpoint

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/rest"
)

const (
	// pingEvery keeps proxies from closing a quiet connection, and finds listeners that are gone.
	pingEvery = 30 * time.Second
	// writeWithin is how long a listener may take to read one event before it is ended.
	writeWithin = 10 * time.Second
)

// Events is the routes of /1.0/events. ping is the time between pings, 0 takes the usual one.
func Events(source event.Source, ping time.Duration) []rest.Route {
	if ping == 0 {
		ping = pingEvery
	}
	h := events{source, ping}
	return []rest.Route{rest.Raw("GET /1.0/events", auth.Authenticated, h.listen).Reads("type", "all-projects").Answers(rest.Upgrade())}
}

type events struct {
	source event.Source
	ping   time.Duration
}

func (h events) listen(w http.ResponseWriter, c *rest.Call) error {
	f, err := eventFilter(c)
	if err != nil {
		return err
	}
	if !websocket.IsWebSocketUpgrade(c.Request) {
		return errs.Newf(errs.Invalid, "events come over a websocket: send the Upgrade header")
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	// What happens after the caller has its answer must be in the stream, so that listening begins before it.
	from := h.source.Listen(ctx, f)
	show := shownTo(c)
	conn, err := (&websocket.Upgrader{CheckOrigin: ownPage}).Upgrade(w, c.Request, nil)
	if err != nil {
		return nil // answered by Upgrade
	}
	defer conn.Close()
	go watchPeer(conn, 2*h.ping+writeWithin, cancel)
	h.feed(ctx, conn, from, show)
	return nil
}

// eventFilter reads what the caller wants and checks that it may have it.
func eventFilter(c *rest.Call) (event.Filter, error) {
	f := event.Filter{Project: c.Project, AllProjects: c.AllProjects}
	server := c.Check(auth.Can("server", "can_view_events"), auth.ServerObject)
	if server != nil {
		if err := c.Check(auth.Can("project", "can_view_events"), auth.ProjectObject(c.Project)); err != nil || c.AllProjects {
			return ownOperations(c, f, server)
		}
		f.ProjectOnly = true
	}
	for typ := range strings.SplitSeq(c.Param("type"), ",") {
		if typ = strings.TrimSpace(typ); typ == "" {
			continue
		}
		if !slices.Contains(event.Types(), typ) {
			return f, errs.Newf(errs.Invalid, "event type %q: must be one of %s", typ, strings.Join(event.Types(), ", "))
		}
		if server != nil && ofServer(typ) {
			return f, server
		}
		f.Types = append(f.Types, typ)
	}
	if f.Types == nil && server != nil {
		f.Types = slices.DeleteFunc(event.Types(), ofServer)
	}
	return f, nil
}

// ownOperations is for those with fine-grained rights who may not see what happens: they hear of the operations that they started
// themselves, which is what a client needs to follow its own work.
func ownOperations(c *rest.Call, f event.Filter, refused error) (event.Filter, error) {
	if wanted := c.Param("type"); !c.Caller.FineGrained || wanted != "" && wanted != event.Operation {
		return f, refused
	}
	f.Types, f.AllProjects = []string{event.Operation}, true
	f.Only = func(ev api.Event) bool {
		var o api.Operation
		return json.Unmarshal(ev.Metadata, &o) == nil && started(c, o)
	}
	return f, nil
}

// started tells whether the caller asked for the operation.
func started(c *rest.Call, o api.Operation) bool {
	return o.Requestor != nil && o.Requestor.Username == c.Caller.Name && o.Requestor.Protocol == string(c.Caller.Kind)
}

// shownTo is what makes of an event that which the caller may see of it: the secrets of an operation are for who started it.
func shownTo(c *rest.Call) func(api.Event) api.Event {
	return func(ev api.Event) api.Event {
		var o api.Operation
		if ev.Type != event.Operation || confided(c) {
			return ev
		}
		err := json.Unmarshal(ev.Metadata, &o)
		if err == nil && started(c, o) {
			return ev
		}
		ev.Metadata = []byte("{}")
		if b, e := json.Marshal(outline(o)); err == nil && e == nil {
			ev.Metadata = b
		}
		return ev
	}
}

// ofServer tells whether events of that type are about the server as a whole.
func ofServer(typ string) bool { return typ == event.Logging || typ == event.OVN }

// ownPage refuses pages of other servers in browsers; programs make up an origin, or send none.
func ownPage(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	u, err := url.Parse(origin)
	return origin == "" || err == nil && strings.EqualFold(u.Host, r.Host) || !strings.HasPrefix(r.UserAgent(), "Mozilla")
}

// watchPeer reads what the listener sends, which is nothing but answers to pings, until it is gone.
func watchPeer(conn *websocket.Conn, patience time.Duration, gone func()) {
	defer gone()
	conn.SetReadLimit(4 << 10)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(patience)) }
	conn.SetPongHandler(alive)
	_ = alive("")
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

// feed sends events until the listener is gone, is too slow, or a write fails.
func (h events) feed(ctx context.Context, conn *websocket.Conn, from <-chan api.Event, show func(api.Event) api.Event) {
	ping := time.NewTicker(h.ping)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev, ok := <-from:
			if !ok {
				say := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, "too slow: events were lost")
				_ = conn.WriteControl(websocket.CloseMessage, say, time.Now().Add(writeWithin))
				return
			}
			if conn.SetWriteDeadline(time.Now().Add(writeWithin)) != nil || conn.WriteJSON(show(ev)) != nil {
				return
			}
		case <-ping.C:
			if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWithin)) != nil {
				return
			}
		}
	}
}
