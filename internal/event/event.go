// Package event carries what happened to those who listen: operations, lifecycle changes, log lines.
package event

import (
	"context"

	"lxd/api"
)

// Types of events (wire names).
const (
	Operation = "operation"
	Logging   = "logging"
	Lifecycle = "lifecycle"
	OVN       = "ovn"
)

// Filter says which events a listener wants.
type Filter struct {
	// Types are the wanted types; nil means all.
	Types []string
	// Project is the wanted project; events without a project match too, unless ProjectOnly is set.
	Project string
	// AllProjects ignores Project.
	AllProjects bool
	// ProjectOnly leaves out what belongs to no project: it is about the server, and may hold its secrets.
	ProjectOnly bool
	// Only is what an event must be besides; nil is nothing.
	Only func(api.Event) bool
}

// Publisher accepts events.
type Publisher interface {
	// Publish hands ev to every listener that wants it and never blocks: a listener that is too slow is ended.
	Publish(ev api.Event)
}

// Source hands out events.
type Source interface {
	// Listen returns the events from now on that match f; the channel is closed when ctx ends or the listener is too slow.
	Listen(ctx context.Context, f Filter) <-chan api.Event
}

// Change is a lifecycle event as a domain package announces it in a transaction; the composition root turns it into an
// api.Event with requestor and location when the transaction commits.
type Change struct {
	// Action is the wire name, such as "instance-created".
	Action string
	// Source is the URL of the object, without the project query.
	Source string
	// Global objects belong to the server, so that their URL has no such query even if Project is set.
	Global  bool
	Project string
	Name    string
	Context map[string]any
	// Requestor is who caused it, if known.
	Requestor *api.EventLifecycleRequestor
}
