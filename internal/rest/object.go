package rest

import (
	"strings"

	"lxd/internal/auth"
)

// May tells whether the caller has the entitlement on the object.
func (c *Call) May(o auth.Object, entitlement string) bool {
	return c.Caller.Admin || c.Caller.May(c.owned(o, entitlement), entitlement)
}

// Check lets the caller do with an object what the access asks for, or fails as a route with that access would.
func (c *Call) Check(a Access, o auth.Object) error {
	o.Entity = a.Entity()
	return a.CheckAs(c.Caller, c.owned(o, a.Entitlement()), o)
}

// owned is the object in the project that really has it: a project may see those of the default one instead of its own. Making
// something in a project is judged where it will be. Who may view all that a project sees views that too.
func (c *Call) owned(o auth.Object, entitlement string) auth.Object {
	if !c.Caller.FineGrained || c.server.Owner == nil {
		return o // restricted certificates see what their projects see, whoever owns it
	}
	switch {
	case o.Entity == "project" && strings.HasPrefix(entitlement, "can_create_"):
		if name, ok := auth.ProjectName(o); ok {
			return auth.ProjectObject(c.owner(name, entitlement))
		}
	case o.Entity == "storage_volume" && !strings.Contains(o.URL, "/volumes/custom/"): // it belongs to an instance or image
	case o.Project != "" && auth.InProject(o.Entity) && !c.Caller.ViewsAs(o, entitlement):
		o.Project = c.owner(o.Project, o.Entity)
	}
	return o
}

// owner is the project that owns what another one sees.
func (c *Call) owner(project, what string) string {
	key := [2]string{project, what}
	name, ok := c.owners[key]
	if !ok {
		if c.owners == nil {
			c.owners = map[[2]string]string{}
		}
		name = c.server.Owner(c.Context(), project, what)
		c.owners[key] = name
	}
	return name
}

// within tells whether the path leads to something below one such entity.
func (c *Call) within() bool {
	entity := c.route.Access.Entity()
	return entity != "image_alias" && strings.Count(c.URL.EscapedPath(), "/") > auth.Segments(entity)
}

// object is what the route's entitlement is about.
func (c *Call) object() auth.Object {
	entity := c.route.Access.Entity()
	if entity == "project" && !strings.Contains(c.route.Pattern, " /1.0/projects/{") {
		return auth.ProjectObject(c.Project)
	}
	return c.objectOf(entity)
}

// objectOf is the object of that type that the path names, or names a part of.
func (c *Call) objectOf(entity string) auth.Object {
	if entity == "server" {
		return auth.ServerObject
	}
	return auth.Object{Entity: entity, Project: c.Project, URL: auth.Canonical(c.cut(entity, c.URL.EscapedPath()))}
}

// named is the object under its own name.
func (c *Call) named(o auth.Object) auth.Object {
	if c.Caller.FineGrained && c.server.Named != nil {
		o.URL = c.server.Named(c.Context(), o)
	}
	return o
}

// cut is the part of a path that names an entity of that type.
func (*Call) cut(entity, path string) string {
	if entity == "image_alias" {
		return path
	}
	left := auth.Segments(entity)
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if left--; left == 0 {
				return path[:i]
			}
		}
	}
	return path
}

// objectAt is the object of that type that an item of a list shows. One of all projects whose URL names none is in the default project.
func (c *Call) objectAt(entity string, it erased) auth.Object {
	path, query, _ := strings.Cut(it.url, "?")
	project := it.project
	if _, p, ok := strings.Cut(query, "project="); ok && project == "" {
		project, _, _ = strings.Cut(p, "&")
	}
	if project == "" {
		project = c.Project
	}
	return auth.Object{Entity: entity, Project: c.Through(project), URL: c.cut(entity, path)}
}

// Through is the project by which the caller looks at what belongs to another one: that which was asked for, and which sees it. Who
// looks at all projects looks at each thing where it belongs.
func (c *Call) Through(project string) string {
	if c.AllProjects || c.route.global {
		return project
	}
	return c.Project
}

// Visible leaves those addresses that the caller may view what is at: an object may be used by others that it must not learn of.
func (c *Call) Visible(urls []string) []string {
	if c.Caller.Admin {
		return urls
	}
	seen := []string{}
	for _, u := range urls {
		if o, ok := auth.Locate(u); ok && c.May(o, "can_view") {
			seen = append(seen, u)
		}
	}
	return seen
}
