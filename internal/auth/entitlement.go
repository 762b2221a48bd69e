package auth

import (
	"maps"
	"slices"
	"strings"
)

// entitlements holds what can be allowed on each type of entity, as identities with fine-grained rights are given it.
var entitlements = map[string][]string{
	"certificate": {
		"can_view", "can_edit", "can_delete",
	},
	"group": {
		"can_view", "can_edit", "can_delete",
	},
	"identity": {
		"can_view", "can_edit", "can_delete",
	},
	"identity_provider_group": {
		"can_view", "can_edit", "can_delete",
	},
	"image": {
		"can_edit", "can_delete", "can_view",
	},
	"image_alias": {
		"can_edit", "can_delete", "can_view",
	},
	"instance": {
		"user", "operator", "can_edit", "can_delete",
		"can_view", "can_update_state", "can_manage_snapshots", "can_manage_backups",
		"can_connect_sftp", "can_access_files", "can_access_console", "can_exec",
	},
	"network": {
		"can_edit", "can_delete", "can_view",
	},
	"network_acl": {
		"can_edit", "can_delete", "can_view",
	},
	"network_zone": {
		"can_edit", "can_delete", "can_view",
	},
	"placement_group": {
		"can_edit", "can_delete", "can_view",
	},
	"profile": {
		"can_edit", "can_delete", "can_view",
	},
	"project": {
		"operator", "viewer", "can_view", "can_edit",
		"can_delete", "image_manager", "can_create_images", "can_view_images",
		"can_edit_images", "can_delete_images", "image_alias_manager", "can_create_image_aliases",
		"can_view_image_aliases", "can_edit_image_aliases", "can_delete_image_aliases", "instance_manager",
		"can_create_instances", "can_view_instances", "can_edit_instances", "can_delete_instances",
		"can_operate_instances", "network_manager", "can_create_networks", "can_view_networks",
		"can_edit_networks", "can_delete_networks", "network_acl_manager", "can_create_network_acls",
		"can_view_network_acls", "can_edit_network_acls", "can_delete_network_acls", "network_zone_manager",
		"can_create_network_zones", "can_view_network_zones", "can_edit_network_zones", "can_delete_network_zones",
		"profile_manager", "can_create_profiles", "can_view_profiles", "can_edit_profiles",
		"can_delete_profiles", "storage_volume_manager", "can_create_storage_volumes", "can_view_storage_volumes",
		"can_edit_storage_volumes", "can_delete_storage_volumes", "storage_bucket_manager", "can_create_storage_buckets",
		"can_view_storage_buckets", "can_edit_storage_buckets", "can_delete_storage_buckets", "placement_group_manager",
		"can_create_placement_groups", "can_view_placement_groups", "can_edit_placement_groups", "can_delete_placement_groups",
		"can_view_operations", "can_view_events", "can_view_metrics",
	},
	"server": {
		"admin", "viewer", "can_edit", "permission_manager",
		"can_view_permissions", "can_create_identities", "can_view_identities", "can_edit_identities",
		"can_delete_identities", "can_create_groups", "can_view_groups", "can_edit_groups",
		"can_delete_groups", "can_create_identity_provider_groups", "can_view_identity_provider_groups", "can_edit_identity_provider_groups",
		"can_delete_identity_provider_groups", "storage_pool_manager", "can_create_storage_pools", "can_edit_storage_pools",
		"can_delete_storage_pools", "project_manager", "can_create_projects", "can_view_projects",
		"can_edit_projects", "can_delete_projects", "can_override_cluster_target_restriction", "can_view_events",
		"can_view_operations", "can_view_resources", "can_view_metrics", "can_view_warnings",
		"can_view_unmanaged_networks",
	},
	"storage_bucket": {
		"can_edit", "can_delete", "can_view",
	},
	"storage_pool": {
		"can_edit", "can_delete",
	},
	"storage_volume": {
		"can_edit", "can_delete", "can_view", "can_manage_snapshots",
		"can_manage_backups",
	},
}

// part is an entity that has no entitlements of its own: those of the whole that it is a part of decide.
type part struct {
	whole string
	// manage is what changing it takes, and view what seeing it takes.
	view, manage string
}

// parts lists them. A backup is all that its owner holds, so that seeing the owner is not enough to get it.
var parts = map[string]part{
	"instance_snapshot":       {"instance", "can_view", "can_manage_snapshots"},
	"instance_backup":         {"instance", "can_manage_backups", "can_manage_backups"},
	"storage_volume_snapshot": {"storage_volume", "can_view", "can_manage_snapshots"},
	"storage_volume_backup":   {"storage_volume", "can_manage_backups", "can_manage_backups"},
}

// partly are the entitlements that parts know.
var partly = []string{"can_view", "can_edit", "can_delete"}

// decides names the entity and the entitlement on it that decide about an entitlement.
func decides(entity, entitlement string) (whole, needed string) {
	p, ok := parts[entity]
	switch {
	case !ok:
		return entity, entitlement
	case entitlement == "can_view":
		return p.whole, p.view
	}
	return p.whole, p.manage
}

// Entities lists the types of entities that have entitlements.
func Entities() []string { return slices.Sorted(maps.Keys(entitlements)) }

// Entitlements lists what can be allowed on an entity of that type.
func Entitlements(entity string) []string { return slices.Clone(entitlements[entity]) }

// InProject tells whether entities of that type belong to a project.
func InProject(entity string) bool {
	return strings.HasPrefix(entity, "instance") || strings.HasPrefix(entity, "image") || strings.HasPrefix(entity, "network") ||
		slices.Contains([]string{"placement_group", "profile", "storage_bucket", "storage_volume"}, entity)
}

// Plural is the word for several entities of a type in the entitlements of what they are in.
func Plural(entity string) string {
	switch {
	case strings.HasSuffix(entity, "alias"):
		return entity + "es"
	case strings.HasSuffix(entity, "identity"):
		return strings.TrimSuffix(entity, "y") + "ies"
	}
	return entity + "s"
}

// viewable tells whether entities of that type can be hidden; all others are seen by everybody who is trusted.
func viewable(entity string) bool {
	_, ok := parts[entity]
	return ok || slices.Contains(entitlements[entity], "can_view")
}
