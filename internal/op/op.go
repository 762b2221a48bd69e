// Package op runs long work in the background: progress, cancel, rollback, and a journal that outlives the daemon.
package op

import (
	"context"
	"encoding/json"
	"net/http"

	"lxd/internal/undo"
)

// Class is how a client takes part in an operation (wire names).
type Class string

// Classes.
const (
	TaskClass      Class = "task"
	WebsocketClass Class = "websocket"
	TokenClass     Class = "token"
)

// Spec describes work to run; a use case returns it, the Manager runs it. Nothing has happened before Run.
type Spec struct {
	// Kind is the stable name under which a Recoverer is registered, such as "instance-create".
	Kind string
	// Class is TaskClass when empty.
	Class Class
	// Description is what clients see, such as "Creating instance".
	Description string
	Project     string
	// Resources maps an entity type ("instance") to the URLs it works on.
	Resources map[string][]string
	// Metadata is what clients see from the start.
	Metadata map[string]any
	// Locks are names that no two operations may hold at once; a held one fails Start with Conflict.
	Locks []string
	// Args is journalled as JSON: all that the Recoverer needs to finish or undo the work. Nil = not journalled.
	Args any
	// Run does the work. It must honour ctx and record undo steps on t.
	Run func(ctx context.Context, t *Task) error
	// Connect serves GET operations/ID/websocket of a websocket operation. It has checked nothing: the secret is its business.
	Connect func(w http.ResponseWriter, r *http.Request) error
}

// Caller is who asked for an operation; rest puts it in the context.
type Caller struct {
	Username, Protocol, Address string
}

// Journal is what is kept of an operation while it runs.
type Journal struct {
	ID, Kind, Project, Location string
	Args                        json.RawMessage
	// Done are the names of the steps that were completed, in order.
	Done []string
}

// Recoverer finishes or undoes an operation that a crash cut short. It must be idempotent.
type Recoverer func(ctx context.Context, j Journal) error

// Hook lets a test fail or kill the daemon at a step; it is called before ("before") and after ("after") each one.
type Hook func(kind, step, moment string) error

// Task is what the work sees of its operation.
type Task struct{ undo.Stack }
