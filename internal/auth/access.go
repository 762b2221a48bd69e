package auth

import (
	"slices"

	"lxd/internal/errs"
)

type rule uint8

const (
	undeclared rule = iota
	public
	authenticated
	entitled
)

// Access is what a route asks of its caller. The zero Access is undeclared and lets no one in.
type Access struct {
	rule                rule
	entity, entitlement string
}

var (
	// Public lets everyone in.
	Public = Access{rule: public}
	// Authenticated lets everyone in who proved who they are; lists leave out what the caller may not view.
	Authenticated = Access{rule: authenticated}
)

// Can lets those in who have the entitlement on the entity that the path names, such as Can("instance", "can_edit"). On a
// list the entitlement decides for each item.
func Can(entity, entitlement string) Access { return Access{entitled, entity, entitlement} }

// Valid fails if the access is undeclared or names an entitlement that does not exist.
func (a Access) Valid() error {
	if a.rule == undeclared {
		return errs.Newf(errs.Internal, "no access is declared")
	}
	if a.rule != entitled {
		return nil
	}
	known := entitlements[a.entity]
	if _, ok := parts[a.entity]; ok {
		known = partly
	}
	if !slices.Contains(known, a.entitlement) {
		return errs.Newf(errs.Internal, "%s has no entitlement %q", a.entity, a.entitlement)
	}
	return nil
}

// Open tells whether callers get in who proved nothing.
func (a Access) Open() bool { return a.rule == public }

// Entity is the type that the entitlement is about; "" if none is asked for.
func (a Access) Entity() string { return a.entity }

// Entitlement is what is asked for; "" if nothing is.
func (a Access) Entitlement() string { return a.entitlement }

// String names the access as tables do: "instance:can_edit", "authenticated" or "public".
func (a Access) String() string {
	switch a.rule {
	case public:
		return "public"
	case authenticated:
		return "authenticated"
	case entitled:
		return a.entity + ":" + a.entitlement
	}
	return "undeclared"
}

// Check lets the identity in or fails: with Forbidden, or with NotFound when it may not even know that the object exists.
func (a Access) Check(i Identity, o Object) error { return a.CheckAs(i, o, o) }

// CheckAs is Check for an object that the caller asked for as another one: by another name, or in a project that sees it. What is
// said of it is what the caller knows.
func (a Access) CheckAs(i Identity, o, asked Object) error {
	switch {
	case a.rule == public, a.rule == authenticated && i.Trusted():
		return nil
	case a.rule == undeclared || !i.Trusted():
		return errs.Newf(errs.Forbidden, "not authorized: the server does not trust this client")
	}
	o.Entity, asked.Entity = a.entity, a.entity
	if i.May(o, a.entitlement) {
		return nil
	}
	seen := !viewable(a.entity) || i.May(o, "can_view") || i.ViewsAs(asked, "can_view") || a.entity == "project" && i.May(asked, "can_view")
	if i.FineGrained && !seen {
		return errs.Newf(errs.NotFound, "%s not found", asked.URL)
	}
	return errs.Newf(errs.Forbidden, "not authorized: %s on %s is needed", a.entitlement, asked.URL)
}

// Enter is the check of a list as a whole: who may call it at all. What it shows is decided by Sees.
func (a Access) Enter(i Identity) error {
	if a.rule == entitled {
		return Authenticated.Check(i, Object{})
	}
	return a.Check(i, Object{})
}

// Sees tells whether an item of a list is shown to the identity.
func (a Access) Sees(i Identity, o Object) bool {
	o.Entity = a.entity
	return a.rule != entitled || i.May(o, a.entitlement)
}
