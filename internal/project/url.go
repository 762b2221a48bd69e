package project

import (
	"net/url"
	"strings"

	"lxd/internal/store"
)

// URL builds the address of an object below /1.0: path segments are escaped, the project is left out when it is the default one.
func URL(project string, segments ...string) string {
	var b strings.Builder
	b.WriteString("/1.0")
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	if project != "" && project != Default {
		b.WriteString("?project=")
		b.WriteString(url.QueryEscape(project))
	}
	return b.String()
}

// nouns are the path segments of the collections whose keys are PROJECT/NAME.
var nouns = map[string]string{"instance": "instances", "profile": "profiles", "network": "networks", "image": "images", "network_acl": "network-acls"}

// UsedBy turns references into the addresses that "used_by" fields show; internal records are left out.
func UsedBy(refs []store.Ref) []string {
	out := []string{}
	for _, r := range refs {
		if u := address(r); u != "" {
			out = append(out, u)
		}
	}
	return out
}

func address(r store.Ref) string {
	parts := strings.Split(r.Key, "/")
	switch {
	case r.Collection == "storage_volume" && len(parts) == 4:
		return URL(parts[2], "storage-pools", parts[0], "volumes", parts[1], parts[3])
	case r.Collection == "storage_volume_snapshot" && len(parts) == 5:
		return URL(parts[2], "storage-pools", parts[0], "volumes", parts[1], parts[3], "snapshots", parts[4])
	case nouns[r.Collection] != "" && len(parts) == 2:
		return URL(parts[0], nouns[r.Collection], parts[1])
	case r.Collection == Collection.Name:
		return URL("", "projects", r.Key)
	case r.Collection == "storage_pool":
		return URL("", "storage-pools", r.Key)
	}
	return ""
}
