// Package identity keeps who may call and is no legacy certificate: clients with fine-grained rights, the groups that give them these,
// and the groups of identity providers that stand for groups of this server.
package identity

import (
	"slices"
	"strings"
	"time"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Record is an identity as stored.
type Record struct {
	// Method is how it proves itself, one of the words of auth.Kind.
	Method string `json:"method"`
	// Type is the wire name of its type, such as api.IdentityTypeClientCertificate.
	Type string `json:"type"`
	// ID is a fingerprint, a mail address or a UUID; it is unique among those of the method.
	ID string `json:"id"`
	// Name is what people call it by.
	Name string `json:"name"`
	// Groups are those that it is in, sorted.
	Groups []string `json:"groups,omitempty"`
	// PEM is the certificate of a TLS identity.
	PEM string `json:"pem,omitempty"`
	// Subject is what the identity provider knows an OIDC identity by.
	Subject string `json:"subject,omitempty"`
	// Secret signs the tokens of a bearer, and is the token itself of a pending identity. It is never shown.
	Secret string `json:"secret,omitempty"`
	// Expires is when the issued token ends; zero is never, or that there is none.
	Expires time.Time `json:"expires,omitzero"`
}

// Collection is where the identities live.
var Collection = store.Collection[Record]{
	Name: "identity", Key: func(r Record) string { return Key(r.Method, r.ID) },
	Refs: func(r Record) []store.Ref { return groupRefs(r.Groups) },
}

// Key is the key of an identity.
func Key(method, id string) string { return method + "/" + id }

// URL is the address of an identity.
func URL(method, id string) string {
	return project.URL("", "auth", "identities", method, id)
}

// URL is the identity's address.
func (r Record) URL() string { return URL(r.Method, r.ID) }

// API is the record as clients see it.
func (r Record) API() api.Identity {
	return api.Identity{AuthenticationMethod: r.Method, Type: r.Type, Identifier: r.ID, Name: r.Name, Groups: append([]string{}, r.Groups...), TLSCertificate: r.PEM}
}

func (r Record) change(action string) event.Change {
	return event.Change{Action: action, Source: r.URL(), Name: r.Name}
}

// kinds tells of the types of identities kept here how they prove themselves, and whether groups give them their rights.
var kinds = map[string]struct {
	method auth.Kind
	groups bool
}{
	api.IdentityTypeClientCertificate:        {auth.TLS, true},
	api.IdentityTypeClientCertificatePending: {auth.TLS, true},
	api.IdentityTypeOIDCClient:               {auth.OIDC, true},
	api.IdentityTypeDevLxdTokenBearer:        {auth.Bearer, true},
	api.IdentityTypeClientTokenBearer:        {auth.Bearer, true},
	api.IdentityTypeInitialUITokenBearer:     {auth.Bearer, false},
}

// maxGroups is how many groups an identity, or a group of a provider, can be in.
const maxGroups = 500

func (r Record) check() error {
	k, ok := kinds[r.Type]
	switch {
	case !ok || string(k.method) != r.Method:
		return errs.Newf(errs.Invalid, "there is no type %q of identities that prove themselves by %s", r.Type, r.Method)
	case !k.groups && len(r.Groups) > 0:
		return errs.Newf(errs.Invalid, "identities of type %q cannot be in groups", r.Type)
	case r.ID == "" || len(r.ID) > maxText || strings.ContainsFunc(r.ID, control):
		return errs.Newf(errs.Invalid, "an identifier has 1 to %d characters, and no control characters", maxText)
	case r.Method == string(auth.OIDC): // the provider chooses its names
		if len(r.Name) > maxText || strings.ContainsFunc(r.Name, control) {
			return errs.Newf(errs.Invalid, "a name has at most %d characters, and no control characters", maxText)
		}
		return checkGroups(r.Groups)
	}
	if err := CheckName("identity", r.Name); err != nil {
		return err
	}
	return checkGroups(r.Groups)
}

func checkGroups(names []string) error {
	if len(names) > maxGroups {
		return errs.Newf(errs.Invalid, "%d groups are too many: at most %d", len(names), maxGroups)
	}
	return nil
}

// sorted is names in order, each once.
func sorted(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// maxName and maxText are how long names of identities and groups, and other texts about them, can be.
const (
	maxName = 64
	maxText = 255
)

func control(c rune) bool {
	return c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' || c >= 0x80 && c < 0xa0
}

// CheckName fails if an identity or a group cannot have that name; what says which of them it is.
func CheckName(what, name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "the name of the %s is missing", what)
	case len(name) > maxName:
		return errs.Newf(errs.Invalid, "the name of the %s is longer than %d characters", what, maxName)
	case name == "." || name == "..":
		return errs.Newf(errs.Invalid, "the name %q is reserved: choose another one", name)
	case name[0] == '-' || name[0] == ' ' || name[len(name)-1] == ' ':
		return errs.Newf(errs.Invalid, "the name %q of the %s may not begin with a hyphen, nor begin or end with a space", name, what)
	}
	if i := strings.IndexFunc(name, func(c rune) bool { return !allowed(c) }); i >= 0 {
		return errs.Newf(errs.Invalid, "the name %q of the %s has a character in it that it may not have: use letters, digits, spaces, and any of - _ . @ +", name, what)
	}
	return nil
}

func allowed(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.@+ ", c)
}
