package model

import (
	"slices"
	"strings"
	"sync"

	"lxd/internal/auth"
)

// row says what comes with a right: rights on the same object if they are about the same type, else rights on all that is in it.
//
// In both columns TYPE stands for each type of entity that is in projects, TYPES for its plural; "*" and "can_view_*" stand for
// all entitlements of that type that fit.
type row struct{ who, gives string }

// table is the whole model.
var table = []row{
	// The server, and all that is on it.
	{"server admin", "server *; project *; TYPE *; certificate *; identity *; group *; identity_provider_group *; storage_pool *"},
	{"server viewer", "server can_view_*; project viewer"},
	{"server permission_manager", "server can_view_permissions; " +
		"server can_create_identities; server can_view_identities; server can_edit_identities; server can_delete_identities; " +
		"server can_create_groups; server can_view_groups; server can_edit_groups; server can_delete_groups; " +
		"server can_create_identity_provider_groups; server can_view_identity_provider_groups; " +
		"server can_edit_identity_provider_groups; server can_delete_identity_provider_groups"},
	{"server project_manager", "server can_create_projects; server can_view_projects; server can_edit_projects; server can_delete_projects; project operator"},
	{"server storage_pool_manager", "server can_create_storage_pools; server can_edit_storage_pools; server can_delete_storage_pools"},
	{"server can_view_identities", "identity can_view; certificate can_view"},
	{"server can_edit_identities", "identity can_edit; certificate can_edit"},
	{"server can_delete_identities", "identity can_delete; certificate can_delete"},
	{"server can_view_groups", "group can_view"},
	{"server can_edit_groups", "group can_edit"},
	{"server can_delete_groups", "group can_delete"},
	{"server can_view_identity_provider_groups", "identity_provider_group can_view"},
	{"server can_edit_identity_provider_groups", "identity_provider_group can_edit"},
	{"server can_delete_identity_provider_groups", "identity_provider_group can_delete"},
	{"server can_edit_storage_pools", "storage_pool can_edit"},
	{"server can_delete_storage_pools", "storage_pool can_delete"},
	{"server can_view_projects", "project can_view"},
	{"server can_edit_projects", "project can_edit"},
	{"server can_delete_projects", "project can_delete"},
	{"server can_view_operations", "project can_view_operations"},
	{"server can_view_events", "project can_view_events"},
	{"server can_view_metrics", "project can_view_metrics"},

	// A project, and all that is in it. Only can_edit and can_delete are about the project itself: no role within it gives them.
	{"project operator", "project viewer; project TYPE_manager"},
	{"project viewer", "project can_view_*"},
	{"project TYPE_manager", "project can_create_TYPES; project can_view_TYPES; project can_edit_TYPES; project can_delete_TYPES"},
	{"project can_view_TYPES", "TYPE can_view"},
	{"project can_edit_TYPES", "TYPE can_edit"},
	{"project can_delete_TYPES", "TYPE can_delete"},
	{"project instance_manager", "project can_operate_instances"},
	{"project can_operate_instances", "instance operator"},
	{"project can_edit_storage_volumes", "storage_volume can_manage_snapshots; storage_volume can_manage_backups"},

	// An instance.
	{"instance operator", "instance user; instance can_update_state; instance can_manage_snapshots; instance can_manage_backups"},
	{"instance user", "instance can_access_files; instance can_connect_sftp; instance can_access_console; instance can_exec"},

	// Whoever may do anything with a thing sees it. This does not go upwards: who sees an instance does not see its project. What
	// happens in a project can be watched without seeing how it is configured.
	{"project can_edit", "project can_view"},
	{"project can_delete", "project can_view"},
	{"project can_create_TYPES", "project can_view"},
	{"project can_view_TYPES", "project can_view"},
	{"project can_edit_TYPES", "project can_view"},
	{"project can_delete_TYPES", "project can_view"},
	{"project can_operate_instances", "project can_view"},
	{"TYPE *", "TYPE can_view"},
	{"certificate *", "certificate can_view"},
	{"identity *", "identity can_view"},
	{"group *", "group can_view"},
	{"identity_provider_group *", "identity_provider_group can_view"},
}

// closure is what comes with each right, the right itself included, worked out once.
var closure = sync.OnceValue(func() map[right]rights {
	direct := map[right][]right{}
	for _, t := range table {
		for _, r := range spread(t) {
			for _, who := range named(r.who) {
				for gives := range strings.SplitSeq(r.gives, "; ") {
					direct[who] = append(direct[who], named(gives)...)
				}
			}
		}
	}
	all := map[right]rights{}
	for _, entity := range auth.Entities() {
		for _, entitlement := range auth.Entitlements(entity) {
			r := right{entity, entitlement}
			all[r] = rights{}
			reach(direct, r, all[r])
		}
	}
	return all
})

func reach(direct map[right][]right, r right, into rights) {
	if into[r] {
		return
	}
	into[r] = true
	for _, next := range direct[r] {
		reach(direct, next, into)
	}
}

// given is what comes with a right.
func given(r right) rights { return closure()[r] }

// spread writes a row with TYPE in it once for each type.
func spread(r row) []row {
	var rows []row
	for _, entity := range auth.Entities() {
		if auth.InProject(entity) {
			fill := strings.NewReplacer("TYPES", auth.Plural(entity), "TYPE", entity)
			rows = append(rows, row{fill.Replace(r.who), fill.Replace(r.gives)})
		}
	}
	return slices.Compact(rows)
}

// named lists the rights that a cell of the table stands for.
func named(cell string) []right {
	entity, entitlement, _ := strings.Cut(cell, " ")
	prefix, many := strings.CutSuffix(entitlement, "*")
	if !many {
		return []right{{entity, entitlement}}
	}
	var all []right
	for _, e := range auth.Entitlements(entity) {
		if strings.HasPrefix(e, prefix) {
			all = append(all, right{entity, e})
		}
	}
	return all
}
