package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lxd/internal/auth"
	"lxd/internal/auth/model"
)

// objects has two of each type of entity: those that permissions of the tests are about, and others, in another project if
// they are in one.
var objects = map[string][2]string{
	"server":                  {"/1.0", "/1.0"},
	"project":                 {"/1.0/projects/p", "/1.0/projects/q"},
	"certificate":             {"/1.0/certificates/a", "/1.0/certificates/b"},
	"group":                   {"/1.0/auth/groups/a", "/1.0/auth/groups/b"},
	"identity":                {"/1.0/auth/identities/tls/a", "/1.0/auth/identities/oidc/a"},
	"identity_provider_group": {"/1.0/auth/identity-provider-groups/a", "/1.0/auth/identity-provider-groups/b"},
	"image":                   {"/1.0/images/a", "/1.0/images/a"},
	"image_alias":             {"/1.0/images/aliases/a%2Fb", "/1.0/images/aliases/a%2Fb"},
	"instance":                {"/1.0/instances/a", "/1.0/instances/a"},
	"network":                 {"/1.0/networks/a", "/1.0/networks/a"},
	"network_acl":             {"/1.0/network-acls/a", "/1.0/network-acls/a"},
	"network_zone":            {"/1.0/network-zones/a", "/1.0/network-zones/a"},
	"placement_group":         {"/1.0/placement-groups/a", "/1.0/placement-groups/a"},
	"profile":                 {"/1.0/profiles/a", "/1.0/profiles/a"},
	"storage_bucket":          {"/1.0/storage-pools/s/buckets/a", "/1.0/storage-pools/s/buckets/a"},
	"storage_pool":            {"/1.0/storage-pools/a", "/1.0/storage-pools/b"},
	"storage_volume":          {"/1.0/storage-pools/s/volumes/custom/a", "/1.0/storage-pools/s/volumes/custom/a"},
}

// place is one of the two objects of a type.
func place(entity string, which int) auth.Object {
	o := auth.Object{Entity: entity, URL: objects[entity][which]}
	if auth.InProject(entity) {
		o.Project = []string{"p", "q"}[which]
	}
	return o
}

// allowed lists what a permission on the first object of its type allows, on the first object of each type and on the second.
func allowed(entity, entitlement string) (first, second []string) {
	o := place(entity, 0)
	p := model.Permission{Entity: entity, URL: o.URL, Entitlement: entitlement}
	if o.Project != "" {
		p.URL += "?project=" + o.Project
	}
	set := model.Compile([]model.Permission{p})
	for _, e := range auth.Entities() {
		for _, what := range auth.Entitlements(e) {
			if set.Allows(place(e, 0), what) {
				first = append(first, e+" "+what)
			}
			if e != "server" && set.Allows(place(e, 1), what) {
				second = append(second, e+" "+what)
			}
		}
	}
	return first, second
}

// list is all that fits "ENTITY ENTITLEMENT", where a star at the end fits everything.
func list(patterns ...string) (all []string) {
	for _, p := range patterns {
		entity, entitlement, _ := strings.Cut(p, " ")
		prefix, many := strings.CutSuffix(entitlement, "*")
		for _, e := range auth.Entities() {
			for _, what := range auth.Entitlements(e) {
				if (entity == e || entity == "TYPE" && auth.InProject(e)) && (many && strings.HasPrefix(what, prefix) || what == entitlement) {
					all = append(all, e+" "+what)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func compare(t *testing.T, name string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", name, got, want)
	}
}

func TestWhatComesWithWhat(t *testing.T) {
	all := list("TYPE *", "project *", "server *", "certificate *", "identity *", "group *", "identity_provider_group *", "storage_pool *")
	views := []string{"TYPE can_view", "project can_view*", "project viewer"}
	for _, c := range []struct {
		what string
		// on is what it allows on the object and all that is in it, beyond on everything else.
		on, beyond []string
	}{
		{"server admin", all, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, "server ") })},
		{"server viewer",
			list(append(views, "server can_view*", "server viewer", "certificate can_view", "identity can_view", "group can_view", "identity_provider_group can_view")...),
			list(append(views, "certificate can_view", "identity can_view", "group can_view", "identity_provider_group can_view")...)},
		{"server can_edit", list("server can_edit"), nil},
		{"server can_view_events", list("server can_view_events", "project can_view_events"), list("project can_view_events")},
		{"server can_view_warnings", list("server can_view_warnings"), nil},
		{"server can_view_projects", list("server can_view_projects", "project can_view"), list("project can_view")},
		{"server can_edit_projects", list("server can_edit_projects", "project can_view", "project can_edit"), list("project can_view", "project can_edit")},
		{"server permission_manager",
			list("server permission_manager", "server can_view_permissions", "server can_create_identities", "server can_view_identities", "server can_edit_identities",
				"server can_delete_identities", "server can_create_groups", "server can_view_groups", "server can_edit_groups", "server can_delete_groups",
				"server can_create_identity_provider_groups", "server can_view_identity_provider_groups", "server can_edit_identity_provider_groups",
				"server can_delete_identity_provider_groups", "certificate *", "identity *", "group *", "identity_provider_group *"),
			list("certificate *", "identity *", "group *", "identity_provider_group *")},
		{"server project_manager",
			list("server project_manager", "server can_create_projects", "server can_view_projects", "server can_edit_projects", "server can_delete_projects", "project *", "TYPE *"),
			list("project *", "TYPE *")},
		{"server storage_pool_manager",
			list("server storage_pool_manager", "server can_create_storage_pools", "server can_edit_storage_pools", "server can_delete_storage_pools", "storage_pool *"),
			list("storage_pool *")},
		{"project operator", without(list("project *", "TYPE *"), "project can_edit", "project can_delete"), nil},
		{"project viewer", list(views...), nil},
		{"project can_view", list("project can_view"), nil},
		{"project can_edit", list("project can_edit", "project can_view"), nil},
		{"project can_view_metrics", list("project can_view_metrics"), nil},
		{"project can_create_images", list("project can_create_images", "project can_view"), nil},
		{"project can_edit_image_aliases", list("project can_edit_image_aliases", "project can_view", "image_alias can_edit", "image_alias can_view"), nil},
		{"project instance_manager",
			list("project instance_manager", "project can_create_instances", "project can_view_instances", "project can_edit_instances", "project can_delete_instances",
				"project can_operate_instances", "project can_view", "instance *"), nil},
		{"project can_operate_instances", append(without(list("instance *"), "instance can_edit", "instance can_delete"),
			"project can_operate_instances", "project can_view"), nil},
		{"project network_acl_manager",
			list("project network_acl_manager", "project can_create_network_acls", "project can_view_network_acls", "project can_edit_network_acls",
				"project can_delete_network_acls", "project can_view", "network_acl *"), nil},
		{"project can_edit_storage_volumes",
			list("project can_edit_storage_volumes", "project can_view", "storage_volume can_edit", "storage_volume can_view",
				"storage_volume can_manage_snapshots", "storage_volume can_manage_backups"), nil},
		{"instance operator", without(list("instance *"), "instance can_edit", "instance can_delete"), nil},
		{"instance user", list("instance user", "instance can_view", "instance can_connect_sftp", "instance can_access*", "instance can_exec"), nil},
		{"instance can_view", list("instance can_view"), nil},
		{"instance can_edit", list("instance can_edit", "instance can_view"), nil},
		{"storage_pool can_edit", list("storage_pool can_edit"), nil},
		{"identity can_edit", list("identity can_edit", "identity can_view"), nil},
	} {
		entity, entitlement, _ := strings.Cut(c.what, " ")
		on, beyond := allowed(entity, entitlement)
		compare(t, c.what, on, c.on)
		compare(t, c.what+", on others", beyond, c.beyond)
	}
}

func without(from []string, what ...string) []string {
	return slices.DeleteFunc(from, func(s string) bool { return slices.Contains(what, s) })
}

// TestEveryEntitlement looks at each of them: it gives itself, gives sight of its object, and never gives more than its owner
// could be given on the level that it is on.
func TestEveryEntitlement(t *testing.T) {
	for _, entity := range auth.Entities() {
		for _, what := range auth.Entitlements(entity) {
			on, beyond := allowed(entity, what)
			if !slices.Contains(on, entity+" "+what) {
				t.Errorf("%s %s does not give itself", entity, what)
			}
			watches := slices.Contains([]string{"project can_view_operations", "project can_view_events", "project can_view_metrics"}, entity+" "+what)
			if slices.Contains(auth.Entitlements(entity), "can_view") && slices.Contains(on, entity+" can_view") == watches {
				t.Errorf("%s %s does not let one see the object", entity, what)
			}
			if entity != "server" && len(beyond) > 0 {
				t.Errorf("%s %s reaches other objects: %v", entity, what, beyond)
			}
			for _, got := range on {
				e, _, _ := strings.Cut(got, " ")
				if e != entity && entity != "server" && !(entity == "project" && auth.InProject(e)) {
					t.Errorf("%s %s gives %s", entity, what, got)
				}
			}
		}
	}
}

// TestThePluralsAreTheTablesWords holds the words that the table builds against the entitlements that there are.
func TestThePluralsAreTheTablesWords(t *testing.T) {
	for _, entity := range auth.Entities() {
		if !auth.InProject(entity) {
			continue
		}
		for _, verb := range []string{"create", "view", "edit", "delete"} {
			if what := "can_" + verb + "_" + auth.Plural(entity); !slices.Contains(auth.Entitlements("project"), what) {
				t.Errorf("projects have no %s", what)
			}
		}
	}
	if auth.Plural("identity") != "identities" {
		t.Error(auth.Plural("identity"))
	}
}

func TestKnownProjects(t *testing.T) {
	for name, c := range map[string]struct {
		p    model.Permission
		want string
	}{
		"nothing":                  {want: ""},
		"an instance":              {model.Permission{Entity: "instance", URL: "/1.0/instances/a?project=p", Entitlement: "can_view"}, "p"},
		"something of the project": {model.Permission{Entity: "project", URL: "/1.0/projects/p", Entitlement: "can_view_events"}, "p"},
		"the server":               {model.Permission{Entity: "server", URL: "/1.0", Entitlement: "can_view_warnings"}, ""},
		"metrics of all projects":  {model.Permission{Entity: "server", URL: "/1.0", Entitlement: "can_view_metrics"}, "pq"},
		"all projects":             {model.Permission{Entity: "server", URL: "/1.0", Entitlement: "can_view_projects"}, "pq"},
		"a pool":                   {model.Permission{Entity: "storage_pool", URL: "/1.0/storage-pools/p", Entitlement: "can_edit"}, ""},
	} {
		got, set := "", model.Compile([]model.Permission{c.p})
		for _, name := range []string{"p", "q"} {
			if set.Knows(name) {
				got += name
			}
		}
		if got != c.want {
			t.Errorf("%s: knows %q, want %q", name, got, c.want)
		}
	}
}

// BenchmarkAllows decides about one of 10,000 instances, a third of which the identity has rights on.
func BenchmarkAllows(b *testing.B) {
	var ps []model.Permission
	var all []auth.Object
	for n := range 10000 {
		u := fmt.Sprintf("/1.0/instances/c%d", n)
		all = append(all, auth.Object{Entity: "instance", Project: "p", URL: u})
		if n%3 == 0 {
			ps = append(ps, model.Permission{Entity: "instance", URL: u + "?project=p", Entitlement: "operator"})
		}
	}
	set := model.Compile(ps)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		set.Allows(all[n%len(all)], "can_view")
		n++
	}
}
