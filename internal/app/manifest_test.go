package app_test

import (
	"encoding/json"
	"slices"
	"testing"

	"lxd/internal/app"
)

func TestManifest(t *testing.T) {
	b, err := app.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Routes []string
		Keys   map[string][]string
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"GET /1.0", "POST /1.0/instances", "GET /1.0/images/aliases/{name...}", "PUT /1.0/instances/{name}/state"} {
		if !slices.Contains(m.Routes, r) {
			t.Errorf("no route %s in %v", r, m.Routes)
		}
	}
	for entity, key := range map[string]string{"instance": "limits.memory", "network-bridge": "ipv4.address", "storage-dir/pool-conf": "source", "device-nic-bridged": "hwaddr"} {
		if !slices.Contains(m.Keys[entity], key) {
			t.Errorf("%s has no %s: %v", entity, key, m.Keys[entity])
		}
	}
	if slices.Contains(m.Keys["instance"], "nvidia.runtime") {
		t.Error("a key that is refused counts as built")
	}
}
