// Package auth knows who calls and what they may do.
//
// An Identity is made from the connection; an Access is what a route asks of it. Routes declare their Access in their table,
// so that no handler decides by itself.
package auth

import (
	"slices"
	"time"

	"lxd/api"
)

// Kind is how an identity proved itself (wire names).
type Kind string

// Kinds of identities.
const (
	// Untrusted proved nothing.
	Untrusted Kind = ""
	// Unix came through the unix socket of this host.
	Unix Kind = "unix"
	// TLS showed a client certificate.
	TLS Kind = "tls"
	// OIDC showed a token of the configured issuer.
	OIDC Kind = "oidc"
	// PKI showed a certificate that the server's authority vouches for, and which the server does not know itself.
	PKI Kind = "pki"
	// Bearer showed a token that this server issued.
	Bearer Kind = "bearer"
	// Cluster is another member.
	Cluster Kind = "cluster"
)

// Identity is one caller.
type Identity struct {
	Kind Kind
	// Name is the user name, the fingerprint, or what else the kind names its callers by.
	Name string
	// Address is where the call came from.
	Address string
	// ID is what the server keeps the identity by: a fingerprint, a mail address, a UUID; "" if it keeps none.
	ID string
	// Type is the wire name of the type of identity, such as api.IdentityTypeClientCertificate.
	Type string
	// Groups are those whose permissions it has, sorted: its own, and those that the groups of its identity provider stand for.
	Groups []string
	// Expires is when what it proved itself with ends; zero is not known.
	Expires time.Time
	// Permissions lists what its groups give it; nil is for identities without fine-grained rights.
	Permissions func() []api.Permission
	// Admin may do everything.
	Admin bool
	// FineGrained identities learn nothing of what they may not view: they get NotFound where others get Forbidden.
	FineGrained bool
	// Rights decide for those who are not Admin; nil allows nothing.
	Rights Rights
	// Session tells that a browser sent the request, which shows its cookie whoever had it send the request.
	Session bool
	// SessionID is the session that the server keeps of the browser; "" if it keeps none.
	SessionID string
	// Meter lets a caller who is a stranger otherwise see metrics; nil is for all others.
	Meter *Meter
}

// Meter is a monitoring system that is trusted with metrics and nothing else.
type Meter struct {
	// Projects are those whose instances it may see, if it is Restricted; else it may see all, and the server.
	Projects   []string
	Restricted bool
}

// Sees tells whether the meter may see the metrics of a project.
func (m *Meter) Sees(project string) bool {
	return m != nil && (!m.Restricted || slices.Contains(m.Projects, project))
}

// Object is something that rights are about.
type Object struct {
	// Entity is the type, such as "instance".
	Entity string
	// Project is the project that it is in; "" for one that is in none.
	Project string
	// URL is its path in the API, without query.
	URL string
}

// Rights says what an identity may do.
type Rights interface {
	// Allows tells whether the entitlement on the object is given, directly or through a wider one.
	Allows(o Object, entitlement string) bool
}

// Trusted tells whether the caller proved who it is.
func (i Identity) Trusted() bool { return i.Kind != Untrusted }

// May tells whether the identity has the entitlement on the object.
func (i Identity) May(o Object, entitlement string) bool {
	if i.Admin {
		return true
	}
	if !i.Trusted() || i.Rights == nil {
		return false
	}
	o.Entity, entitlement = decides(o.Entity, entitlement)
	if !InProject(o.Entity) {
		o.Project = ""
	}
	return i.Rights.Allows(o, entitlement)
}

// ViewsAs tells whether an entitlement comes to viewing the object, and the identity may view all of its type that its project sees,
// whoever owns them: what a project sees of the default one is there to be used in it.
func (i Identity) ViewsAs(o Object, entitlement string) bool {
	entity, needed := decides(o.Entity, entitlement)
	return needed == "can_view" && InProject(entity) && i.May(ProjectObject(o.Project), "can_view_"+Plural(entity))
}

// Knower are rights that tell which projects their owner may know of.
type Knower interface {
	// Knows tells whether anything is allowed on the project or in it.
	Knows(project string) bool
}

// Knows tells whether the identity may learn that there is a project of that name. Everybody knows the one that is always there.
func (i Identity) Knows(project string) bool {
	k, ok := i.Rights.(Knower)
	switch {
	case i.Admin || project == "default":
		return true
	case ok:
		return k.Knows(project)
	}
	return i.May(ProjectObject(project), "can_view")
}
