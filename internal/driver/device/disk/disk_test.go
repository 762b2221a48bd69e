package disk_test

import (
	"strings"
	"testing"

	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/errs"
)

func TestKeys(t *testing.T) {
	k := disk.Kind()
	for name, c := range map[string]struct {
		cfg  map[string]string
		want []string
	}{
		"root":         {map[string]string{"path": "/", "pool": "default", "size": "10GiB"}, nil},
		"defaults":     {map[string]string{"path": "/", "readonly": "false", "required": "true"}, nil},
		"bad size":     {map[string]string{"size": "lots"}, []string{"size"}},
		"unknown keys": {map[string]string{"bogus": "1", "wrong": "2"}, []string{"bogus", "wrong"}},
		"promises":     {map[string]string{"limits.read": "1MB", "readonly": "true"}, []string{"limits.read", "readonly", "not supported yet"}},
		"newline":      {map[string]string{"pool": "a\nb"}, []string{"pool", "control character"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.Keys.Validate(c.cfg)
			if (err != nil) != (c.want != nil) {
				t.Fatal(err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %q", w, err)
				}
			}
		})
	}
}

func TestNew(t *testing.T) {
	k := disk.Kind()
	for name, c := range map[string]struct {
		cfg  device.Config
		kind errs.Kind
		ok   bool
	}{
		"root":     {cfg: device.Config{"type": "disk", "path": "/", "pool": "p"}, ok: true},
		"no pool":  {cfg: device.Config{"type": "disk", "path": "/"}, kind: errs.Invalid},
		"host dir": {cfg: device.Config{"type": "disk", "path": "/data", "source": "/srv"}, kind: errs.Unsupported},
		"volume":   {cfg: device.Config{"type": "disk", "path": "/data", "pool": "p", "source": "v"}, kind: errs.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := k.New(t.Context(), device.Env{Name: "root"}, c.cfg)
			if !c.ok {
				if !errs.Is(err, c.kind) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if g, err := d.Attach(t.Context()); err != nil || len(g.Mounts)+len(g.NICs)+len(g.Nodes) != 0 {
				t.Fatal(g, err)
			}
			if err := d.Detach(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
