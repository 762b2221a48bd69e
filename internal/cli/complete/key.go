package complete

import (
	"maps"
	"slices"
	"strings"

	"lxd/api"
	"lxd/client"
)

// keys completes configuration keys with those that the server describes, and their values where the description lists them.
func (q *query) keys(s spot) []string {
	server := q.server()
	if server == nil {
		return nil
	}
	known := q.known(server)
	if key, _, ok := strings.Cut(q.prefix, "="); ok && s.pair {
		return prefixed(key+"=", values(known[key]))
	}
	var out []string
	for name := range known {
		if s.pair {
			name += "="
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// values are those that a key is described to take.
func values(key api.MetadataConfigurationConfigKey) []string {
	if key.Type == "bool" {
		return []string{"true", "false"}
	}
	_, list, _ := strings.Cut(key.LongDescription, "Possible values are ")
	list, _, _ = strings.Cut(list, "\n")
	var all []string
	for i, word := range strings.Split(list, "`") {
		if i%2 == 1 {
			all = append(all, word)
		}
	}
	return all
}

// known are the keys that this command may be about.
func (q *query) known(server *client.Client) map[string]api.MetadataConfigurationConfigKey {
	var doc api.MetadataConfiguration
	if _, err := server.Get(q.ctx, "/1.0/metadata/configuration", &doc); err != nil {
		return nil
	}
	entity, group := q.entity()
	out := map[string]api.MetadataConfigurationConfigKey{}
	for name, groups := range doc.Configs {
		if !about(name, entity) {
			continue
		}
		for g, keys := range groups {
			if group != "" && g != group || properties(g) {
				continue
			}
			for _, some := range keys.Keys {
				maps.Copy(out, some)
			}
		}
	}
	maps.DeleteFunc(out, func(key string, _ api.MetadataConfigurationConfigKey) bool {
		return strings.ContainsAny(key, "*<{") || entity == "network-forward" && key != "target_address" // families, and fields of the object
	})
	return out
}

// properties tells whether a group describes fields of objects, which are no configuration keys.
func properties(group string) bool {
	return strings.HasSuffix(group, "-properties") && group != "forward-properties"
}

// about tells whether keys that are described under name are keys of entity: of it, or of one of its types.
func about(name, entity string) bool {
	kind, ok := strings.CutPrefix(name, entity+"-")
	if name == "instance-property" || entity == "network" && slices.Contains([]string{"acl", "forward", "load-balancer", "peer", "zone", "zone-record"}, kind) {
		return false
	}
	return ok || name == entity
}

// entity is what the keys of this command belong to, as the server's description of keys calls it; for pools and volumes also the group.
func (q *query) entity() (entity, group string) {
	branch := strings.TrimPrefix(q.path[:strings.LastIndexByte(q.path, ' ')], "lxc ")
	switch branch {
	case "config":
		if len(q.args) == 0 {
			return "server", ""
		}
		return "instance", ""
	case "profile":
		return "instance", ""
	case "config device", "profile device":
		return "device", ""
	case "storage":
		return "storage", "pool-conf"
	case "storage volume":
		return "storage", "volume-conf"
	case "storage bucket":
		return "storage", "bucket-conf"
	}
	return strings.ReplaceAll(branch, " ", "-"), ""
}

// deviceTypes are the types of devices that the server describes.
func (q *query) deviceTypes() []string {
	server := q.server()
	var doc api.MetadataConfiguration
	if server == nil {
		return nil
	}
	if _, err := server.Get(q.ctx, "/1.0/metadata/configuration", &doc); err != nil {
		return nil
	}
	out := []string{"none"}
	for name := range doc.Configs {
		kind, ok := strings.CutPrefix(name, "device-")
		if !ok {
			continue
		}
		for _, family := range []string{"nic", "gpu", "infiniband"} { // these have sub-types, which are no types of their own
			if strings.HasPrefix(kind, family+"-") {
				kind = family
			}
		}
		out = append(out, kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
