package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/op"
)

// Phase is where the daemon stands.
type Phase int32

// Phases.
const (
	// Starting answers nothing but /internal.
	Starting Phase = iota
	// Serving answers everything.
	Serving
	// Stopping answers what helps to watch the end: reads, events, operations and /internal.
	Stopping
)

// Server is the machinery that all routes share.
type Server struct {
	// Self is the name of this member.
	Self string
	// Ops runs what Async routes return.
	Ops *op.Manager
	// Auth tells who calls; nil takes auth.Identify.
	Auth func(*http.Request) (auth.Identity, error)
	// Invite writes into the header of an answer how a caller that proved nothing can prove itself; nil says nothing.
	Invite func(ctx context.Context, h http.Header)
	// Project fails with NotFound if there is no such project; nil lets every name pass.
	Project func(ctx context.Context, name string) error
	// Owner names the project that owns what a project sees of a type of entity, or of what an entitlement lets one create there, such
	// as "profile" or "can_create_profiles"; nil lets each project own all that it sees.
	Owner func(ctx context.Context, project, what string) string
	// Named is the URL of the object that a path names in another way, such as an image by the beginning of its fingerprint; nil is for
	// servers where every object has one name.
	Named func(ctx context.Context, o auth.Object) string
	// Forward hands a call to another member; nil is for servers that have none.
	Forward func(w http.ResponseWriter, r *http.Request, member string)

	// Limit holds back strangers who send wrong secrets; nil holds back no one.
	Limit *limit.Limiter
	// Patience is how long a client on a network may take for the next part of its request or of its answer; 0 takes the usual time.
	Patience time.Duration

	phase  atomic.Int32
	edits  stripes
	tally  tally
	shares shares
	lines  lines
	chunks sync.Pool // of *bufio.Writer
}

// SetPhase says what may be answered from now on. A Server begins as Starting.
func (s *Server) SetPhase(p Phase) { s.phase.Store(int32(p)) }

// Phase tells what may be answered now.
func (s *Server) Phase() Phase { return Phase(s.phase.Load()) }

// Handler serves the routes. A malformed table, or a route without access, is an error of the program and panics.
func (s *Server) Handler(tables ...[]Route) http.Handler {
	t := plant(tables)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handle(t, w, r) })
}

func plant(tables [][]Route) *tree {
	t := &tree{}
	for _, table := range tables {
		for _, r := range table {
			if err := r.Access.Valid(); err != nil {
				panic("route " + r.Pattern + ": " + err.Error())
			}
			r.shows = r.entity()
			if err := t.add(&r); err != nil {
				panic(err.Error())
			}
		}
	}
	return t
}

// handle answers one request and logs it; a panic of a handler ends that answer alone.
func (s *Server) handle(t *tree, rw http.ResponseWriter, r *http.Request) {
	w, start := &writer{ResponseWriter: rw}, time.Now()
	end := s.tally.begin(r.URL.Path)
	defer func() { end(w.status, w.work) }()
	r = s.guard(w, r)
	defer w.begin() // what is buffered is sent after this
	defer func() {
		if p := recover(); p != nil {
			s.panicked(w, r, p)
		}
		slog.Debug("Answered a request", "method", r.Method, "path", r.URL.Path, "status", w.status, "took", time.Since(start))
	}()
	if err := s.dispatch(t, w, r); err != nil {
		if w.status == 0 {
			writeError(w, err)
			return
		}
		slog.Warn("A request failed after its answer had begun", "method", r.Method, "path", r.URL.Path, "err", err)
	}
}

func (s *Server) panicked(w *writer, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	slog.Error("A request made its handler panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.status == 0 {
		writeError(w, errs.Newf(errs.Internal, "internal error: %v", p))
	}
}

// methods are those that routes can have.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch}

// dispatch finds the route and goes through the checks that all routes have in common.
func (s *Server) dispatch(t *tree, w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	route, names, values, known := t.find(r.Method, r.URL.EscapedPath())
	switch {
	case !known || !slices.Contains(methods, r.Method):
		return errs.Newf(errs.NotFound, "not found")
	case route == nil:
		return errs.Newf(errs.Unsupported, "%s is not implemented for %s", r.Method, r.URL.Path)
	}
	values, err := unescape(values)
	if err != nil {
		return errs.Newf(errs.Invalid, "path: %w", err)
	}
	for i, name := range names {
		r.SetPathValue(name, values[i])
	}
	return s.enter(w, r, route)
}

// enter checks the caller and serves the call here or elsewhere.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, route *Route) error {
	if err := errors.Join(fromBrowser(r, route), bodyType(r, route, auth.Identity{}), s.awake(r)); err != nil {
		return err
	}
	id, err := s.identify(r)
	if err != nil {
		s.invite(w, r, StatusOf(err))
		return err
	}
	leave, err := s.shares.enter(r, id)
	if err != nil {
		return err
	}
	defer leave()
	if err := errors.Join(inSession(r, id), bodyType(r, route, id)); err != nil {
		return err
	}
	if own, ok := w.(*writer); ok && id.Trusted() && id.Kind != auth.Unix {
		own.keep = s.keep(r, id)
	}
	r = r.WithContext(op.WithCaller(r.Context(), op.Caller{Username: id.Name, Protocol: string(id.Kind), Address: id.Address, Restricted: !id.Admin}))
	c, err := s.newCall(r, route, id)
	if err != nil {
		return err
	}
	c.limit = s.Limit
	if err := s.admit(c); err != nil {
		if !id.Trusted() {
			s.invite(w, r, StatusOf(err))
		}
		return err
	}
	if member, err := s.place(c); err != nil {
		return err
	} else if member != "" {
		s.Forward(w, c.Request, member)
		return nil
	}
	return route.serve(s, w, c)
}

// invite tells a caller that is turned away how it could prove itself.
func (s *Server) invite(w http.ResponseWriter, r *http.Request, status int) {
	if s.Invite != nil && (status == http.StatusForbidden || status == http.StatusUnauthorized) {
		s.Invite(r.Context(), w.Header())
	}
}

func (s *Server) identify(r *http.Request) (auth.Identity, error) {
	if s.Auth == nil {
		return auth.Identify(r)
	}
	return s.Auth(r)
}

// admit checks rights before anything is told about the project.
func (s *Server) admit(c *Call) error {
	a := c.route.Access
	if !c.Caller.Trusted() && a.Open() && c.Header.Get("X-LXD-authenticated") != "" {
		return errs.Newf(errs.Forbidden, "not authorized: the server does not trust this client")
	}
	err := a.Enter(c.Caller)
	// Even an empty list of what belongs to one object would tell that the object is there.
	if c.route.Kind != ListKind || auth.InProject(a.Entity()) && c.within() {
		err = c.checkPath()
	}
	// Strangers must not learn which projects there are: the few routes that let them in find what is public there, or nothing.
	if err != nil || c.route.global || s.Project == nil || c.AllProjects || !c.Caller.Trusted() {
		return err
	}
	if err := c.mayEnterProject(); err != nil {
		return err
	}
	return s.Project(c.Context(), c.Project)
}

// checkPath checks the rights on what the path names.
func (c *Call) checkPath() error {
	if c.Caller.Admin || c.route.Access.Entity() == "" {
		return c.route.Access.Check(c.Caller, auth.Object{})
	}
	asked := c.object()
	err := c.route.Access.CheckAs(c.Caller, c.owned(c.named(asked), c.route.Access.Entitlement()), asked)
	if err != nil && c.Caller.Trusted() && c.route.otherwise != nil && c.route.otherwise(c.Context(), c) {
		return nil
	}
	return err
}

// mayEnterProject keeps those out who have rights in some projects only, so that they do not even learn which others there are.
func (c *Call) mayEnterProject() error {
	switch {
	case c.Caller.Admin || !c.query.Has("project") && !auth.InProject(c.route.Access.Entity()):
		return nil
	case !c.Caller.FineGrained:
		return auth.Can("project", "can_view").Check(c.Caller, auth.ProjectObject(c.Project))
	case !c.Caller.Knows(c.Project):
		return errs.Newf(errs.NotFound, "project %q not found", c.Project)
	}
	return nil
}

// place names the other member that must serve the call.
func (s *Server) place(c *Call) (string, error) {
	if c.route.At == nil {
		return "", nil
	}
	member, err := c.route.At(c.Context(), c)
	if err != nil || member == "" || member == s.Self {
		return "", err
	}
	if s.Forward == nil {
		return "", errs.Newf(errs.Unavailable, "this belongs to the member %q, and this server knows no other members", member)
	}
	return member, nil
}

// awake tells whether the phase lets the request pass.
func (s *Server) awake(r *http.Request) error {
	internal := strings.HasPrefix(r.URL.Path, "/internal/")
	switch s.Phase() {
	case Starting:
		if !internal {
			return errs.Newf(errs.Unavailable, "the server is starting: try again in a moment")
		}
	case Stopping:
		watching := r.Method == http.MethodGet || internal || r.URL.Path == "/1.0" ||
			strings.HasPrefix(r.URL.Path, "/1.0/events") || strings.HasPrefix(r.URL.Path, "/1.0/operations")
		if !watching {
			return errs.Newf(errs.Unavailable, "the server is shutting down")
		}
	}
	return nil
}

// Written is metadata that is JSON already, and is sent as it is.
type Written []byte

// sync sends metadata as the answer of a request that is done.
func (s *Server) sync(w http.ResponseWriter, c *Call, metadata any) error {
	if ready, ok := metadata.(Written); ok {
		body := s.open(w, c, len(listHead)+len(ready)+len(listTail))
		defer body.Close()
		for _, part := range [][]byte{[]byte(listHead), ready, []byte(listTail)} {
			_, _ = body.Write(part) // a client that went away needs no answer
		}
		return nil
	}
	b, err := Result(metadata, nil)
	if err != nil {
		return err
	}
	body := s.open(w, c, len(b))
	defer body.Close()
	_, _ = body.Write(b) // a client that went away needs no answer
	return nil
}

// Run runs work that answers the call by itself, and waits for it. It is cancelled when the client goes away.
func (s *Server) Run(c *Call, spec op.Spec) error {
	o, err := s.Ops.Start(c.Context(), spec)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(c.Context(), func() { _ = o.Cancel(context.WithoutCancel(c.Context())) }) // one that ended is what is wanted
	defer stop()
	return o.Wait(context.WithoutCancel(c.Context()))
}

// rest is how long the rest of a body that is not wanted is taken.
const rest = 10 * time.Second

// discard takes what is left of a body, so that the client gets to read the answer.
func discard(w http.ResponseWriter, c *Call) {
	until, control := time.Now().Add(rest), http.NewResponseController(w)
	if p, ok := c.Body.(*patient); ok {
		p.until = until
	}
	_ = control.SetReadDeadline(until) // what has no deadlines is not a network
	_, _ = io.Copy(io.Discard, c.Body)
	_ = control.SetReadDeadline(time.Time{})
}

// Start runs work and answers with its operation, for Raw routes; the others do it by themselves.
func (s *Server) Start(w http.ResponseWriter, c *Call, spec op.Spec) error {
	return s.StartUntil(w, c, spec, nil)
}

// StartUntil is Start for work that reads the body of the call: it answers when read is closed, or the work ended.
func (s *Server) StartUntil(w http.ResponseWriter, c *Call, spec op.Spec, read <-chan struct{}) error {
	o, err := s.Ops.Start(c.Context(), spec)
	if err != nil {
		return err
	}
	if own, ok := w.(*writer); ok {
		own.work = o
	}
	if read != nil {
		select {
		case <-read:
		case <-o.Done():
		}
		discard(w, c)
	}
	w.Header().Set("Location", o.URL())
	return writeJSON(w, http.StatusAccepted, envelope{
		Type: "async", Status: "Operation created", StatusCode: 100, Operation: o.URL(), Metadata: o.API(),
	})
}
