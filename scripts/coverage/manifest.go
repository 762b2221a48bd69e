package main

import (
	"regexp"
	"strings"
)

// manifest is what a program says of itself.
type manifest struct {
	// Routes are patterns of net/http: "GET /1.0/instances/{name}".
	Routes []string `json:"routes"`
	// Keys are the configuration keys by entity. An entity is named as in spec/config.tsv, "instance", or, where the keys of
	// its groups differ, with the group: "storage-dir/volume-conf".
	Keys map[string][]string `json:"keys"`
	// Commands is the command tree of lxc and lxd.
	Commands []command `json:"commands"`
	// Extensions are those that the server advertises.
	Extensions []string `json:"extensions"`
}

// command is one command with its own flags.
type command struct {
	Name    string        `json:"name"`
	Aliases string        `json:"aliases,omitempty"`
	Args    string        `json:"args,omitempty"`
	Hidden  bool          `json:"hidden,omitempty"`
	Flags   []commandFlag `json:"flags,omitempty"`
}

// commandFlag is one flag; Name and Short carry their dashes.
type commandFlag struct {
	Name    string `json:"name"`
	Short   string `json:"short,omitempty"`
	Type    string `json:"type"`
	Default string `json:"default"`
	Hidden  bool   `json:"hidden,omitempty"`
}

var (
	pathParameter = regexp.MustCompile(`\{[^}]*\}`)
	keyParameter  = regexp.MustCompile(`^(<.*>|\{.*\}|\*|[A-Z][A-Z_]*)$`)
)

// canonicalPath makes patterns comparable that name their parameters differently.
func canonicalPath(pattern string) string {
	return pathParameter.ReplaceAllString(strings.TrimSuffix(pattern, "{$}"), "{}")
}

// canonicalKey does the same for keys: NAME, <name>, {name} and * all stand for any text.
func canonicalKey(key string) string {
	parts := strings.Split(key, ".")
	for i, p := range parts {
		if keyParameter.MatchString(p) {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}
