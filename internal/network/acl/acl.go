// Package acl is lists of rules about what may pass between networks and the rest: what is stored, what is allowed, and what the
// firewall is to do.
package acl

import (
	"maps"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/schema"
	"lxd/internal/store"
)

// maxName is the longest name of an ACL: that of a DNS label, which LXD's clients expect.
const maxName = 63

// Record is an ACL as stored.
type Record struct {
	Project     string               `json:"project"`
	Name        string               `json:"name"`
	Description string               `json:"description,omitempty"`
	Config      map[string]string    `json:"config,omitempty"`
	Ingress     []api.NetworkACLRule `json:"ingress,omitempty"`
	Egress      []api.NetworkACLRule `json:"egress,omitempty"`
}

// collection is the name of the collection of ACLs.
const collection = "network_acl"

// Collection is where the records live.
var Collection = store.Collection[Record]{
	Name: collection,
	Key:  func(r Record) string { return Key(r.Project, r.Name) },
	Refs: func(r Record) []store.Ref {
		refs := []store.Ref{project.Ref(r.Project)}
		for _, name := range r.named() {
			if name != r.Name {
				refs = append(refs, Ref(r.Project, name))
			}
		}
		return refs
	},
}

// Key is a record's key.
func Key(project, name string) string { return project + "/" + name }

// Ref names an ACL that another record needs.
func Ref(project, name string) store.Ref {
	return store.Ref{Collection: collection, Key: Key(project, name)}
}

// URL is the ACL's address.
func URL(name string) string { return project.URL("", "network-acls", name) }

var keys = schema.New("network ACL", schema.Key{Name: "user.*", Type: schema.Blob, Short: "Free to use"})

// Keys are the configuration keys of an ACL.
func Keys() *schema.Schema { return keys }

// ETag is the part of the record that If-Match guards.
func (r Record) ETag() any { return []any{r.Name, r.Description, r.Config, r.Ingress, r.Egress} }

// Show is the record as clients of a project see it.
func (r Record) Show(project string, usedBy []string) api.NetworkACL {
	a := api.NetworkACL{
		Name: r.Name, Description: r.Description, Config: r.Config, Ingress: r.Ingress, Egress: r.Egress, UsedBy: usedBy, Project: project,
	}
	if a.Config == nil {
		a.Config = map[string]string{}
	}
	if a.Ingress == nil {
		a.Ingress = []api.NetworkACLRule{}
	}
	if a.Egress == nil {
		a.Egress = []api.NetworkACLRule{}
	}
	return a
}

// With is the record with what clients may write of it, completed.
func (r Record) With(put api.NetworkACLPut) Record {
	r.Description, r.Config = put.Description, maps.Clone(put.Config)
	maps.DeleteFunc(r.Config, func(_, v string) bool { return v == "" })
	r.Ingress, r.Egress = complete(put.Ingress), complete(put.Egress)
	return r
}

// complete gives rules without a state the usual one, and takes the spaces out of lists.
func complete(rules []api.NetworkACLRule) []api.NetworkACLRule {
	out := slices.Clone(rules)
	for i := range out {
		if out[i].State == "" {
			out[i].State = Enabled
		}
		for _, list := range []*string{&out[i].Source, &out[i].Destination, &out[i].SourcePort, &out[i].DestinationPort} {
			*list = strings.Join(split(*list), ",")
		}
	}
	return out
}

// Change is the event of something done to the ACL.
func (r Record) Change(action string) event.Change {
	return event.Change{Action: action, Source: URL(r.Name), Project: r.Project, Name: r.Name}
}

// CheckName fails with Invalid on a name that an ACL may not have.
func CheckName(name string) error {
	switch {
	case name == "":
		return errs.Newf(errs.Invalid, "ACL name is missing")
	case len(name) > maxName:
		return errs.Newf(errs.Invalid, "ACL name %q has more than %d characters", name, maxName)
	case name == "internal" || name == "external":
		return errs.Newf(errs.Invalid, "ACL name %q is reserved: choose another", name)
	case !letter(name[0]):
		return errs.Newf(errs.Invalid, "ACL name %q must begin with a letter", name)
	case strings.HasSuffix(name, "-"):
		return errs.Newf(errs.Invalid, "ACL name %q must not end with a hyphen", name)
	}
	for i := range len(name) {
		if c := name[i]; !letter(c) && !(c >= '0' && c <= '9') && c != '-' {
			return errs.Newf(errs.Invalid, "ACL name %q has %q in it: use letters, digits and hyphens", name, c)
		}
	}
	return nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func split(list string) (parts []string) {
	for p := range strings.SplitSeq(list, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

// Names reads a list of ACLs, such as that of "security.acls".
func Names(list string) []string { return split(list) }
