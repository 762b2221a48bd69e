package cloudinit_test

import (
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"lxd/internal/devlxd/cloudinit"
)

func TestValue(t *testing.T) {
	keys := map[string]string{"cloud-init.ssh-keys.a": "root:ssh-ed25519 AAAA me@here", "cloud-init.ssh-keys.b": "root:gh:someone", "cloud-init.ssh-keys.c": "joe:ssh-rsa BBBB",
		"cloud-init.ssh-keys.bad": "nothing"}
	for name, c := range map[string]struct {
		key, value string
		want       any
	}{
		"vendor of nothing": {"cloud-init.vendor-data", "", map[string]any{"users": []any{"default",
			map[string]any{"name": "joe", "ssh_authorized_keys": []any{"ssh-rsa BBBB"}},
			map[string]any{"name": "root", "ssh_authorized_keys": []any{"ssh-ed25519 AAAA me@here"}, "ssh_import_id": []any{"gh:someone"}}}}},
		"user of nothing": {"cloud-init.user-data", "", nil},
		"script":          {"cloud-init.user-data", "#!/bin/sh\necho", "#!/bin/sh\necho"},
		"damaged":         {"cloud-init.user-data", "#cloud-config\na: [", "#cloud-config\na: ["},
		"odd":             {"user.user-data", "#cloud-config\nusers: all", "#cloud-config\nusers: all"},
		"network":         {"cloud-init.network-config", "#cloud-config\na: 1", "#cloud-config\na: 1"},
		"users": {"user.user-data", "#cloud-config\npackages: [vim]\nusers: [joe, {name: root, ssh_authorized_keys: [old, ssh-ed25519 AAAA me@here]}]", map[string]any{
			"packages": []any{"vim"}, "users": []any{
				map[string]any{"name": "joe", "ssh_authorized_keys": []any{"ssh-rsa BBBB"}},
				map[string]any{"name": "root", "ssh_authorized_keys": []any{"old", "ssh-ed25519 AAAA me@here"}, "ssh_import_id": []any{"gh:someone"}}}}},
	} {
		config := map[string]string{c.key: c.value}
		for k, v := range keys {
			config[k] = v
		}
		got := cloudinit.Value(config, c.key)
		if text, ok := c.want.(string); ok || c.want == nil {
			if got != text {
				t.Errorf("%s: %q", name, got)
			}
			continue
		}
		var doc any
		if err := yaml.Unmarshal([]byte(got), &doc); err != nil || !reflect.DeepEqual(doc, c.want) || got[:14] != "#cloud-config\n" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	if got := cloudinit.Value(map[string]string{"cloud-init.user-data": "#cloud-config\nb: 1\na: 2"}, "cloud-init.user-data"); got != "#cloud-config\nb: 1\na: 2" {
		t.Error("changed without a reason:", got)
	}
}

func TestKeys(t *testing.T) {
	config := map[string]string{"user.b": "1", "user.a": "2", "user.empty": "", "limits.cpu": "1", "cloud-init.user-data": "x", "volatile.uuid": "y"}
	if got := cloudinit.Keys(config); !slices.Equal(got, []string{"cloud-init.user-data", "user.a", "user.b"}) {
		t.Error(got)
	}
	config["cloud-init.ssh-keys.me"] = "root:key"
	if got := cloudinit.Keys(config); !slices.Equal(got, []string{"cloud-init.user-data", "cloud-init.vendor-data", "user.a", "user.b"}) {
		t.Error(got)
	}
}
