package api_test

import (
	"slices"
	"testing"

	"lxd/api"
)

func TestExtensions(t *testing.T) {
	all := api.Extensions()
	if len(all) != 457 || all[0] != "storage_zfs_remove_snapshots" {
		t.Fatalf("%d extensions, first %q", len(all), all[0])
	}
	all[0] = "changed"
	if api.Extensions()[0] == "changed" {
		t.Error("callers can change the list")
	}
}

func TestAdvertisedKeepsOrder(t *testing.T) {
	all, at := api.Extensions(), -1
	for _, name := range api.Advertised() {
		i := slices.Index(all, name)
		if i <= at {
			t.Errorf("%s is unknown or out of order", name)
		}
		at = i
	}
}
