package app

import (
	"encoding/json"
	"strings"

	"lxd/internal/driver/all"
	"lxd/internal/endpoint"
	"lxd/internal/rest"
)

// Tables are the configuration keys of every entity that this server has.
func Tables() endpoint.Tables { return tables(all.Described()) }

// Manifest describes the routes, and the configuration keys that do something, as JSON: for checks against the published tables.
func Manifest() ([]byte, error) {
	keys := map[string][]string{}
	for entity, groups := range Tables() {
		for group, list := range groups {
			name := entity
			if strings.HasPrefix(entity, "storage-") {
				name += "/" + group
			}
			for _, k := range list {
				if !k.Later {
					keys[name] = append(keys[name], k.Name)
				}
			}
		}
	}
	return json.Marshal(map[string]any{"routes": rest.Patterns(Routes()...), "keys": keys})
}
