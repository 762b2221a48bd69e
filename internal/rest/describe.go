package rest

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// Doc is what the description of the API has to know of a route besides its pattern, kind and types.
type Doc struct {
	// Params are the query parameters that the route reads, besides those that Params adds.
	Params []string
	// Accepts are further forms of the request's body, Answers of the answer.
	Accepts, Answers []Body
	// Depths are the types of the answer at recursion 0, 1 and so on; nil is Out at each.
	Depths []reflect.Type
	// Matches tells that the route honours If-Match.
	Matches bool
}

// Body is one form of a body.
type Body struct {
	// Status is that of the answer; 0 is 200, or what the kind of the route has.
	Status int
	// Media is the type of the content. "" is JSON: of a request the Go type itself, of an answer the envelope with the Go type
	// as its metadata. Any other type is content as it is.
	Media string
	// Go is what JSON holds; nil is anything.
	Go reflect.Type
}

// JSON is a body of JSON that holds a T.
func JSON[T any]() Body { return Body{Go: reflect.TypeFor[T]()} }

// Bytes is a body that is taken as it is.
func Bytes() Body { return Body{Media: octets} }

// Upgrade is an answer that hands the connection over.
func Upgrade() Body { return Body{Status: http.StatusSwitchingProtocols} }

// Reads names query parameters that the route reads by itself.
func (r Route) Reads(params ...string) Route {
	r.Doc.Params = slices.Concat(r.Doc.Params, params)
	return r
}

// Accepts declares further forms of the request's body.
func (r Route) Accepts(bodies ...Body) Route {
	r.Doc.Accepts = slices.Concat(r.Doc.Accepts, bodies)
	return r
}

// Answers declares further forms of the answer; a Raw route has no others.
func (r Route) Answers(bodies ...Body) Route {
	r.Doc.Answers = slices.Concat(r.Doc.Answers, bodies)
	return r
}

// Depths declares the types of the answer at recursion 0, 1 and so on, for routes whose handlers look at the recursion.
func (r Route) Depths(types ...reflect.Type) Route {
	r.Doc.Depths = types
	return r
}

// Listing declares that a route which is no List answers like one: URLs, or with recursion objects.
func Listing[T any](r Route) Route {
	return r.Depths(reflect.TypeFor[[]string](), reflect.TypeFor[[]T]())
}

// Takes declares the type of the request's body, for routes that decode it into one of their own.
func (r Route) Takes(in reflect.Type) Route {
	r.In = in
	return r
}

// Globals is all routes of a table made global.
func Globals(routes []Route) []Route {
	all := make([]Route, len(routes))
	for i, r := range routes {
		all[i] = r.Global()
	}
	return all
}

// Params lists the query parameters of the route: its own, and those that are read for all routes of its kind.
func (r Route) Params() []string {
	all := slices.Clone(r.Doc.Params)
	if !r.global {
		all = append(all, "project")
	}
	if r.Kind == ListKind {
		all = append(all, "filter")
	}
	if len(r.Doc.Depths) > 0 {
		all = append(all, "recursion")
	}
	if r.entitles() {
		all = append(all, "with-access-entitlements")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// MayBeNull tells that the list is null when it has no items.
func (r Route) MayBeNull() bool { return r.nullEmpty }

// entitles tells whether what the route shows can tell what the caller may do with it.
func (r Route) entitles() bool {
	return strings.HasPrefix(r.Pattern, http.MethodGet+" ") && r.entity() != ""
}

// Find returns the pattern of the route that answers a method and escaped path, "" if none does. A malformed table panics, as it
// does for Handler.
func Find(tables ...[]Route) func(method, path string) string {
	t := plant(tables)
	return func(method, path string) string {
		if r, _, _, _ := t.find(method, path); r != nil {
			return r.Pattern
		}
		return ""
	}
}

// Failure stands for the envelope of an error that comes with the status 200.
type Failure struct{}
