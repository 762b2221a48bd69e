// Package model decides what identities with fine-grained rights may do.
//
// A Permission gives one entitlement on one object. The table in table.go says which others come with it: wider entitlements
// give narrower ones on the same object, those on a project give some on what is in it, and those on the server on everything.
// Compile works that out once; a decision is a few look-ups in maps.
package model

import (
	"lxd/internal/auth"
)

// Permission gives an entitlement on an object, which its address names as the API does: "/1.0/instances/c1?project=p", or
// "/1.0" for the server.
type Permission struct{ Entity, URL, Entitlement string }

// right is an entitlement on some entity of a type.
type right struct{ entity, entitlement string }

// rights is a set of them.
type rights map[right]bool

// Set is what a list of permissions comes to. It does not change.
type Set struct {
	// everywhere is given on the server and all that is on it, within on a project and all that is in it.
	everywhere rights
	within     map[string]rights
	// on is given on single objects.
	on map[auth.Object]rights
	// entered are the projects of those objects; everyProject tells whether something is given on all projects.
	entered      map[string]bool
	everyProject bool
}

var _ auth.Rights = (*Set)(nil)

// Compile works out what permissions come to. Those that Check fails on give nothing.
func Compile(ps []Permission) *Set {
	s := &Set{everywhere: rights{}, within: map[string]rights{}, on: map[auth.Object]rights{}, entered: map[string]bool{}}
	for _, p := range ps {
		o, err := p.object()
		if err != nil {
			continue
		}
		for r := range given(right{p.Entity, p.Entitlement}) {
			s.scope(o)[r] = true
			s.everyProject = s.everyProject || o.Entity == server && r.entity == project
		}
		if o.Project != "" {
			s.entered[o.Project] = true
		}
	}
	return s
}

// scope is the set that holds for everything that the rights on an object reach.
func (s *Set) scope(o auth.Object) rights {
	switch o.Entity {
	case server:
		return s.everywhere
	case project:
		name, _ := auth.ProjectName(o)
		return entry(s.within, name)
	}
	return entry(s.on, o)
}

func entry[K comparable](m map[K]rights, key K) rights {
	if m[key] == nil {
		m[key] = rights{}
	}
	return m[key]
}

// Allows tells whether the entitlement on the object is given, directly or through a wider one.
func (s *Set) Allows(o auth.Object, entitlement string) bool {
	r := right{o.Entity, entitlement}
	if s.everywhere[r] {
		return true
	}
	if o.Entity == project {
		name, ok := auth.ProjectName(o)
		return ok && s.within[name][r]
	}
	return s.within[o.Project][r] || s.on[o][r]
}

// Knows tells whether anything is given on a project or on something in it. To others the project must look like one that does
// not exist.
func (s *Set) Knows(name string) bool {
	return s.everyProject || s.entered[name] || len(s.within[name]) > 0
}
