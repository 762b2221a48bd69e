package complete

import (
	"slices"
	"strings"

	"lxd/api"
	"lxd/client"
)

// canonical is one word for what usage lines call by several.
func canonical(what string) string {
	switch what {
	case "source", "destination":
		return "instance"
	case "profiles":
		return "profile"
	case "Zone":
		return "zone"
	case "peer name":
		return "peer_name"
	case "old name":
		return "volume"
	case "old_name":
		return "placement_group"
	case "session ID":
		return "session_id"
	}
	return what
}

// collections are the URLs, below /1.0, that list what an argument may be. {word} is another argument.
func collections() map[string]string {
	return map[string]string{
		"ACL": "network-acls", "alias": "images/aliases", "bucket": "storage-pools/{pool}/buckets", "fingerprint": "certificates", "group": "cluster/groups",
		"identity_provider_group": "auth/identity-provider-groups", "image": "images/aliases", "instance": "instances", "listen_address": "networks/{network}/forwards",
		"member": "cluster/members", "network": "networks", "peer_name": "networks/{network}/peers", "placement_group": "placement-groups",
		"pool": "storage-pools", "profile": "profiles", "project": "projects", "record": "network-zones/{zone}/records", "session_id": "auth/oidc-sessions",
		"snapshot": "instances/{instance}/snapshots", "template": "instances/{instance}/metadata/templates", "volume": "storage-pools/{pool}/volumes/custom",
		"warning-uuid": "warnings", "zone": "network-zones",
	}
}

// exceptions are words that mean something else in some branches.
func exceptions() map[string]map[string]string {
	return map[string]map[string]string{
		"lxc alias":                 {"alias": "", "old alias": ""},
		"lxc auth":                  {"group": "auth/groups"},
		"lxc image alias create":    {"fingerprint": "images", "alias": ""},
		"lxc network load-balancer": {"listen_address": "networks/{network}/load-balancers"},
		"lxc storage bucket key":    {"key": "storage-pools/{pool}/buckets/{bucket}/keys"},
		"lxc storage volume":        {"snapshot": "storage-pools/{pool}/volumes/custom/{volume}/snapshots"},
	}
}

// collection is where the names for a placeholder of this command are listed.
func (q *query) collection(what string) string {
	for branch, words := range exceptions() {
		if url, ok := words[what]; ok && strings.HasPrefix(q.path+" ", branch+" ") {
			return url
		}
	}
	return collections()[what]
}

// special answers for arguments that no collection lists.
func (q *query) special(s spot) ([]string, bool) {
	if out, ok := q.authWords(s); ok {
		return out, true
	}
	onDevice := strings.Contains(q.path, " device ")
	switch what := s.what; {
	case what == "key" && q.collection("key") == "":
		return q.keys(s), true
	case onDevice && (what == "device" || what == "name"):
		return q.devices(), true
	case onDevice && what == "type":
		return q.deviceTypes(), true
	case strings.HasPrefix(q.path, "lxc remote "):
		return q.plainRemotes(), true
	case strings.HasPrefix(q.path, "lxc alias "):
		return q.aliases(), true
	case what == "operation":
		return q.operations(), true
	case what == "driver":
		return q.drivers(), true
	}
	fixed, ok := map[string][]string{"protocol": {"tcp", "udp"}, "direction": {"egress", "ingress"}, "": nil}[s.what]
	return fixed, ok
}

// plainRemotes are the remotes without colons, as "lxc remote" takes them.
func (q *query) plainRemotes() []string {
	if len(q.args) > 0 || strings.HasSuffix(q.path, " add") {
		return nil
	}
	all := q.remotes(spot{what: "image"})
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], ":")
	}
	return all
}

// aliases are the user's own commands.
func (q *query) aliases() []string {
	cfg, err := q.app.Config()
	if err != nil || strings.HasSuffix(q.path, " add") {
		return nil
	}
	var out []string
	for name := range cfg.Aliases {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// devices are those of the instance or profile that was named.
func (q *query) devices() []string {
	server := q.server()
	if server == nil || strings.HasSuffix(q.path, " add") {
		return nil
	}
	var owner api.Instance // a profile has the same devices
	path := client.Path("instances", q.named("instance"))
	if name := q.named("profile"); name != "" {
		path = client.Path("profiles", name)
	}
	if _, err := server.Get(q.ctx, path, &owner); err != nil {
		return nil
	}
	devices := owner.Devices
	if strings.HasSuffix(q.path, " override") {
		devices = owner.ExpandedDevices
	}
	var out []string
	for name := range devices {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// operations are those that the server knows, which it lists by status.
func (q *query) operations() []string {
	server := q.server()
	var byStatus map[string][]string
	if server == nil {
		return nil
	}
	if _, err := server.Get(q.ctx, "/1.0/operations", &byStatus); err != nil {
		return nil
	}
	var out []string
	for _, urls := range byStatus {
		for _, url := range urls {
			out = append(out, q.typed+client.Base(url))
		}
	}
	slices.Sort(out)
	return out
}

// drivers are those for storage pools.
func (q *query) drivers() []string {
	server := q.server()
	if server == nil {
		return nil
	}
	info, err := server.Server(q.ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, d := range info.Environment.StorageSupportedDrivers {
		out = append(out, d.Name)
	}
	return out
}

// flagSources complete the values of flags, wherever flags of that name are.
func flagSources() map[string]func(*query) []string {
	names := func(collection string) func(*query) []string {
		return func(q *query) []string { return q.list(collection, nil) }
	}
	fixed := func(values ...string) func(*query) []string {
		return func(*query) []string { return values }
	}
	return map[string]func(*query) []string{
		"disk-volumes": fixed("root", "all-exclusive"), "format": formats, "group": names("auth/groups"), "loglevel": fixed("trace", "debug", "info", "warning", "error"),
		"network": names("networks"), "profile": names("profiles"), "project": names("projects"), "storage": names("storage-pools"),
		"target": names("cluster/members"), "target-project": names("projects"),
	}
}

// formats are those that the help of the flag names: "Format (csv|json)".
func formats(q *query) []string {
	switch q.path {
	case "lxc manpage":
		return []string{"man", "md", "rest", "yaml"}
	case "lxc monitor":
		return []string{"json", "pretty", "yaml"}
	}
	return []string{"csv", "json", "table", "yaml", "compact"}
}
