package rest

import (
	"net/url"
	"strings"

	"lxd/internal/auth"
)

// kinds are the entities that the first segment below /1.0 stands for.
var kinds = map[string]string{
	"instances": "instance", "profiles": "profile", "networks": "network", "network-acls": "network_acl", "images": "image", "projects": "project",
}

// Visible leaves those addresses that the caller may view what is at: an object may be used by others that it must not learn of.
func (c *Call) Visible(urls []string) []string {
	if c.Caller.Admin {
		return urls
	}
	seen := []string{}
	for _, u := range urls {
		if o, ok := objectOf(u); ok && c.Caller.May(o, "can_view") {
			seen = append(seen, u)
		}
	}
	return seen
}

// objectOf is what an address names, which without a project is in the default one.
func objectOf(address string) (o auth.Object, ok bool) {
	u, err := url.Parse(address)
	if err != nil {
		return o, false
	}
	parts := strings.Split(u.EscapedPath(), "/") // "", "1.0", noun, name, …
	if len(parts) < 4 {
		return o, false
	}
	o = auth.Object{Entity: kinds[parts[2]], Project: u.Query().Get("project")}
	if parts[2] == "storage-pools" && len(parts) > 6 {
		o.Entity = "storage_volume"
	}
	n := 3
	if d := depths[o.Entity]; d != 0 {
		n = d
	}
	if o.URL = strings.Join(parts[:n+1], "/"); o.Project == "" {
		o.Project = "default"
	}
	return o, o.Entity != ""
}
