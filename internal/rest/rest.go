// Package rest turns tables of typed routes into an http.Handler. It knows no resource.
//
// A route is one row: a pattern in the syntax of net/http's ServeMux, the access it needs, and a handler that sees decoded
// bodies and returns values and errors. Everything that is the same for all routes is done here once: envelope and status,
// project, recursion, filter, If-Match, merging of PATCH, browser checks, forwarding to another member.
package rest

import (
	"context"
	"iter"
	"net/http"
	"reflect"
	"strings"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/op"
)

// Access is what a route asks of its caller; package auth makes them.
type Access = auth.Access

// Placement names the member that must serve a call; "" means this one.
type Placement func(ctx context.Context, c *Call) (member string, err error)

// None is the body of requests and answers that have none.
type None struct{}

// Kind is how a route answers.
type Kind string

// Kinds of routes.
const (
	SyncKind   Kind = "sync"
	AsyncKind  Kind = "async"
	CreateKind Kind = "create"
	ListKind   Kind = "list"
	RawKind    Kind = "raw"
)

// Route is one row of the API.
type Route struct {
	// Pattern is "METHOD /path/{name}"; the last name may end in "..." and then takes the rest of the path.
	Pattern string
	Access  Access
	// At places the call; nil means this member.
	At   Placement
	Kind Kind
	// In and Out are the types of the bodies, for the description of the API.
	In, Out reflect.Type
	Doc     Doc

	strict, global, nullEmpty, linked bool
	// otherwise is asked when the rights on the object do not suffice.
	otherwise func(ctx context.Context, c *Call) bool
	// shows is the entity that answers are, if they can tell what the caller may do with it.
	shows string
	// uploads says that bodies need not be JSON.
	uploads bool
	serve   func(s *Server, w http.ResponseWriter, c *Call) error
}

// On places a route on the member that p names.
func (r Route) On(p Placement) Route { r.At = p; return r }

// Strict makes a route answer 400 to a recursion that is no number and to a malformed filter; others take such a recursion
// for 0 and answer 500 to such a filter.
func (r Route) Strict() Route { r.strict = true; return r }

// Global tells that a route does not look at the project of the call.
func (r Route) Global() Route { r.global = true; return r }

// Or lets those in, too, of whom may says so: for objects that other rights can decide about.
func (r Route) Or(may func(ctx context.Context, c *Call) bool) Route { r.otherwise = may; return r }

// Linked tells that browsers may open a route from pages of other sites, by a link or because they are sent on.
func (r Route) Linked() Route { r.linked = true; return r }

// NullEmpty makes a list without items null.
func (r Route) NullEmpty() Route { r.nullEmpty = true; return r }

// Sync makes a route that answers at once.
func Sync[In, Out any](pattern string, a Access, h func(context.Context, *Call, In) (Out, error)) Route {
	return Route{Pattern: pattern, Access: a, Kind: SyncKind, In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
		serve: func(s *Server, w http.ResponseWriter, c *Call) error {
			in, err := decode[In](w, c)
			if err != nil {
				return err
			}
			out, err := h(c.Context(), c, in)
			if err != nil {
				return err
			}
			return s.sync(w, c, out)
		}}
}

// Get makes a route that shows one object. What etag holds is hashed into the ETag header; nil is none.
func Get[Out any](pattern string, a Access, h func(context.Context, *Call) (out Out, etag any, err error)) Route {
	return Route{Pattern: pattern, Access: a, Kind: SyncKind, In: reflect.TypeFor[None](), Out: reflect.TypeFor[Out](),
		serve: func(s *Server, w http.ResponseWriter, c *Call) error {
			if err := c.want(true); err != nil {
				return err
			}
			out, etag, err := h(c.Context(), c)
			if err != nil {
				return err
			}
			if etag != nil {
				tag, err := ETag(etag)
				if err != nil {
					return err
				}
				w.Header().Set("ETag", tag)
			}
			answer, err := c.told(out)
			if err != nil {
				return err
			}
			return s.sync(w, c, answer)
		}}
}

// Create makes a route whose handler makes an object at once and returns its URL.
func Create[In any](pattern string, a Access, h func(context.Context, *Call, In) (location string, err error)) Route {
	return Route{Pattern: pattern, Access: a, Kind: CreateKind, In: reflect.TypeFor[In](), Out: reflect.TypeFor[None](),
		serve: func(_ *Server, w http.ResponseWriter, c *Call) error {
			in, err := decode[In](w, c)
			if err != nil {
				return err
			}
			location, err := h(c.Context(), c, in)
			if err != nil {
				return err
			}
			w.Header().Set("Location", location)
			return writeJSON(w, http.StatusCreated, success(nil))
		}}
}

// CreateShown makes a route like Create whose answer also shows something that is not to be had later; nil is nothing.
func CreateShown[In, Out any](pattern string, a Access, h func(context.Context, *Call, In) (location string, out *Out, err error)) Route {
	r := Route{Pattern: pattern, Access: a, Kind: CreateKind, In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out](),
		serve: func(_ *Server, w http.ResponseWriter, c *Call) error {
			in, err := decode[In](w, c)
			if err != nil {
				return err
			}
			location, out, err := h(c.Context(), c, in)
			if err != nil {
				return err
			}
			w.Header().Set("Location", location)
			if out == nil {
				return writeJSON(w, http.StatusCreated, success(nil))
			}
			return writeJSON(w, http.StatusCreated, success(out))
		}}
	return r.Answers(Body{Status: http.StatusCreated, Go: r.Out})
}

// Either makes a route whose handler makes an object at once and returns its URL, or returns work that the server is to run.
func Either[In any](pattern string, a Access, h func(context.Context, *Call, In) (location string, work *op.Spec, err error)) Route {
	return Route{Pattern: pattern, Access: a, Kind: CreateKind, In: reflect.TypeFor[In](), Out: reflect.TypeFor[None](),
		Doc: Doc{Answers: []Body{{Status: http.StatusAccepted, Go: reflect.TypeFor[api.Operation]()}}},
		serve: func(s *Server, w http.ResponseWriter, c *Call) error {
			in, err := decode[In](w, c)
			if err != nil {
				return err
			}
			location, work, err := h(c.Context(), c, in)
			if err != nil {
				return err
			}
			if work != nil {
				return s.Start(w, c, *work)
			}
			w.Header().Set("Location", location)
			return writeJSON(w, http.StatusCreated, success(nil))
		}}
}

// Async makes a route whose handler checks the request and returns the work; the server runs it.
func Async[In any](pattern string, a Access, h func(context.Context, *Call, In) (op.Spec, error)) Route {
	return Route{Pattern: pattern, Access: a, Kind: AsyncKind, In: reflect.TypeFor[In](), Out: reflect.TypeFor[api.Operation](),
		serve: func(s *Server, w http.ResponseWriter, c *Call) error {
			in, err := decode[In](w, c)
			if err != nil {
				return err
			}
			spec, err := h(c.Context(), c, in)
			if err != nil {
				return err
			}
			return s.Start(w, c, spec)
		}}
}

// AsyncOr makes a route like Async that also takes bodies of the type application/octet-stream: those are for raw.
func AsyncOr[In any](pattern string, a Access, h func(context.Context, *Call, In) (op.Spec, error), raw func(http.ResponseWriter, *Call) error) Route {
	r := Async(pattern, a, h).Accepts(Bytes())
	r.uploads = true
	decoded := r.serve
	r.serve = func(s *Server, w http.ResponseWriter, c *Call) error {
		if strings.HasPrefix(c.Header.Get("Content-Type"), octets) {
			return raw(w, c)
		}
		return decoded(s, w, c)
	}
	return r
}

// AsyncOrStream makes a route like Async whose answer can also be a stream, for clients that accept application/octet-stream.
func AsyncOrStream[In any](pattern string, a Access, h func(context.Context, *Call, In) (op.Spec, error), stream func(http.ResponseWriter, *Call, In) error) Route {
	r := Async(pattern, a, h).Answers(Bytes())
	decoded := r.serve
	r.serve = func(s *Server, w http.ResponseWriter, c *Call) error {
		if c.Header.Get("Accept") != octets {
			return decoded(s, w, c)
		}
		in, err := decode[In](w, c)
		if err != nil {
			return err
		}
		return stream(w, c, in)
	}
	return r
}

// octets is the type of a body that is taken as it is.
const octets = "application/octet-stream"

// Item is one object of a list.
type Item[T any] struct {
	// URL is what recursion 0 shows.
	URL string
	// Project is the project that the object is in, for those whose URL does not tell it; "" is the one of the call.
	Project string
	// Open items are shown to everybody who may see the list: the handler has decided.
	Open bool
	// Value makes the object as that recursion (1 or more) shows it.
	Value func(recursion int) T
	// JSON is the kept JSON of the object, used when there is no need to look inside; nil, or a nil result, means to marshal
	// Value's.
	JSON func(recursion int) []byte
}

// List makes a route that shows many objects: recursion, filter, and hiding what the caller may not view are done for it.
// An error of the sequence fails the whole answer.
func List[T any](pattern string, a Access, h func(context.Context, *Call) iter.Seq2[Item[T], error]) Route {
	r := Route{Pattern: pattern, Access: a, Kind: ListKind, In: reflect.TypeFor[None](), Out: reflect.TypeFor[[]T](),
		Doc: Doc{Depths: []reflect.Type{reflect.TypeFor[[]string](), reflect.TypeFor[[]T]()}}}
	r.serve = func(s *Server, w http.ResponseWriter, c *Call) error {
		if err := c.want(c.Recursion > 0); err != nil {
			return err
		}
		parts, err := gather(c, h(c.Context(), c))
		if err != nil {
			return err
		}
		return s.list(w, c, parts)
	}
	return r
}

// Raw makes a route that reads and writes for itself: uploads, websockets, streams. An error returned before anything was
// written is answered like any other.
func Raw(pattern string, a Access, h func(http.ResponseWriter, *Call) error) Route {
	return Route{Pattern: pattern, Access: a, Kind: RawKind, In: reflect.TypeFor[None](), Out: reflect.TypeFor[None](),
		serve: func(_ *Server, w http.ResponseWriter, c *Call) error { return h(w, c) }}
}

// Patterns lists the patterns of the routes.
func Patterns(tables ...[]Route) []string {
	var all []string
	for _, t := range tables {
		for _, r := range t {
			all = append(all, r.Pattern)
		}
	}
	return all
}
