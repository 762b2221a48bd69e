package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/rest"
	"lxd/internal/schema"
	"lxd/internal/schema/published"
)

// Tables is configuration keys by entity and group, such as "server" and "core".
type Tables map[string]map[string][]schema.Key

// Grouped puts the keys of an entity into the groups that they are published in, and others into the group rest.
func Grouped(entity, rest string, keys []schema.Key) map[string][]schema.Key {
	groups := map[string][]schema.Key{}
	for _, k := range keys {
		group := published.Group(entity, k.Name, rest)
		groups[group] = append(groups[group], k)
	}
	return groups
}

// Metadata is the routes of /1.0/metadata, which describe the configuration keys of every entity.
func Metadata(tables Tables) []rest.Route {
	doc := sync.OnceValue(func() api.MetadataConfiguration { return describe(tables) })
	get := func(context.Context, *rest.Call) (api.MetadataConfiguration, any, error) { return doc(), nil, nil }
	return []rest.Route{rest.Get("GET /1.0/metadata/configuration", auth.Public, get).Global()}
}

// describe makes the document; it does not change while the daemon runs.
func describe(tables Tables) api.MetadataConfiguration {
	doc := api.MetadataConfiguration{
		Configs:  map[string]map[string]api.MetadataConfigurationConfigKeys{},
		Entities: map[string]api.MetadataConfigurationEntity{},
	}
	for entity, groups := range tables {
		doc.Configs[entity] = map[string]api.MetadataConfigurationConfigKeys{}
		for group, keys := range groups {
			doc.Configs[entity][group] = api.MetadataConfigurationConfigKeys{Keys: describeKeys(entity, group, keys)}
		}
	}
	for _, entity := range auth.Entities() {
		e := api.MetadataConfigurationEntity{ProjectSpecific: auth.InProject(entity)}
		for _, name := range auth.Entitlements(entity) {
			e.Entitlements = append(e.Entitlements, api.MetadataConfigurationEntityEntitlement{Name: name})
		}
		doc.Entities[entity] = e
	}
	return doc
}

// describeKeys leaves out keys that are refused.
func describeKeys(entity, group string, keys []schema.Key) []map[string]api.MetadataConfigurationConfigKey {
	all := make([]map[string]api.MetadataConfigurationConfigKey, 0, len(keys))
	for _, k := range keys {
		if !k.Later {
			all = append(all, map[string]api.MetadataConfigurationConfigKey{k.Name: describeKey(entity, group, k)})
		}
	}
	return all
}

// describeKey says what is published of the key, and what is not published as our table has it.
func describeKey(entity, group string, k schema.Key) api.MetadataConfigurationConfigKey {
	p, ok := published.Find(entity, group, k.Name)
	if !ok {
		p = published.Key{Type: wireType(k.Type), Default: k.Default, Scope: "global"}
	}
	if k.Local {
		p.Scope = "local"
	}
	return api.MetadataConfigurationConfigKey{
		DefaultDescription: p.Default, LongDescription: longText(k), ShortDescription: k.Short, Type: p.Type,
		Condition: cmp.Or(p.Condition, k.Condition), Required: p.Required, Managed: p.Managed, Scope: p.Scope,
	}
}

// wireType is the type as clients know it; what a text must look like is a matter of ours.
func wireType(t schema.Type) string {
	switch t.Name {
	case schema.Bool.Name, schema.Integer.Name, schema.Blob.Name:
		return t.Name
	}
	return schema.String.Name
}

// longText also tells the values that can be chosen; completion finds them between the backquotes.
func longText(k schema.Key) string {
	if len(k.Type.Enum) == 0 || k.Type.Name == schema.Bool.Name {
		return k.Long
	}
	return strings.TrimSpace(fmt.Sprintf("%s Possible values are `%s`.", k.Long, strings.Join(k.Type.Enum, "`, `")))
}
