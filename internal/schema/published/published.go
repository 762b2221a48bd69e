// Package published is what the published API says of each configuration key: the words that clients see, beside what the
// schemas of the entities check.
package published

import (
	"regexp"
	"strings"
)

// Key is what is published of a configuration key.
type Key struct {
	Entity, Group, Name, Type, Default, Scope, Condition, Required, Managed string
}

// anyText is a part of a key that can be any text.
var anyText = regexp.MustCompile(`<[^>]*>`)

// Find finds a key of an entity, in any of its groups if group is "". In a name, <...> stands for any text.
func Find(entity, group, name string) (Key, bool) {
	name = anyText.ReplaceAllString(name, "*")
	for _, part := range [][]Key{keys[:], keys2[:]} {
		for _, k := range part {
			if k.Entity != entity || group != "" && k.Group != group || k.Name != name {
				continue
			}
			if same, ok := strings.CutPrefix(k.Default, "="); ok {
				k.Default = "same as " + same
			}
			return k, true
		}
	}
	return Key{}, false
}

// Group is the group that a key of an entity is published in, other where it is not published.
func Group(entity, name, other string) string {
	if k, ok := Find(entity, "", name); ok && k.Group != "undocumented" {
		return k.Group
	}
	return other
}
