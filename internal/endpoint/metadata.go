package endpoint

import (
	"context"

	"lxd/api"
	"lxd/internal/auth"
	"lxd/internal/rest"
	"lxd/internal/schema"
)

// Tables is configuration keys by entity and group, such as "server" and "core".
type Tables map[string]map[string][]schema.Key

// Metadata is the routes of /1.0/metadata, which describe the configuration keys of every entity.
func Metadata(tables Tables) []rest.Route {
	doc := describe(tables)
	get := func(context.Context, *rest.Call) (api.MetadataConfiguration, any, error) { return doc, nil, nil }
	return []rest.Route{rest.Get("GET /1.0/metadata/configuration", auth.Public, get).Global()}
}

// describe makes the document once; it does not change while the daemon runs.
func describe(tables Tables) api.MetadataConfiguration {
	doc := api.MetadataConfiguration{
		Configs:  map[string]map[string]api.MetadataConfigurationConfigKeys{},
		Entities: map[string]api.MetadataConfigurationEntity{},
	}
	for entity, groups := range tables {
		doc.Configs[entity] = map[string]api.MetadataConfigurationConfigKeys{}
		for group, keys := range groups {
			doc.Configs[entity][group] = api.MetadataConfigurationConfigKeys{Keys: describeKeys(keys)}
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

func describeKeys(keys []schema.Key) []map[string]api.MetadataConfigurationConfigKey {
	all := make([]map[string]api.MetadataConfigurationConfigKey, 0, len(keys))
	for _, k := range keys {
		scope := "global"
		if k.Local {
			scope = "local"
		}
		all = append(all, map[string]api.MetadataConfigurationConfigKey{k.Name: {
			DefaultDescription: k.Default, LongDescription: k.Long, ShortDescription: k.Short, Type: k.Type.Name,
			Condition: k.Condition, Scope: scope,
		}})
	}
	return all
}
