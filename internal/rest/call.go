package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lxd/internal/auth"
	"lxd/internal/auth/limit"
	"lxd/internal/errs"
	"lxd/internal/schema"
)

// Call is what every handler gets besides its decoded body.
type Call struct {
	*http.Request
	// Project is the project of the call. It exists; without the parameter it is "default".
	Project string
	// AllProjects asks for the objects of every project.
	AllProjects bool
	// Recursion is how deep lists show their objects.
	Recursion int
	// Fields limits what an object of recursion 2 holds, such as "state.disk"; nil is everything.
	Fields []string
	// Caller is who asks.
	Caller auth.Identity

	server *Server
	route  *Route
	limit  *limit.Limiter
	query  url.Values
	// wanted are the entitlements that objects are to be shown with.
	wanted []string
	// owners remembers which project owns what, for lists.
	owners map[[2]string]string
}

// Query is the parsed query.
func (c *Call) Query() url.Values { return c.query }

// Prove lets judge look at a secret that the caller sent. From an address of which too many wrong ones came it does not; that is for
// strangers alone, since whoever proved who it is does not depend on secrets.
func (c *Call) Prove(secret string, judge func() error) error {
	if secret == "" || c.Caller.Trusted() {
		return judge()
	}
	return c.limit.Try(c.RemoteAddr, secret, judge)
}

// Param is the first value of a query parameter, "" when it is absent.
func (c *Call) Param(name string) string { return c.query.Get(name) }

// Flag reads a query parameter as a boolean.
func (c *Call) Flag(name string) bool { return schema.IsTrue(c.query.Get(name)) }

// Target is the member that the caller asks for; "" leaves it to the server.
func (c *Call) Target() string { return c.query.Get("target") }

// newCall reads the parts of a request that all routes share.
func (s *Server) newCall(r *http.Request, route *Route, id auth.Identity) (*Call, error) {
	// Go drops pairs with a plain semicolon, which recursion=2;fields=... has.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "query %q: %w", r.URL.RawQuery, err)
	}
	c := &Call{Request: r, Caller: id, server: s, route: route, query: query, Project: "default"}
	if p := query.Get("project"); p != "" {
		c.Project = p
	}
	c.AllProjects = c.Flag("all-projects")
	if c.AllProjects && query.Get("project") != "" && !route.global {
		return nil, errs.Newf(errs.Invalid, "all-projects and project exclude each other: send one of them")
	}
	return c, c.readRecursion()
}

// readRecursion understands "2" and "2;fields=a,b", and fields= as a parameter of its own.
func (c *Call) readRecursion() error {
	depth, rest, found := strings.Cut(c.query.Get("recursion"), ";")
	n, err := strconv.Atoi(depth)
	if err != nil && depth != "" && c.route.strict {
		return errs.Newf(errs.Invalid, "recursion %q is not a number: send 0, 1 or 2", depth)
	}
	c.Recursion = max(n, 0)
	if list, ok := strings.CutPrefix(rest, "fields="); found && ok {
		c.addFields(list)
	}
	for _, list := range c.query["fields"] {
		c.addFields(list)
	}
	return nil
}

func (c *Call) addFields(list string) {
	if c.Fields == nil {
		c.Fields = []string{}
	}
	for f := range strings.SplitSeq(list, ",") {
		if f = strings.TrimSpace(f); f != "" {
			c.Fields = append(c.Fields, f)
		}
	}
}
