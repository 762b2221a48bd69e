// Package op runs long work in the background: progress, cancel, rollback, and a journal that outlives the daemon.
package op

import (
	"context"
	"net/http"
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
	// Locks are names that no two operations may hold at once, such as "instance default/c1"; a held one fails Start with
	// Conflict, and the message begins with the name.
	Locks []string
	// Args is journalled as JSON: all that the Recoverer needs to finish or undo the work. Nil = not journalled.
	Args any
	// Run does the work. It must honour ctx and record undo steps on t. Nil waits until the operation is cancelled,
	// which is all that a token does.
	Run func(ctx context.Context, t *Task) error
	// Connect serves GET operations/ID/websocket of a websocket operation. It has checked nothing: the secret is its business.
	Connect func(w http.ResponseWriter, r *http.Request) error
}
