package op

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
)

// pace is the least time between two progress events of one operation.
const pace = 200 * time.Millisecond

// Operation is one run of a Spec.
type Operation struct {
	id      string
	spec    Spec
	caller  Caller
	created time.Time
	m       *Manager
	ctx     context.Context
	cancel  context.CancelCauseFunc
	done    chan struct{}

	mu       sync.Mutex
	status   api.StatusCode
	err      error
	updated  time.Time
	metadata map[string]any
	told     time.Time
	soon     *time.Timer
}

// ID is the id, a random UUID.
func (o *Operation) ID() string { return o.id }

// URL is the path of the operation in the API.
func (o *Operation) URL() string { return "/1.0/operations/" + o.id }

// Project is the project that the operation belongs to; "" for one of the server.
func (o *Operation) Project() string { return o.spec.Project }

// Caller is who asked for it.
func (o *Operation) Caller() Caller { return o.caller }

// Resources are the URLs that it works on, by entity type.
func (o *Operation) Resources() map[string][]string { return maps.Clone(o.spec.Resources) }

// Done is closed when the operation has ended, undo steps included.
func (o *Operation) Done() <-chan struct{} { return o.done }

// API is the operation as clients see it now.
func (o *Operation) API() api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := api.Operation{
		ID: o.id, Class: string(o.spec.Class), Description: o.spec.Description, CreatedAt: o.created, UpdatedAt: o.updated,
		Status: o.status.String(), StatusCode: o.status, Resources: o.spec.Resources, Metadata: maps.Clone(o.metadata),
		MayCancel: true, Location: o.m.o.Location,
	}
	if o.err != nil {
		a.Err = o.err.Error()
	}
	if o.caller != (Caller{}) {
		a.Requestor = &api.OperationRequestor{Username: o.caller.Username, Protocol: o.caller.Protocol, Address: o.caller.Address}
	}
	return a
}

// Wait blocks until the operation ended and returns its error, or the error of ctx.
func (o *Operation) Wait(ctx context.Context) error {
	select {
	case <-o.done:
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Cancel asks the work to stop and returns at once; the undo steps run before the operation ends. An ended one fails
// with Invalid.
func (o *Operation) Cancel(ctx context.Context) error {
	o.mu.Lock()
	if o.status.Final() {
		defer o.mu.Unlock()
		return errs.Newf(errs.Invalid, "operation %s has already ended (%s): there is nothing to cancel", o.id, o.status)
	}
	o.status, o.updated = api.StatusCancelling, time.Now()
	o.mu.Unlock()
	o.announce()
	o.announceCancel(CallerOf(ctx))
	o.cancel(errCancelled)
	return nil
}

// announceCancel publishes that somebody cancelled the operation, if anyone listens; that the daemon does when it ends is no news.
func (o *Operation) announceCancel(by Caller) {
	p := o.m.o.Publish
	if w, ok := p.(wanted); p == nil || by == (Caller{}) || ok && !w.Wanted(event.Lifecycle) {
		return
	}
	ev, err := event.Change{Action: api.LifecycleOperationCancelled, Source: o.URL(), Global: true, Project: o.spec.Project, Name: o.id,
		Requestor: &api.EventLifecycleRequestor{Username: by.Username, Protocol: by.Protocol, Address: by.Address}}.API(time.Now())
	if err == nil {
		p.Publish(ev)
	}
}

// wanted is a publisher that knows whether anyone listens.
type wanted interface{ Wanted(typ string) bool }

// errCancelled is the cause that work sees once a client cancelled it.
var errCancelled = errs.Newf(errs.Canceled, "the operation was cancelled")

// Connect serves one websocket of a websocket operation.
func (o *Operation) Connect(w http.ResponseWriter, r *http.Request) error {
	if o.spec.Class != WebsocketClass || o.spec.Connect == nil {
		return errs.Newf(errs.Internal, "operation %s is of class %s and has no websockets", o.id, o.spec.Class)
	}
	o.mu.Lock()
	status := o.status
	o.mu.Unlock()
	if status != api.StatusRunning {
		return errs.Newf(errs.Invalid, "operation %s is not running (%s): start a new one", o.id, status)
	}
	return o.spec.Connect(w, r)
}

func (o *Operation) set(key string, v any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.metadata == nil {
		o.metadata = map[string]any{}
	}
	o.metadata[key] = v
	o.updated = time.Now()
}

// begin marks the operation as running, unless it was cancelled already.
func (o *Operation) begin() {
	o.mu.Lock()
	if o.status == api.StatusOperationCreated {
		o.status, o.updated = api.StatusRunning, time.Now()
	}
	o.mu.Unlock()
	o.announce()
}

func (o *Operation) setStatus(s api.StatusCode, err error) {
	o.mu.Lock()
	o.status, o.err, o.updated = s, err, time.Now()
	if o.soon != nil {
		o.soon.Stop()
	}
	o.mu.Unlock()
	o.announce()
}

// announce publishes the operation as it is now, if anyone listens.
func (o *Operation) announce() {
	p := o.m.o.Publish
	if p == nil {
		return
	}
	if w, ok := p.(wanted); ok && !w.Wanted(event.Operation) {
		return
	}
	b, err := json.Marshal(o.API())
	if err != nil {
		return // metadata that does not marshal is refused where it is shown: GET answers 500
	}
	p.Publish(api.Event{Type: event.Operation, Timestamp: time.Now(), Metadata: b, Location: o.m.o.Location, Project: o.spec.Project})
}

// announceSoon publishes at once if nothing was published for a while, and otherwise when that while is over.
func (o *Operation) announceSoon() {
	o.mu.Lock()
	if o.soon != nil || o.status.Final() {
		o.mu.Unlock()
		return
	}
	wait := pace - time.Since(o.told)
	if wait > 0 {
		o.soon = time.AfterFunc(wait, o.late)
		o.mu.Unlock()
		return
	}
	o.told = time.Now()
	o.mu.Unlock()
	o.announce()
}

func (o *Operation) late() {
	o.mu.Lock()
	o.soon, o.told = nil, time.Now()
	final := o.status.Final()
	o.mu.Unlock()
	if !final {
		o.announce()
	}
}
