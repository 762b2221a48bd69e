package event

import (
	"encoding/json"
	"net/url"
	"time"

	"lxd/api"
)

// API is the event that listeners see of the change, as of at.
func (c Change) API(at time.Time) (api.Event, error) {
	source := c.Source
	if !c.Global && c.Project != "" && c.Project != "default" {
		source += "?project=" + url.QueryEscape(c.Project)
	}
	b, err := json.Marshal(api.EventLifecycle{
		Action: c.Action, Source: source, Context: c.Context, Requestor: c.Requestor, Name: c.Name, Project: c.Project,
	})
	return api.Event{Type: Lifecycle, Timestamp: at, Metadata: b, Project: c.Project}, err
}

// Announce publishes what a transaction announced once it is committed; anything but a Change is left to others.
// It has the form that a store's engine calls.
func (h *Hub) Announce(announced any) {
	c, ok := announced.(Change)
	if !ok {
		return
	}
	if !h.Wanted(Lifecycle) {
		return
	}
	if ev, err := c.API(time.Now()); err == nil {
		h.Publish(ev)
	}
}
