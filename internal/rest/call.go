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

	route *Route
	limit *limit.Limiter
	query url.Values
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
func newCall(r *http.Request, route *Route, id auth.Identity) (*Call, error) {
	// Go drops pairs with a plain semicolon, which recursion=2;fields=... has.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "query %q: %w", r.URL.RawQuery, err)
	}
	c := &Call{Request: r, Caller: id, route: route, query: query, Project: "default"}
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

// entitlements refuses with-access-entitlements where it cannot be answered.
func (c *Call) entitlements(a Access, whole bool) error {
	switch {
	case a.Entity() == "" || !c.query.Has("with-access-entitlements"):
		return nil
	case !whole:
		return errs.Newf(errs.Internal, "with-access-entitlements needs recursion 1 or more")
	case !c.Caller.FineGrained:
		return errs.Newf(errs.Invalid, "with-access-entitlements is for identities with fine-grained rights; this one has none")
	}
	return nil
}

// depths is how many path segments name an entity of that type; the others have three.
var depths = map[string]int{
	"storage_volume": 6, "storage_volume_snapshot": 6, "storage_volume_backup": 6, "storage_bucket": 5, "image_alias": 4,
	"identity": 5, "group": 4, "identity_provider_group": 4,
}

// segments is how many path segments name the entity that the route's entitlement is about.
func (c *Call) segments() int {
	if n := depths[c.route.Access.Entity()]; n != 0 {
		return n
	}
	return 3
}

// within tells whether the path leads to something below one such entity.
func (c *Call) within() bool {
	return strings.Count(c.URL.EscapedPath(), "/") > c.segments()
}

// object is what the route's entitlement is about.
func (c *Call) object() auth.Object {
	entity := c.route.Access.Entity()
	o := auth.Object{Entity: entity, Project: c.Project, URL: c.URL.Path}
	switch {
	case entity == "server":
		o.URL, o.Project = "/1.0", ""
	case entity == "project" && !strings.Contains(c.route.Pattern, " /1.0/projects/{"):
		o.URL, o.Project = "/1.0/projects/"+url.PathEscape(c.Project), ""
	default:
		if parts := strings.Split(c.URL.EscapedPath(), "/"); c.within() {
			o.URL = strings.Join(parts[:c.segments()+1], "/")
		}
	}
	return o
}
