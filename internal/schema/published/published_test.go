package published_test

import (
	"testing"

	"lxd/internal/schema/published"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		entity, group, name string
		want                published.Key
	}{
		{"instance", "", "boot.autostart", published.Key{Entity: "instance", Group: "boot", Name: "boot.autostart", Type: "bool"}},
		{"instance", "", "volatile.<name>.hwaddr", published.Key{Entity: "instance", Group: "volatile", Name: "volatile.*.hwaddr", Type: "string"}},
		{"storage-dir", "volume-conf", "size", published.Key{Entity: "storage-dir", Group: "volume-conf", Name: "size", Type: "string", Default: "same as volume.size"}},
		{"storage-dir", "pool-conf", "volume.size", published.Key{}},
		{"nothing", "", "size", published.Key{}},
	} {
		got, ok := published.Find(c.entity, c.group, c.name)
		c.want.Condition, c.want.Scope, c.want.Required, c.want.Managed = got.Condition, got.Scope, got.Required, got.Managed
		if got != c.want || ok != (c.want.Name != "") {
			t.Errorf("%s %s: %+v", c.entity, c.name, got)
		}
	}
}

func TestGroup(t *testing.T) {
	for name, want := range map[string]string{"limits.cpu": "resource-limits", "volatile.uuid": "volatile", "volatile.apply_quota": "other", "limits.kernel.*": "other"} {
		if got := published.Group("instance", name, "other"); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
