package identity

import (
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/auth/model"
	"lxd/internal/errs"
	"lxd/internal/event"
	"lxd/internal/project"
	"lxd/internal/store"
)

// Group is a group as stored.
type Group struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Permissions []model.Permission `json:"permissions,omitempty"`
}

// GroupCollection is where the groups live.
var GroupCollection = store.Collection[Group]{Name: "auth_group", Key: func(g Group) string { return g.Name }}

// ProviderGroup says which groups of this server a group of the identity provider stands for.
type ProviderGroup struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
}

// ProviderGroupCollection is where the groups of the identity provider live.
var ProviderGroupCollection = store.Collection[ProviderGroup]{
	Name: "identity_provider_group", Key: func(g ProviderGroup) string { return g.Name },
	Refs: func(g ProviderGroup) []store.Ref { return groupRefs(g.Groups) },
}

func groupRefs(names []string) (refs []store.Ref) {
	for _, n := range names {
		refs = append(refs, store.Ref{Collection: GroupCollection.Name, Key: n})
	}
	return refs
}

// GroupURL is the address of a group.
func GroupURL(name string) string { return project.URL("", "auth", "groups", name) }

// ProviderGroupURL is the address of a group of the identity provider.
func ProviderGroupURL(name string) string {
	return project.URL("", "auth", "identity-provider-groups", name)
}

func (g Group) change(action string) event.Change {
	return event.Change{Action: action, Source: GroupURL(g.Name), Name: g.Name}
}

func (g ProviderGroup) change(action string) event.Change {
	return event.Change{Action: action, Source: ProviderGroupURL(g.Name), Name: g.Name}
}

// API is the group of the provider as clients see it.
func (g ProviderGroup) API() api.IdentityProviderGroup {
	return api.IdentityProviderGroup{Name: g.Name, Groups: append([]string{}, g.Groups...)}
}

func (g ProviderGroup) check() error {
	if g.Name == "" || g.Name == "." || g.Name == ".." || len(g.Name) > maxText || strings.ContainsFunc(g.Name, control) {
		return errs.Newf(errs.Invalid, "a group of an identity provider has a name of 1 to %d characters, and no control characters in it", maxText)
	}
	return checkGroups(g.Groups)
}

// api is the group as clients see it, with who is in it.
func (g Group) api(tx store.Tx) api.AuthGroup {
	out := api.AuthGroup{Name: g.Name, Description: g.Description, Permissions: permissionsOf(g.Permissions),
		Identities: map[string][]string{}, IdentityProviderGroups: []string{}}
	for _, user := range GroupCollection.UsedBy(tx, g.Name) {
		switch user.Collection {
		case Collection.Name:
			method, id, _ := strings.Cut(user.Key, "/")
			out.Identities[method] = append(out.Identities[method], id)
		case ProviderGroupCollection.Name:
			out.IdentityProviderGroups = append(out.IdentityProviderGroups, user.Key)
		}
	}
	return out
}

func permissionsOf(ps []model.Permission) []api.Permission {
	out := make([]api.Permission, len(ps))
	for i, p := range ps {
		out[i] = api.Permission{EntityType: p.Entity, EntityReference: p.URL, Entitlement: p.Entitlement}
	}
	return out
}

const (
	// maxPermissions is how many permissions a group can give.
	maxPermissions = 5000
	// maxDescription is how long the description of a group can be.
	maxDescription = 4096
)

// newGroup is the group that a client asks for, with its permissions in their common form.
func newGroup(name string, put api.AuthGroupPut) (Group, error) {
	g := Group{Name: name, Description: put.Description}
	switch {
	case len(put.Description) > maxDescription:
		return g, errs.Newf(errs.Invalid, "a description has at most %d characters", maxDescription)
	case len(put.Permissions) > maxPermissions:
		return g, errs.Newf(errs.Invalid, "%d permissions are too many for one group: at most %d", len(put.Permissions), maxPermissions)
	}
	if err := CheckName("group", name); err != nil {
		return g, err
	}
	for _, p := range put.Permissions {
		plain, err := common(p)
		if err != nil {
			return g, err
		}
		g.Permissions = append(g.Permissions, plain)
	}
	slices.SortFunc(g.Permissions, compare)
	g.Permissions = slices.Compact(g.Permissions)
	return g, nil
}

// common is a permission in the form in which it is kept: with an address that always names its project.
func common(p api.Permission) (model.Permission, error) {
	plain := model.Permission{Entity: p.EntityType, URL: p.EntityReference, Entitlement: p.Entitlement}
	o, err := plain.Object()
	if err != nil {
		return plain, err
	}
	plain.URL = address(o)
	return plain, nil
}

func compare(a, b model.Permission) int {
	return strings.Compare(a.Entity+"\x00"+a.URL+"\x00"+a.Entitlement, b.Entity+"\x00"+b.URL+"\x00"+b.Entitlement)
}
