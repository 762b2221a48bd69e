package all_test

import (
	"testing"

	"lxd/internal/driver/all"
)

func TestStorageDriversAreTold(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range all.Storage() {
		if seen[d.Name()] || d.Name() == "" {
			t.Errorf("name %q is empty or taken twice", d.Name())
		}
		seen[d.Name()] = true
		for _, k := range d.Keys().Keys() {
			if k.Short == "" {
				t.Errorf("%s: key %s is not described", d.Name(), k.Name)
			}
		}
		if _, ok := d.VolumeKeys().Lookup("size"); !ok {
			t.Errorf("%s: volumes have no size", d.Name())
		}
	}
	if !seen["dir"] {
		t.Error("dir is missing")
	}
}
