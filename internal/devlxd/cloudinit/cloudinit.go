// Package cloudinit prepares what cloud-init in an instance reads.
package cloudinit

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Keys that hold a configuration which keys for SSH go into, with their older names.
var carriers = []string{"cloud-init.vendor-data", "cloud-init.user-data", "user.vendor-data", "user.user-data"}

// sshKeys is the family of keys for SSH, as USER:KEY.
const sshKeys = "cloud-init.ssh-keys."

// vendor is where keys go if nothing else is configured.
const vendor = "cloud-init.vendor-data"

// Value is a key of an instance's configuration as cloud-init is to see it: with the keys for SSH, where they can be put. What is no
// configuration for cloud-init, such as a script, stays as it is.
func Value(config map[string]string, key string) string {
	value := config[key]
	users := users(config)
	if len(users) == 0 || !slices.Contains(carriers, key) || value == "" && key != vendor {
		return value
	}
	head, _, _ := strings.Cut(value, "\n")
	if value != "" && strings.TrimSpace(head) != "#cloud-config" {
		return value
	}
	merged, ok := merge(value, users)
	if !ok {
		return value
	}
	return merged
}

// Keys lists the keys that cloud-init and the instance may see, in order.
func Keys(config map[string]string) (names []string) {
	seen := map[string]bool{}
	for k, v := range config {
		if (strings.HasPrefix(k, "user.") || strings.HasPrefix(k, "cloud-init.")) && !strings.HasPrefix(k, sshKeys) && v != "" {
			seen[k] = true
		}
	}
	if Value(config, vendor) != "" {
		seen[vendor] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// users are the keys for each user, in order of their names in the configuration.
func users(config map[string]string) map[string][]string {
	all := map[string][]string{}
	for _, k := range slices.Sorted(maps.Keys(config)) {
		user, key, ok := strings.Cut(config[k], ":")
		if strings.HasPrefix(k, sshKeys) && ok && user != "" && strings.TrimSpace(key) != "" {
			all[user] = append(all[user], strings.TrimSpace(key))
		}
	}
	return all
}

// imported tells of keys that cloud-init fetches from where they are kept: Launchpad or GitHub.
func imported(key string) bool { return strings.HasPrefix(key, "lp:") || strings.HasPrefix(key, "gh:") }

// merge puts keys into a configuration. It gives up on one that it does not understand.
func merge(text string, keys map[string][]string) (string, bool) {
	doc := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return "", false
	}
	list, ok := doc["users"].([]any)
	if doc["users"] != nil && !ok {
		return "", false
	}
	if list == nil {
		list = []any{"default"} // or the user that the image makes would be gone
	}
	for _, user := range slices.Sorted(maps.Keys(keys)) {
		list = give(list, user, keys[user])
	}
	doc["users"] = list
	b, err := yaml.Marshal(doc)
	return "#cloud-config\n" + string(b), err == nil
}

// give adds keys to a user of a list, which is added if it is not in it.
func give(list []any, user string, keys []string) []any {
	var entry map[string]any
	for i, u := range list {
		switch u := u.(type) {
		case map[string]any:
			if u["name"] == user {
				entry = u
			}
		case string:
			if u == user && u != "default" {
				entry = map[string]any{"name": user}
				list[i] = entry
			}
		}
	}
	if entry == nil {
		entry = map[string]any{"name": user}
		list = append(list, entry)
	}
	for _, k := range keys {
		field := "ssh_authorized_keys"
		if imported(k) {
			field = "ssh_import_id"
		}
		have, _ := entry[field].([]any)
		if !slices.Contains(have, any(k)) {
			entry[field] = append(have, k)
		}
	}
	return list
}
