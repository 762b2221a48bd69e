package rest

import (
	"fmt"
	"net/url"
	"strings"
)

// tree finds the route of a path. It matches segments as they were sent, so that a %2F stays inside one, and neither cleans
// paths nor redirects, as net/http's ServeMux would.
type tree struct {
	next map[string]*tree
	// any takes one segment that is not empty, rest all that are left.
	any, rest *tree
	// names are the wildcards on the way here, in order.
	names  []string
	routes map[string]*Route
}

// add enters a route; a pattern that is malformed or entered twice is an error of the program.
func (t *tree) add(r *Route) error {
	method, path, ok := strings.Cut(r.Pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("route %q: the pattern must be METHOD /path", r.Pattern)
	}
	var names []string
	rest := false
	for seg := range strings.SplitSeq(path[1:], "/") {
		if rest {
			return fmt.Errorf("route %q: nothing may follow a ... wildcard", r.Pattern)
		}
		name, wild := strings.CutPrefix(seg, "{")
		if !wild {
			t = t.literal(seg)
			continue
		}
		name = strings.TrimSuffix(name, "}")
		name, rest = strings.CutSuffix(name, "...")
		names = append(names, name)
		t = t.wild(rest)
	}
	if t.routes[method] != nil {
		return fmt.Errorf("route %q: %q is there already", r.Pattern, t.routes[method].Pattern)
	}
	if t.routes == nil {
		t.routes = map[string]*Route{}
	}
	t.names, t.routes[method] = names, r
	return nil
}

func (t *tree) literal(seg string) *tree {
	if t.next == nil {
		t.next = map[string]*tree{}
	}
	if t.next[seg] == nil {
		t.next[seg] = &tree{}
	}
	return t.next[seg]
}

func (t *tree) wild(rest bool) *tree {
	p := &t.any
	if rest {
		p = &t.rest
	}
	if *p == nil {
		*p = &tree{}
	}
	return *p
}

// find returns the route of a method and escaped path with the values of its wildcards, still escaped. known tells whether the
// path has any route.
func (t *tree) find(method, path string) (r *Route, names, values []string, known bool) {
	try := func(n *tree, vals []string) bool {
		known = true
		if m := n.routes[method]; m != nil {
			r, names, values = m, n.names, vals
		}
		return r != nil
	}
	t.walk(strings.TrimPrefix(path, "/"), nil, try)
	return r, names, values, known
}

// walk tries the nodes that the path can lead to, the most specific first, until try is content.
func (t *tree) walk(path string, vals []string, try func(*tree, []string) bool) bool {
	seg, left, more := strings.Cut(path, "/")
	step := func(n *tree, vals []string) bool {
		switch {
		case n == nil:
			return false
		case more:
			return n.walk(left, vals, try)
		}
		return n.routes != nil && try(n, vals)
	}
	if step(t.next[seg], vals) {
		return true
	}
	if seg != "" && step(t.any, append(vals[:len(vals):len(vals)], seg)) {
		return true
	}
	return path != "" && t.rest != nil && try(t.rest, append(vals[:len(vals):len(vals)], path))
}

// unescape decodes the values of wildcards.
func unescape(values []string) ([]string, error) {
	for i, v := range values {
		u, err := url.PathUnescape(v)
		if err != nil {
			return nil, err
		}
		values[i] = u
	}
	return values, nil
}
